"""The page Face in a real browser: its states, what it draws and reads, and frames that never pile up."""

import io
import json
import shutil

import made_faces
import numpy as np
import pytest
from face_socket import FaceSocket, told
from page_server import looks
from PIL import Image

RUN = {"name": "faces", "side": "left", "time": 0.0, "encoder": False, "pictures": True, "why": None, "source": "legacy",
       "emotions": "own", "numbers": "points", "prompts": 7}  # fmt: skip
ABOUT = {"emotions": ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"], "points": 478, "others": {},
         "why": None, "limits": {"faces": 10}}  # fmt: skip


@pytest.fixture(scope="module")
def face_server(faces_run):
    from page_server import Server

    server = Server(faces_run)
    yield server
    server.stop()


@pytest.fixture
def show(face_server, open_page):
    """show(socket, **options): the page, whose socket the test answers; of the rest, only what reads pictures is made up."""

    def make(socket=None, runs=(RUN,), allow=(), path="/#/face", **options):
        page = open_page(f"{face_server.url}/#/system", allow=allow, **options)
        page.route("**/faces", lambda route: route.fulfill(json={**ABOUT, "runs": list(runs)}))
        if socket is not None:
            page.route_web_socket("**/faces", socket)
        page.goto(f"{face_server.url}{path}")
        page.wait_for_selector(".face-page")
        return page

    return make


def answers(page, n=1):
    page.wait_for_function("n => +document.querySelector('.face-page')?.dataset.answers >= n", arg=n)


def picture(width=320, height=240) -> dict:
    content = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(content, "JPEG")
    return {"name": "face.jpg", "mimeType": "image/jpeg", "buffer": content.getvalue()}


def choose(page, file):
    page.locator(".face-bar input[type=file]").set_input_files(file)


def test_the_camera_s_frames_are_answered_and_shown(show):
    socket = FaceSocket()
    page = show(socket)
    assert "Nothing is stored" in page.locator(".face-privacy").inner_text()
    page.get_by_role("button", name="Start the camera").click()
    answers(page, 5)
    assert page.locator(".live-row.first").get_attribute("data-emotion") == "happy"
    assert page.locator(".face-prompt").first.inner_text().split("\n")[0] == "a person looking happy"
    assert page.locator(".face-map").get_attribute("data-faces") == "1"
    assert socket.asked == [{"run": "faces", "k": 5, "faces": 3, "place": True, "smooth": True}]
    for _, kind, content in socket.frames[:3]:
        with Image.open(io.BytesIO(content)) as frame:
            assert kind == 1 and frame.format == "JPEG" and max(frame.size) == 640
    numbers = [number for number, *_ in socket.frames]
    assert numbers == list(range(1, len(numbers) + 1))


def test_one_frame_is_under_way_at_a_time(show):
    socket = FaceSocket()
    socket.hold = True
    page = show(socket)
    page.get_by_role("button", name="Start the camera").click()
    page.wait_for_selector(".face-stop:not([disabled])")
    page.wait_for_timeout(600)  # some fifteen pictures of the camera
    assert len(socket.frames) == 1


def test_a_picture_is_shown_once_and_unsmoothed(show):
    socket = FaceSocket()
    page = show(socket)
    choose(page, picture(1600, 1200))
    answers(page)
    assert len(socket.frames) == 1 and socket.asked[-1]["smooth"] is False
    with Image.open(io.BytesIO(socket.frames[0][2])) as frame:
        assert frame.size == (1280, 960)
    assert "a face and the landmarks" in page.locator(".face-canvas").get_attribute("aria-label")


def test_what_is_said_where_there_is_no_face(show):
    page = show(FaceSocket(lambda i: []))
    choose(page, picture())
    page.wait_for_selector(".face-hint:has-text('No face is found in this image')")
    assert page.locator(".face-emotions.asleep").count() == 1 and page.locator(".face-prompt").count() == 0


@pytest.mark.slow
@pytest.mark.thorough
def test_several_faces_are_chosen_by_chip_and_by_click(show):
    apart = [made_faces.face(centre=(x, 0.4), scale=0.1) for x in (0.2, 0.5, 0.8)]
    labels = ("happy", "sad", "surprise")
    page = show(FaceSocket(lambda i: [told(k + 1, apart[k], labels[k]) for k in range(3)]))
    page.get_by_role("button", name="Start the camera").click()
    answers(page, 2)
    assert page.locator(".face-chips button").all_inner_texts() == [f"Face {k + 1}: {labels[k]}" for k in range(3)]
    page.get_by_role("button", name="Face 2: sad").click()
    assert page.locator(".face-page").get_attribute("data-label") == "sad"
    box = page.locator(".face-canvas").bounding_box()  # mirrored: the third face is at the left
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.45 * box["height"])
    assert page.locator(".face-page").get_attribute("data-label") == "surprise"
    page.get_by_role("button", name="Mirror the image").click()
    answers(page, int(page.locator(".face-page").get_attribute("data-answers")) + 3)
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.45 * box["height"])
    assert page.locator(".face-page").get_attribute("data-label") == "happy"
    assert page.locator(".face-map").get_attribute("data-faces").split() == ["1", "2", "3"]


@pytest.mark.slow
@pytest.mark.thorough
def test_a_chosen_face_that_leaves_is_followed_again_when_it_is_back(show):
    apart = [made_faces.face(centre=(x, 0.4), scale=0.1) for x in (0.3, 0.7)]
    there = {"both": True}
    page = show(
        FaceSocket(lambda i: [told(1, apart[0], "happy"), *([told(2, apart[1], "sad")] if there["both"] else [])])
    )
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_role("button", name="Face 2: sad").click()
    there["both"] = False
    page.wait_for_selector(".face-page[data-label=happy]")
    assert page.locator(".face-chips").is_hidden()
    there["both"] = True
    page.wait_for_selector(".face-page[data-label=sad]")


@pytest.mark.slow
@pytest.mark.thorough
def test_a_lost_connection_comes_back(show):
    socket = FaceSocket()
    page = show(socket)
    page.get_by_role("button", name="Start the camera").click()
    answers(page, 2)
    socket.sockets[-1].close(code=1011, reason="gone")
    page.wait_for_selector(".face-note >> text=The connection was lost")
    page.wait_for_selector(".face-note >> text=Connected again")
    before = int(page.locator(".face-page").get_attribute("data-answers"))
    answers(page, before + 3)
    page.wait_for_selector(".face-note", state="hidden")
    socket.sockets[-1].close(code=4400, reason="refused for good")
    page.wait_for_selector(".face-trouble >> text=cannot read what was sent")
    assert (
        page.get_by_role("button", name="Start the camera").count() == 0 or page.locator(".face-trouble").count() == 1
    )


@pytest.mark.slow
@pytest.mark.thorough
def test_a_picture_that_is_shown_for_long_keeps_its_connection(show):
    socket = FaceSocket()
    page = show(socket)
    choose(page, picture())
    answers(page)
    socket.sockets[-1].close(code=4408, reason="no message for 60 s")
    answers(page, 2)  # the picture is sent again, so that the server knows its faces
    assert page.locator(".face-note").is_hidden() and len(socket.sockets) == 2


@pytest.mark.slow
@pytest.mark.thorough
def test_a_frame_that_is_refused_is_told_and_the_next_one_goes_on(show):
    socket = FaceSocket()
    page = show(socket)
    real = socket.answer

    def answer(to, message):
        if isinstance(message, bytes) and len(socket.frames) == 3:
            socket.frames.append((0, 1, b""))
            number = int.from_bytes(message[:4], "little")
            problem = {"title": "Unprocessable Content", "detail": "this frame is damaged", "status": 422}
            to.send(json.dumps({"frame": number, "problem": problem}))
        else:
            real(to, message)

    socket.answer = answer
    page.get_by_role("button", name="Start the camera").click()
    answers(page, 6)
    page.wait_for_selector(".face-note", state="hidden")
    assert len(socket.sockets) == 1


@pytest.mark.slow
@pytest.mark.thorough
def test_a_run_that_is_not_ready_is_asked_for_until_it_is(show):
    socket = FaceSocket()
    page = show(socket)
    real, problem = socket.answer, {"title": "Service Unavailable", "detail": "the run is being made", "status": 503}
    told = []

    def answer(to, message):
        if isinstance(message, str) and not told:
            told.append(message)
            to.send(json.dumps({"problem": problem}))
        else:
            real(to, message)

    socket.answer = answer
    page.get_by_role("button", name="Start the camera").click()
    page.wait_for_selector(".face-note >> text=Not possible right now")
    answers(page, 2)
    page.wait_for_selector(".face-note", state="hidden")


@pytest.mark.slow
@pytest.mark.thorough
def test_the_camera_is_off_once_the_page_is_left(show):
    page = show(FaceSocket())
    page.evaluate("""() => { const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        window.tracks = []; navigator.mediaDevices.getUserMedia = async (wanted) => {
            const media = await ask(wanted); tracks.push(...media.getTracks()); return media; }; }""")
    for leave in (lambda: page.get_by_role("button", name="Stop the camera").click(),
                  lambda: page.get_by_role("link", name="Runs").click()):  # fmt: skip
        page.get_by_role("button", name="Start the camera").click()
        answers(page, 2)
        leave()
        page.wait_for_function("() => tracks.every((track) => track.readyState === 'ended')")
    assert page.evaluate("() => tracks.length") == 2


@pytest.mark.slow
@pytest.mark.thorough
def test_a_slow_server_is_named(show):
    socket = FaceSocket()
    page = show(socket)
    page.get_by_role("button", name="Start the camera").click()
    answers(page, 2)
    socket.hold = True
    page.wait_for_selector(".face-note >> text=The server is slow", timeout=15000)
    assert page.locator(".face-canvas").get_attribute("aria-label") == "The image; no face is found in it"  # live
    socket.hold = False
    page.wait_for_selector(".face-note", state="hidden", timeout=15000)


@pytest.mark.slow
@pytest.mark.thorough
def test_another_run_is_chosen_and_the_faces_stay(show, face_server):
    socket = FaceSocket()
    page = show(socket, runs=[RUN, {**RUN, "name": "older"}])
    page.get_by_role("button", name="Start the camera").click()
    answers(page, 2)
    page.get_by_label("Run for faces").select_option("older")
    page.wait_for_selector(".face-runs option:checked >> text=older", state="attached")
    answers(page, int(page.locator(".face-page").get_attribute("data-answers")) + 2)
    assert [asked["run"] for asked in socket.asked] == ["faces", "older"] and len(socket.sockets) == 1
    assert "run=older" in page.url


@pytest.mark.slow
@pytest.mark.thorough
def test_files_that_are_no_pictures_are_refused_in_words(show, tmp_path):
    page = show(FaceSocket())
    choose(page, {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"words"})
    page.wait_for_selector(".face-trouble >> text=This is no image and no video")
    choose(page, {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff broken"})
    page.wait_for_selector(".face-trouble >> text=This image cannot be read")
    choose(page, {"name": "empty.mp4", "mimeType": "video/mp4", "buffer": b"\0\0\0\x18ftypmp42"})
    page.wait_for_selector(".face-trouble >> text=This video has no image")
    choose(page, picture())
    answers(page)
    assert page.locator(".face-trouble").count() == 0


@pytest.mark.slow
@pytest.mark.thorough
def test_a_video_plays_stops_and_is_sought(show, tmp_path):
    av = pytest.importorskip("av", reason="type: pip install 'sensorium[train]'")
    path = tmp_path / "face.webm"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 8 * i, np.uint8), "rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    socket = FaceSocket()
    page = show(socket)
    choose(page, path)
    answers(page, 2)
    assert page.get_by_role("button", name="Mirror the image").count() == 0
    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector("[data-name=play][aria-label=Play]")
    page.wait_for_timeout(300)
    before = len(socket.frames)
    page.wait_for_timeout(400)
    assert len(socket.frames) == before
    page.get_by_role("slider", name="Place in the video").fill("800")
    page.wait_for_function("() => document.querySelector('.face-player .number').textContent.startsWith('0:02')")
    answers(page, before + 1)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_picture_is_pasted_and_dropped(show):
    socket = FaceSocket()
    page = show(socket)
    for name in ("paste", "drop"):
        page.evaluate(
            """([name, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], 'face.jpg', { type: 'image/jpeg' }));
            const at = document.querySelector('.face-stage');
            at.dispatchEvent(name === 'paste' ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true })
                : new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })); }""",
            [name, list(picture()["buffer"])],
        )
        answers(page, 1 if name == "paste" else 2)
    assert len(socket.frames) == 2


@pytest.mark.slow
@pytest.mark.thorough
def test_nothing_is_sent_from_a_hidden_tab(show):
    socket = FaceSocket()
    page = show(socket)
    page.get_by_role("button", name="Start the camera").click()
    answers(page, 2)
    hide = """now => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => now });
        document.dispatchEvent(new Event('visibilitychange')); }"""
    page.evaluate(hide, True)
    page.wait_for_timeout(300)
    before = len(socket.frames)
    page.wait_for_timeout(500)
    assert len(socket.frames) == before
    page.wait_for_selector(".face-facts:has-text('paused')")
    page.evaluate(hide, False)
    answers(page, before + 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "title"),
    [("NotAllowedError", "The camera was not allowed"), ("NotFoundError", "No camera was found"),
     ("NotReadableError", "The camera is in use"), ("TypeError", "The camera could not be opened")],
)  # fmt: skip
def test_every_reason_without_a_camera_is_said(show, name, title):
    page = show(FaceSocket())
    page.evaluate(
        "name => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', name)); }", name
    )
    page.get_by_role("button", name="Start the camera").click()
    page.wait_for_selector(f".face-trouble >> text={title}")
    choose(page, picture())
    answers(page)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_machine_without_a_camera_and_a_person_who_says_no(show, face_server):
    """The browser's own errors, without its make-believe camera."""
    sync_api = pytest.importorskip("playwright.sync_api")
    del sync_api
    page = show(FaceSocket())
    browser_type, path = page.context.browser.browser_type, shutil.which("chromium")
    for args, granted, title in ((["--no-sandbox"], ["camera"], "No camera was found"),
                                 (["--no-sandbox", "--use-fake-device-for-media-stream"], [], "The camera was not allowed")):  # fmt: skip
        browser = browser_type.launch(executable_path=path, args=[*args, "--disable-gpu"])
        context = browser.new_context(permissions=granted)
        other = context.new_page()
        other.route("**/faces", lambda route: route.fulfill(json={**ABOUT, "runs": [RUN]}))
        other.goto(f"{face_server.url}/#/face")
        other.get_by_role("button", name="Start the camera").click()
        other.wait_for_selector(f".face-trouble >> text={title}")
        browser.close()


@pytest.mark.slow
@pytest.mark.thorough
def test_an_insecure_address_says_why_and_what_to_do(chromium, faces_run, monkeypatch):
    from page_server import Server

    monkeypatch.setenv("SENSORIUM_HOSTS", '["lan.test"]')
    server = Server(faces_run)
    browser = chromium.browser_type.launch(
        executable_path=shutil.which("chromium"),
        args=["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP lan.test 127.0.0.1"],
    )
    try:
        page = browser.new_page()
        socket = FaceSocket()
        page.route("**/faces", lambda route: route.fulfill(json={**ABOUT, "runs": [RUN]}))
        page.route_web_socket("**/faces", socket)
        page.goto(f"http://lan.test:{server.port}/#/face")
        page.wait_for_selector(".face-trouble")
        text = page.locator(".face-trouble").inner_text()
        assert "over https and on the machine itself" in text and f"http://lan.test:{server.port} is neither" in text
        for typed in (f"http://localhost:{server.port}/#/face", f"ssh -L {server.port}:localhost:{server.port} lan.test",
                      "--tls-cert CERT.pem"):  # fmt: skip
            assert typed in text
        choose(page, picture())  # works all the same
        answers(page)
    finally:
        browser.close()
        server.stop()


@pytest.mark.slow
@pytest.mark.thorough
def test_a_server_that_reads_no_pictures_says_what_to_type(show):
    why = "MediaPipe is not installed; type: pip install 'sensorium[face]'"
    page = show(FaceSocket(), runs=[{**RUN, "pictures": False, "source": None, "why": why}])
    text = page.locator(".face-trouble").inner_text()
    assert why in text and "npm pack @mediapipe/face_mesh" in text and "--face-model" in text


@pytest.mark.slow
@pytest.mark.thorough
def test_no_run_takes_faces(face_server, open_page):
    page = open_page(f"{face_server.url}/#/system")
    about = {**ABOUT, "runs": [], "why": "none of the runs takes faces; make one: sensorium run perception"}
    page.route("**/faces", lambda route: route.fulfill(json=about))
    page.goto(f"{face_server.url}/#/face")
    page.wait_for_selector(".state >> text=No run here takes faces")
    assert "sensorium run perception" in page.locator(".state").inner_text()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), looks(1440, 820, 390))
def test_axe_has_no_finding_and_nothing_sticks_out(show, scheme, width):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="type: pip install axe-playwright-python"
    ).Axe()
    apart = [made_faces.face(centre=(x, 0.4), scale=0.1) for x in (0.3, 0.7)]
    page = show(FaceSocket(lambda i: [told(1, apart[0]), told(2, apart[1], "sad")]), color_scheme=scheme,
                viewport={"width": width, "height": 800})  # fmt: skip
    findings = []

    def look():
        for one in axe.run(page).response["violations"]:
            findings.extend(f"{one['impact']} {one['id']}: {node['html'][:160]}" for node in one["nodes"][:3])
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")

    page.wait_for_selector(".face-legend li")
    look()
    page.get_by_role("button", name="Start the camera").click()
    answers(page, 2)
    look()
    page.get_by_role("button", name="Stop the camera").click()
    choose(page, {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"broken"})
    page.wait_for_selector(".face-trouble")
    look()
    assert findings == []


@pytest.mark.slow
@pytest.mark.thorough
def test_the_keyboard_alone_reaches_everything_and_changes_are_announced_sparingly(show):
    socket = FaceSocket(lambda i: [told(1, made_faces.face(), "happy" if i % 2 else "sad")])
    page = show(socket)
    page.evaluate("""() => { window.said = []; new MutationObserver(() => said.push(document.querySelector('#announce').textContent))
        .observe(document.querySelector('#announce'), { childList: true }); }""")
    page.get_by_role("button", name="Start the camera").focus()
    page.keyboard.press("Enter")
    answers(page, 20)
    said = page.evaluate("() => said.filter(Boolean)")
    assert 1 <= len(said) <= 2, said  # not one for each of twenty changes
    seen = []
    page.locator(".face-bar button").first.focus()
    for _ in range(6):
        seen.append(page.evaluate("() => document.activeElement.dataset.name ?? document.activeElement.className"))
        page.keyboard.press("Tab")
    assert seen[:2] == ["camera", "file"] and {"faces", "mesh", "mirror"} <= set(seen)
