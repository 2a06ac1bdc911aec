"""Landmarks computed in Chromium by the real package @mediapipe/face_mesh: no picture is sent, and the server's agree."""

import os
import shutil
from pathlib import Path

import moving_face
import numpy as np
import pytest
from face_socket import FaceSocket, told
from PIL import Image

from sensorium.errors import MissingExtra
from sensorium.modalities.face import landmarks
from sensorium.modalities.face.layout import POINTS
from sensorium.systems.perception import model_files

pytestmark = pytest.mark.slow
ARGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
        "--ignore-gpu-blocklist", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]  # fmt: skip
PATIENCE = 180_000.0  # milliseconds: the model is compiled, and computed without a graphics card


@pytest.fixture(scope="module")
def package():
    """The model's files, as the environment names them."""
    place = os.environ.get("SENSORIUM_BROWSER_FACE_MODEL")
    if not place:
        pytest.skip(f"no SENSORIUM_BROWSER_FACE_MODEL; type: {model_files.GET.split(' && ')[0]} and name the archive")
    return Path(place)


@pytest.fixture(scope="module")
def server(package, tmp_path_factory):
    """A run that takes faces, served with the model."""
    import made_faces
    from page_server import Server

    import sensorium

    pytest.importorskip("skimage", reason="the picture of a face; type: pip install scikit-image")
    folder = tmp_path_factory.mktemp("faces")
    made_faces.perception_npz(folder / "training_data.npz", n=140, people=4, named=True)
    keys = [f"data.file={folder}/training_data.npz", "train.epochs=20", "evaluate.baselines=[]", "evaluate.plots=false"]
    # The document's head: head face, fitted on so few made faces, makes much of what no real face differs by.
    run = sensorium.run("perception-document", keys, out=folder / "runs" / "perception", quiet=True)
    started = Server(run.folder)
    started.run, started.folder = run, folder
    yield started
    started.stop()


@pytest.fixture(scope="module")
def browser(chromium, server):
    """Chromium with WebGL and a camera that shows the moving face."""
    file = moving_face.y4m(server.folder / "face.y4m", moving_face.frames(25))
    one = chromium.browser_type.launch(
        executable_path=shutil.which("chromium"), args=[*ARGS, f"--use-file-for-fake-video-capture={file}"]
    )
    yield one
    one.close()


FIND = """async ([url, where, still]) => {
    const finder = await import('/systems/perception/finder.js');
    const one = await finder.Finder.open({ url }, 3, where);
    const image = await createImageBitmap(new Blob([Uint8Array.from(atob(still), (one) => one.charCodeAt(0))]));
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width: image.width, height: image.height });
    canvas.getContext('2d').drawImage(image, 0, 0);
    const { points, n } = await one.find(canvas, { faces: 3, still: true });
    one.close();
    return [[...points], n, one.where]; }"""


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory):
    """The picture (512, 512, 3) uint8 and its PNG file in base64."""
    import base64

    import skimage.data

    rgb = skimage.data.astronaut()
    path = tmp_path_factory.mktemp("picture") / "astronaut.png"
    Image.fromarray(rgb).save(path)
    return rgb, base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize("where", ["worker", "frame"])
def test_the_landmarks_of_the_browser_are_those_of_the_server(server, browser, astronaut, where):
    """478 points on one picture, and what the run's head makes of them."""
    import torch

    rgb, content = astronaut
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{server.url}/#/system")
    found, n, at = page.evaluate(FIND, ["/faces/model/", where, content])
    page.close()
    assert n == 1 and at == where
    mine = np.array(found, np.float32).reshape(POINTS, 3)
    try:
        source = landmarks.find("legacy")
    except MissingExtra as error:
        pytest.skip(f"no landmarks by the server to compare with: {error}")
    theirs = source.faces(rgb)[0].landmarks
    assert np.abs(mine - theirs).max() < 0.01  # of the picture; the graphics card finds the face with other rounding
    assert np.abs(mine - theirs).mean() < 0.002
    head, share = server.run.head("left"), np.full(7, 1 / 7, np.float32)
    rows = torch.from_numpy(np.stack([np.append(one.reshape(-1), share) for one in (mine, theirs)]))
    with torch.no_grad():
        a, b = torch.nn.functional.normalize(head(rows), dim=1).numpy()
    assert np.abs(a - b).max() < 1e-3 and (a * b).sum() > 0.9999


def test_no_picture_is_sent_and_three_numbers_a_landmark_are(server, browser):
    socket = FaceSocket()

    def faces(i):
        content = socket.frames[i][2]
        points = np.frombuffer(content, np.float32, offset=1).reshape(-1, POINTS, 3)
        return [told(k + 1, one) for k, one in enumerate(points)]

    socket.faces = faces
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    posted = []
    page.on("request", lambda request: posted.append(request.url) if request.method != "GET" else None)
    page.route_web_socket("**/faces", socket)
    page.add_init_script("localStorage.setItem('sensorium.face.where', 'browser')")
    page.goto(f"{server.url}/#/face")
    page.get_by_role("button", name="Start the camera").click()
    page.wait_for_function("() => +document.querySelector('.face-page').dataset.answers > 3")
    assert "no picture does" in page.locator(".face-privacy").inner_text()
    assert page.locator(".face-page").get_attribute("data-faces") == "1"
    for _, kind, content in socket.frames:
        assert kind == 2 and len(content) == 1 + content[0] * POINTS * 3 * 4
    points = np.frombuffer(socket.frames[-1][2], np.float32, offset=1).reshape(-1, 3)
    assert 0.1 < points[:, 0].min() < points[:, 0].max() < 0.9 and np.isfinite(points).all()
    assert posted == []
    page.close()
