"""The page Face with the real server: landmarks computed in the browser, and pictures read by MediaPipe."""

import json
import shutil
import urllib.request

import made_face_mesh
import made_faces
import moving_face
import numpy as np
import pytest

from sensorium.modalities.face import emotions

SHAPE = made_faces.face(smile=0.8, centre=(0.4, 0.45))


def posted(server, landmarks):
    """The server's answer to landmarks of one picture, by POST /faces."""
    body = json.dumps({"run": "faces", "landmarks": [np.round(landmarks.astype(float), 6).tolist()]}).encode()
    request = urllib.request.Request(f"{server.url}/faces", body, {"content-type": "application/json"})
    return json.loads(urllib.request.urlopen(request).read())["faces"][0]


def answers(page, n=1):
    page.wait_for_function("n => +document.querySelector('.face-page')?.dataset.answers >= n", arg=n)


@pytest.fixture(scope="module")
def made_server(faces_run, tmp_path_factory):
    """A server whose landmark model for browsers finds a made face; in every fourth picture three of them."""
    from page_server import Server

    if "points" not in emotions.names():
        pytest.skip("no classifier of emotions by landmarks alone")
    place = made_face_mesh.package(tmp_path_factory.mktemp("model") / "package", [[SHAPE]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENSORIUM_BROWSER_FACE_MODEL", str(place))
        server = Server(faces_run)
    yield server
    server.stop()


def test_numbers_go_from_the_browser_to_the_server_and_come_back_as_prompts(made_server, open_page):
    page = open_page(f"{made_server.url}/#/system")
    sent = []
    page.on("websocket", lambda one: one.on("framesent", lambda data: sent.append(data)))
    page.evaluate("() => localStorage.setItem('sensorium.face.where', 'browser')")
    page.goto(f"{made_server.url}/#/face")
    page.get_by_role("button", name="Start the camera").click()
    answers(page, 3)
    expected = posted(made_server, SHAPE)
    assert page.locator(".live-row.first").get_attribute("data-emotion") == expected["label"]
    nearest = [row.get_attribute("data-id") for row in page.locator(".face-prompt").all()]
    assert nearest == [prompt["id"] for prompt in expected["prompts"]]
    for row, prompt in zip(page.locator(".face-prompt").all(), expected["prompts"], strict=True):
        assert abs(float(row.locator(".number").inner_text()) - prompt["score"]) < 2e-3
    assert {type(one) for one in sent} == {str, bytes}
    assert all(one[8] == 2 and len(one) == 9 + 1 + 4 * 3 * 478 for one in sent if isinstance(one, bytes))


@pytest.mark.slow
def test_the_page_and_what_it_loads_are_small(made_server, open_page):
    page = open_page(f"{made_server.url}/#/system")
    asked = set()
    page.on("request", lambda one: asked.add(one.url.split("?")[0]))
    page.goto(f"{made_server.url}/?small#/face")
    page.wait_for_selector(".face-legend li")
    files = [url for url in asked if url.endswith((".js", ".css", ".html", ".svg", "/"))]
    zipped = {"accept-encoding": "gzip"}
    packed = sum(len(urllib.request.urlopen(urllib.request.Request(url, headers=zipped)).read()) for url in files)
    assert len(files) >= 6 and packed <= 120_000


@pytest.fixture(scope="module")
def camera(chromium, tmp_path_factory):
    """Chromium whose camera shows a real face that moves."""
    pytest.importorskip("skimage", reason="the picture of a face; type: pip install scikit-image")
    file = moving_face.y4m(tmp_path_factory.mktemp("camera") / "face.y4m", moving_face.frames(25))
    args = ["--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    browser = chromium.browser_type.launch(
        executable_path=shutil.which("chromium"), args=[*args, f"--use-file-for-fake-video-capture={file}"]
    )
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def real_server(faces_run):
    """A server that reads pictures by MediaPipe."""
    from page_server import Server

    pytest.importorskip("mediapipe", reason="type: pip install --no-deps mediapipe==0.10.21, see docs/faces.md")
    if "own" not in emotions.names():
        pytest.skip("no classifier of emotions in pictures")
    server = Server(faces_run)
    yield server
    server.stop()


@pytest.mark.slow
def test_a_real_face_before_the_camera_is_found_followed_and_read(real_server, camera):
    page = camera.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{real_server.url}/#/face")
    page.get_by_role("button", name="Start the camera").click()
    answers(page, 5)
    assert page.locator(".face-page").get_attribute("data-faces") == "1"
    first = page.locator(".face-page").get_attribute("data-face")
    labels = set()
    for _ in range(10):
        before = int(page.locator(".face-page").get_attribute("data-answers"))
        answers(page, before + 3)
        labels.add(page.locator(".face-page").get_attribute("data-label"))
    assert page.locator(".face-page").get_attribute("data-face") == first, "the face kept its id"
    assert labels == {"happy"}, "the astronaut smiles"
    drawn = page.evaluate(
        """async (id) => { const { colourOf } = await import('/systems/perception/stage.js');
        const { rgb } = await import('/palette.js');
        const canvas = document.querySelector('.face-canvas'), [r, g, b] = rgb(colourOf(id));
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height); let same = 0;
        for (let i = 0; i < data.length; i += 4) same += data[i] === r && data[i + 1] === g && data[i + 2] === b;
        return same; }""",
        int(first),
    )
    assert drawn > 300, "landmarks are drawn over the picture"
    page.close()


@pytest.mark.slow
def test_a_picture_of_a_real_face_and_one_without(real_server, camera, tmp_path):
    import skimage.data
    from PIL import Image

    page = camera.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{real_server.url}/#/face")
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "face.png")
    Image.fromarray(skimage.data.coffee()).save(tmp_path / "coffee.webp")
    page.locator(".face-bar input[type=file]").set_input_files(tmp_path / "face.png")
    page.wait_for_selector(".face-page[data-label=happy]")
    page.locator(".face-bar input[type=file]").set_input_files(tmp_path / "coffee.webp")
    page.wait_for_selector(".face-hint >> text=No face is found in this image")
    page.close()
