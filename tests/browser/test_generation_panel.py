"""The panel of generation on the page Face, in a real browser with the real pipeline: made, cancelled, refused, lost."""

import io
import json

import face_runs
import made_faces
import numpy as np
import pytest
from face_socket import FaceSocket
from page_server import looks
from PIL import Image

pytest.importorskip("diffusers", reason="type: pip install 'sensorium[generate]'")

import tiny_diffusion

pytestmark = pytest.mark.xdist_group("generation")
RUN = {"name": "faces", "side": "left", "time": 0.0, "encoder": False, "pictures": True, "why": None, "source": "legacy",
       "emotions": "own", "numbers": "points", "prompts": 7}  # fmt: skip
ABOUT = {"emotions": ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"], "points": 478, "others": {},
         "why": None, "limits": {"faces": 10}}  # fmt: skip


class VectorSocket(FaceSocket):
    """The made-up socket, which also gives the vectors of a face."""

    def answer(self, socket, message):
        if isinstance(message, str) and "vector" in json.loads(message):
            vector = made_faces.vector("happy", 5).tolist()
            return socket.send(
                json.dumps({"vector": {"id": 1, "label": "happy", "perception": vector, "projected": []}})
            )
        return super().answer(socket, message)


@pytest.fixture(scope="module")
def face_server(tmp_path_factory):
    from page_server import Server

    folder = tmp_path_factory.mktemp("panel")
    run, patch = face_runs.make(folder), pytest.MonkeyPatch()
    patch.setenv("SENSORIUM_GENERATE", str(tiny_diffusion.save(folder / "tiny")))
    patch.setenv("SENSORIUM_GENERATION_STEPS", "150")
    server = Server(run.folder)
    patch.undo()
    yield server
    server.stop()


@pytest.fixture
def show(face_server, open_page):
    """show(**options): the page Face with a picture on it, in which the made-up socket finds a face."""

    def make(allow=(), picture=True, **options):
        page = open_page(f"{face_server.url}/#/system", allow=allow, **options)
        page.route("**/faces", lambda route: route.fulfill(json={**ABOUT, "runs": [RUN]}))
        page.route_web_socket("**/faces", VectorSocket())
        page.goto(f"{face_server.url}/#/face")
        page.wait_for_selector(".made, .made-missing")
        if picture:
            content = io.BytesIO()
            Image.effect_noise((320, 240), 60).convert("RGB").save(content, "PNG")
            file = {"name": "face.png", "mimeType": "image/png", "buffer": content.getvalue()}
            page.locator(".face-bar input[type=file]").set_input_files(file)
            page.wait_for_function("() => +document.querySelector('.face-page')?.dataset.answers >= 1")
        return page

    return make


def steps(page, n):
    page.locator(".made-form summary").click()
    page.get_by_label("Steps", exact=True).fill(str(n))
    page.get_by_label("Steps", exact=True).press("Tab")


def make(page):
    page.get_by_role("button", name="Make an image").click()


def facts(page):
    page.wait_for_selector(".made-facts dl")
    names, values = (page.locator(f".made-facts {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


def test_a_picture_is_made_of_the_face_that_is_shown_and_can_be_saved(show, tmp_path):
    page = show()
    assert "tiny, licence creativeml-openrail-m, without a safety checker" in page.locator(".made-form").inner_text()
    steps(page, 4)
    page.get_by_label("Seed").fill("3")
    page.get_by_label("What is to be seen").fill("a face")
    page.get_by_role("button", name="None", exact=True).click()
    page.get_by_label("Strength of the face").fill("0.8")
    make(page)
    told = facts(page)
    assert told["Prompt"] == "a face" and told["Strength"] == "0.8 (blend)" and told["Seed"] == "3"
    assert told["Steps"] == "4, guidance 7.5" and "Not" not in told and told["Size"].startswith("32 × 32, in ")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save").click()
    saved.value.save_as(tmp_path / "saved.png")
    assert saved.value.suggested_filename == "face-3.png"
    first = Image.open(tmp_path / "saved.png")
    assert json.loads(first.text["parameters"])["prompt"] == "a face"
    page.get_by_label("Strength of the face").fill("0")
    assert page.locator(".made output").inner_text() == "the prompt alone"
    make(page)
    page.wait_for_function("() => document.querySelectorAll('.made-small').length === 2")
    assert facts(page)["Strength"] == "0 (blend)"
    page.locator(".made-small").nth(1).click()
    assert facts(page)["Strength"] == "0.8 (blend)"
    page.evaluate("location.hash = '#/system'")  # what was made is still there after another page
    page.wait_for_selector(".facts-row")
    page.evaluate("location.hash = '#/face'")
    page.wait_for_selector(".made-facts dl")
    assert page.locator(".made-small").count() == 2 and np.asarray(first).std() > 0


def test_steps_are_shown_with_a_preview_and_the_work_can_be_cancelled(show):
    page = show()
    steps(page, 150)
    make(page)
    page.wait_for_selector(".made-view.preview img")
    assert page.locator(".made-view img").get_attribute("src").startswith("data:image/webp;base64,")
    page.wait_for_function("() => /^Step [0-9]+ of 150/.test(document.querySelector('.made-said').innerText)")
    assert page.locator(".made progress").get_attribute("max") == "150"
    assert page.get_by_role("button", name="Make an image").is_disabled()
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_function("() => document.querySelector('.made-said').innerText.startsWith('Cancelled: it was')")
    assert page.get_by_role("button", name="Make an image").is_enabled()


def test_a_lost_stream_of_events_goes_on_where_it_was(show):
    page = show(allow=("net::ERR", "Failed to load"))
    asked = []

    def broken(route):
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(body='id: 1\nevent: queued\ndata: {"position": 1}\n\n', content_type="text/event-stream")
        else:
            route.continue_()

    page.route("**/events*", broken)
    steps(page, 3)
    make(page)
    assert facts(page)["Steps"].startswith("3,")
    assert len(asked) >= 2 and asked[1].endswith("?after=1")


def test_without_a_face_it_says_so_and_a_refusal_is_shown(show):
    page = show(picture=False, allow=("503",))
    make(page)
    page.wait_for_function("() => document.querySelector('.made-said').innerText.startsWith('No face is there yet')")
    page = show(allow=("503",))
    problem = {"title": "Service Unavailable", "status": 503, "detail": "8 pictures wait already"}
    page.route("**/generations", lambda route: route.fulfill(status=503, json=problem))
    make(page)
    page.wait_for_selector(".made-said .note.bad")
    assert page.locator(".made-said").inner_text().startswith("Not possible right now. ")


def test_without_a_model_it_says_what_to_type(face_server, open_page):
    page = open_page(f"{face_server.url}/#/system")
    why = "no picture model is loaded: start the server with a folder; type: sensorium serve RUN --generate MODEL"
    page.route("**/generations?*", lambda route: route.fulfill(json={"ready": False, "detail": why}))
    page.route("**/faces", lambda route: route.fulfill(json={**ABOUT, "runs": [RUN]}))
    page.goto(f"{face_server.url}/#/face")
    page.locator(".made-missing summary").click()
    assert page.locator(".made-missing code").inner_text() == "sensorium serve RUN --generate MODEL"


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), looks(1440, 820, 390))
def test_axe_has_no_finding_and_nothing_sticks_out(show, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="type: pip install axe-playwright-python")
    page = show(color_scheme=scheme, viewport={"width": width, "height": 900})
    steps(page, 2)
    make(page)
    page.wait_for_selector(".made-facts dl")
    assert [one["id"] for one in axe.Axe().run(page).response["violations"]] == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
