"""The page Live in a real Chromium, with a fake microphone that plays a recording."""

import contextlib
import io
import json
import shutil
import tarfile
import time

import numpy as np
import pytest
import soundfile
from live_server import RATE, Server, speak

CHROMIUM = shutil.which("chromium")
INSTALL = "apt-get install -y chromium && pip install 'sensorium[dev]'"
if CHROMIUM is None:
    pytest.skip(f"no Chromium here; type: {INSTALL}", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason=f"no Playwright here; type: {INSTALL}")

ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FAKE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
DONE = ".live-final:not([hidden])"


@pytest.fixture(scope="module")
def recording(tmp_path_factory, request):
    """A clip of RAVDESS where the real data is, else a made-up voice; played from its first sound on."""
    path = tmp_path_factory.mktemp("spoken") / "voice.wav"
    x = speak(4.0, 9)
    real = None
    with contextlib.suppress(pytest.skip.Exception):
        real = request.getfixturevalue("shared_data") / "ravdess-actors01-12-flac16k.tar"
    if real is not None:
        with tarfile.open(real) as archive:
            clip = archive.extractfile("ravdess/Actor_01/03-01-05-02-01-01-01.flac").read()
        x = np.tile(soundfile.read(io.BytesIO(clip))[0], 2)
    soundfile.write(path, x, RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def launch():
    """Browsers with arguments of their own, closed in the end; playwright ends all waiting after PATIENCE."""
    with playwright.sync_playwright() as started:
        running = []

        def start(*told):
            running.append(started.chromium.launch(executable_path=CHROMIUM, args=[*ARGS, *told]))
            return running[-1]

        yield start
        for browser in running:
            browser.close()


def tab(browser, **told):
    """A page of its own, in a context of its own, that waits as long as a busy machine needs."""
    context = browser.new_context(**told)
    context.set_default_timeout(1000 * PATIENCE)
    return context.new_page()


@pytest.fixture(scope="module")
def chromium(launch, recording):
    """A browser whose microphone plays the recording once."""
    return launch(*FAKE, f"--use-file-for-fake-audio-capture={recording}%noloop")


class Heard:
    """What a page really sent on its sockets, and what went wrong on it."""

    def __init__(self, page) -> None:
        self.rate, self.chunks, self.errors = 0, [], []
        page.on("websocket", self.socket)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda m: self.errors.append(m.text) if "Content Security Policy" in m.text else None)

    def socket(self, socket) -> None:
        self.chunks, self.rate = [], int(socket.url.split("rate=")[1].split("&")[0])
        socket.on("framesent", lambda data: self.chunks.append(data) if isinstance(data, bytes) else None)

    @property
    def samples(self) -> np.ndarray:
        return np.frombuffer(b"".join(self.chunks), "<f4")


@pytest.fixture
def page(chromium, server):
    page = tab(chromium, viewport={"width": 1200, "height": 850})
    page.heard = Heard(page)
    page.goto(f"http://127.0.0.1:{server.port}/#/live")
    page.wait_for_selector(".live-listen")
    yield page
    page.context.close()
    assert page.heard.errors == []


PATIENCE = 60.0  # seconds; a machine may be busy


def until(page, wanted: str) -> None:
    """Wait for a JavaScript expression to hold; asked from outside, as the page's policy allows no eval."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if page.evaluate(wanted):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never: {wanted}; the page says: {page.inner_text('.live')}")


ANSWERED = "Number(document.querySelector('.live')?.dataset.answered ?? 0)"


def answer(page) -> tuple[str, list[float]]:
    page.wait_for_selector(DONE)
    final = page.locator(".live-final")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.locator(".live-bar.open").count() == 0, "no segment is open any more"
    return final.get_attribute("data-emotion"), json.loads(final.get_attribute("data-probabilities"))


def place(page, name: str) -> list[float]:
    """Where a circle of the plane of valence and arousal is."""
    circle = page.locator(f".live-circumplex .{name}")
    return [float(circle.get_attribute(at)) for at in ("cx", "cy")]


def test_the_microphone_s_final_answer_is_the_offline_one(voice_run, page):
    page.click(".live-listen")
    until(page, f"{ANSWERED} > 2.5")
    assert page.inner_text(".live-listen") == "Stop"
    assert page.inner_text(".live-latency").startswith("shown ")
    labels = json.dumps(list(voice_run.classifier.labels))  # between two sounds it says that there is no speech
    until(page, f"{labels}.includes(document.querySelector('.live-word').innerText.split(/\\s/)[0])")
    assert page.locator(".live-bar").count() >= 1
    page.click(".live-listen")
    emotion, probabilities = answer(page)
    x, rate = page.heard.samples, page.heard.rate
    assert len(x) > 2 * rate and np.abs(x).max() > 0.01  # the recording did arrive
    wanted = voice_run.classifier.offline([(x, rate)])[0]
    np.testing.assert_allclose(probabilities, wanted, atol=1e-5)
    assert emotion == voice_run.classifier.labels[int(np.argmax(wanted))]
    page.click(".live-listen")  # and once more, on the same page
    until(page, "document.querySelector('.live').dataset.mode === 'listening'")
    page.click(".live-listen")
    answer(page)


@pytest.mark.parametrize("kind", ["PCM_16", "stereo", "flac"] + [
    pytest.param(kind, marks=pytest.mark.thorough) for kind in ("PCM_24", "FLOAT", "PCM_U8")
])  # fmt: skip
def test_a_file_s_final_answer_is_the_offline_one(voice_run, page, tmp_path, kind):
    x, rate = speak(1.5, 3, 44_100), 44_100
    path = tmp_path / ("voice.flac" if kind == "flac" else "voice.wav")
    x = np.stack([x, speak(1.5, 4, rate)], 1) if kind == "stereo" else x
    soundfile.write(path, x, rate, subtype=kind if kind.startswith(("PCM", "FLOAT")) else "PCM_16")
    page.set_input_files("#live-file", path)
    emotion, probabilities = answer(page)
    wanted = voice_run.classifier.offline([path])[0]
    # Browsers scale decoded samples above zero by 32767; what is plain WAV the page reads itself.
    np.testing.assert_allclose(probabilities, wanted, atol=2e-4 if kind == "flac" else 1e-6)
    assert emotion == voice_run.classifier.labels[int(np.argmax(wanted))]
    rows = page.locator(".live-row")
    assert [rows.nth(i).get_attribute("data-emotion") for i in range(8)] == voice_run.classifier.labels
    assert "1.5 s of sound" in page.inner_text(".live-final")
    places = [place(page, f"feel-{label}") for label in voice_run.classifier.labels]
    np.testing.assert_allclose(place(page, "live-dot"), np.array(probabilities) @ np.array(places), atol=0.1)
    if kind != "flac":
        with soundfile.SoundFile(path) as file:
            sent = file.read(dtype="float32", always_2d=True).mean(1)
        np.testing.assert_allclose(page.heard.samples, sent, atol=1e-7)


def test_what_is_no_sound_is_explained(page, tmp_path):
    (tmp_path / "note.wav").write_bytes(b"RIFF this is a note, and no sound at all" * 3)
    page.set_input_files("#live-file", tmp_path / "note.wav")
    page.wait_for_selector(".live-note:not([hidden])")
    assert "note.wav is damaged or no sound" in page.inner_text(".live-note")


def test_an_unreadable_file_hides_the_answer_before_it(page, tmp_path):
    soundfile.write(tmp_path / "voice.wav", speak(1.0, 2), RATE)
    (tmp_path / "pcm.raw").write_bytes(np.random.default_rng(0).bytes(9000))
    page.set_input_files("#live-file", tmp_path / "voice.wav")
    answer(page)
    page.set_input_files("#live-file", tmp_path / "pcm.raw")
    page.wait_for_selector(".live-note:not([hidden])")
    assert "pcm.raw is damaged or no sound" in page.inner_text(".live-note")
    assert not page.is_visible(".live-final") and page.get_attribute(".live", "data-mode") == "idle"
    assert page.inner_text(".live-word") == "–" and page.locator(".live-bar").count() == 0
    assert {row.inner_text().split()[-1] for row in page.locator(".live-row").all()} == {"–"}
    assert page.locator(".live-trail").count() == 0 and page.inner_text(".live-segments") == "Nothing yet."
    assert page.inner_text(".live-latency") == ""
    page.set_input_files("#live-file", tmp_path / "voice.wav")
    answer(page)


def test_silence_has_no_label(page, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    page.set_input_files("#live-file", tmp_path / "silent.wav")
    label, probabilities = answer(page)
    assert label == "" and len(probabilities) == 8
    assert "No speech was heard" in page.inner_text(".live-final") and "1.0 s of sound" in page.inner_text(
        ".live-final"
    )
    assert page.inner_text(".live-word") == "No speech" and page.locator(".live-bar").count() == 0
    assert {row.inner_text().split()[-1] for row in page.locator(".live-row").all()} == {"–"}, "no emotion has a share"


def test_steady_noise_is_no_speech(page, tmp_path):
    noise = np.random.default_rng(0).normal(scale=0.01, size=2 * RATE)  # -40 dBFS
    soundfile.write(tmp_path / "room.wav", noise, RATE)
    page.set_input_files("#live-file", tmp_path / "room.wav")
    label, _ = answer(page)
    assert label == "" and "silence or steady noise" in page.inner_text(".live-final")
    assert page.inner_text(".live-word") == "No speech" and page.locator(".live-bar").count() == 0


PHONE = """
    const Real = AudioContext, open = MediaDevices.prototype.getUserMedia, every = setInterval;
    window.AudioContext = class extends Real {
        constructor(...more) { super(...more); window.made = this; }
        resume() { return window.blocked ? Promise.reject(new Error('a call')) : super.resume(); } };
    MediaDevices.prototype.getUserMedia = async function (...more) {
        const media = await open.apply(this, more);
        [window.track] = media.getTracks();
        return media; };
    window.setInterval = (work, ...more) => every(() => window.frozen || work(), ...more);
    window.see = (state) => {
        Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
        document.dispatchEvent(new Event('visibilitychange')); };
    window.mute = (on) => {
        Object.defineProperty(track, 'muted', { value: on, configurable: true });
        track.dispatchEvent(new Event(on ? 'mute' : 'unmute')); };
"""


@pytest.fixture
def listening(chromium, server):
    """The page Live while it listens, in a browser that behaves as one on a phone where it is told to."""
    page = tab(chromium)
    page.add_init_script(PHONE)
    page.goto(f"http://127.0.0.1:{server.port}/#/live")
    page.click(".live-listen")
    until(page, f"{ANSWERED} > 0.3")
    yield page
    page.click(".live-listen")
    answer(page)
    page.context.close()


def test_a_suspended_microphone_is_resumed_or_said(listening):
    """As phones do it at a call: the browser suspends the sound of the page."""
    page = listening
    page.evaluate("window.blocked = true; made.suspend()")
    page.wait_for_selector(".live-note:not([hidden])")
    assert "The browser suspended the microphone" in page.inner_text(".live-note")
    assert page.inner_text(".live-status") == "The microphone is suspended."
    page.get_by_role("button", name="Resume").click()  # still a call
    assert page.is_visible(".live-note")
    page.evaluate("window.blocked = false")  # it goes on by itself
    page.wait_for_selector(".live-note[hidden]", state="attached")
    before = page.evaluate(ANSWERED)
    until(page, f"{ANSWERED} > {before} + 0.3")
    page.evaluate("made.suspend()")  # goes on at once
    before = page.evaluate(ANSWERED)
    until(page, f"{ANSWERED} > {before} + 0.5")
    assert page.evaluate("made.state") == "running" and page.locator(".live-note").is_hidden()


def test_a_muted_microphone_is_said_until_it_is_heard_again(listening):
    """As the browser mutes a track while another program or a key of the keyboard holds the microphone."""
    listening.evaluate("mute(true)")
    listening.wait_for_selector(".live-note:not([hidden])")
    assert "suspended the microphone" in listening.inner_text(".live-note")
    assert listening.get_attribute(".live", "data-suspended") == "true"
    listening.evaluate("mute(false)")
    listening.wait_for_selector(".live-note[hidden]", state="attached")
    assert listening.inner_text(".live-status") == "Listening…"
    before = listening.evaluate(ANSWERED)
    until(listening, f"{ANSWERED} > {before} + 0.3")


def test_a_return_to_the_tab_resumes_the_microphone(listening):
    """As a phone does it: in the hidden tab timers stand still, and after the call only the return is an event."""
    listening.evaluate("see('hidden'); frozen = true; blocked = true; made.suspend()")
    listening.wait_for_selector(".live-note:not([hidden])")
    listening.evaluate("blocked = false")
    listening.wait_for_timeout(300)
    assert listening.evaluate("made.state") == "suspended" and listening.is_visible(".live-note")
    listening.evaluate("see('visible')")
    listening.wait_for_selector(".live-note[hidden]", state="attached")
    before = listening.evaluate(ANSWERED)
    until(listening, f"made.state === 'running' && {ANSWERED} > {before} + 0.3")
    listening.evaluate("frozen = false")


def test_a_denied_microphone_is_explained(launch, server):
    page = tab(launch("--deny-permission-prompts", "--use-fake-device-for-media-stream"))
    page.goto(f"http://127.0.0.1:{server.port}/#/live")
    page.click(".live-listen")
    page.wait_for_selector(".live-note:not([hidden])")
    told = page.inner_text(".live-note")
    assert "The microphone was not allowed" in told and "site settings" in told
    assert page.inner_text(".live-listen") == "Listen"


def test_an_insecure_origin_is_explained(launch, serving):
    server = serving(hosts=["voices.example"])
    page = tab(launch(*FAKE, "--host-resolver-rules=MAP voices.example 127.0.0.1"))
    page.goto(f"http://voices.example:{server.port}/#/live")
    page.click(".live-listen")
    page.wait_for_selector(".live-note:not([hidden])")
    assert "ssh -L" in page.inner_text(".live-note") and "https" in page.inner_text(".live-note")


def test_on_a_phone_everything_fits(chromium, server, voice_run, tmp_path):
    path = tmp_path / "voice.wav"
    soundfile.write(path, speak(3.0, 2), RATE)
    page = tab(chromium, viewport={"width": 360, "height": 740}, has_touch=True, device_scale_factor=2)
    page.goto(f"http://127.0.0.1:{server.port}/#/live")
    page.wait_for_selector(".live-listen")
    page.set_input_files("#live-file", path)
    answer(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for selector in (".live-listen", ".live-drop", ".live-row", ".live-circumplex", ".live-bars"):
        box = page.locator(selector).first.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360, selector
    assert page.locator(".live-listen").bounding_box()["height"] >= 44  # a thumb's width
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_serious_finding(chromium, server, tmp_path, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="type: pip install axe-playwright-python")
    soundfile.write(tmp_path / "voice.wav", speak(2.0, 2), RATE)
    page = tab(chromium, color_scheme=scheme, reduced_motion="reduce")
    page.goto(f"http://127.0.0.1:{server.port}/#/live")
    page.wait_for_selector(".live-listen")
    page.set_input_files("#live-file", tmp_path / "voice.wav")
    answer(page)
    page.wait_for_timeout(600)  # colours fade
    found = axe.Axe().run(page).response["violations"]
    page.context.close()
    assert [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found
            if one["impact"] in ("serious", "critical")] == []  # fmt: skip


@pytest.mark.slow
def test_a_lost_connection_is_told_and_mended(chromium, voice_run):
    server = Server(voice_run.folder)
    page = tab(chromium)
    page.goto(f"http://127.0.0.1:{server.port}/#/live")
    page.click(".live-listen")
    until(page, f"{ANSWERED} > 0.5")
    server.stop()
    page.wait_for_selector(".live-note:not([hidden])")
    assert "The connection was lost" in page.inner_text(".live-note")
    time.sleep(0.5)
    again = Server(voice_run.folder, port=server.port)
    until(page, "document.querySelector('.live-note').innerText.includes('Connected again')")
    until(page, "document.querySelector('.live').dataset.mode === 'listening'")
    page.click(".live-listen")
    answer(page)
    page.context.close()
    again.stop()


def test_leaving_the_page_closes_the_stream(chromium, serving):
    server = serving(streams=1)
    page = tab(chromium)
    page.goto(f"http://127.0.0.1:{server.port}/#/live")
    page.click(".live-listen")
    until(page, f"{ANSWERED} > 0.2")
    assert not server.ready()
    page.evaluate("location.hash = '#/system'")
    for _ in range(400):
        if free := server.ready():
            break
        time.sleep(0.05)
    assert free
    page.context.close()


def test_a_full_server_is_told_and_waited_for(chromium, serving):
    server = serving(streams=1)
    page = tab(chromium)
    page.goto(f"http://127.0.0.1:{server.port}/#/live")
    with server.stream() as other:
        assert other.told[0]["type"] == "ready"
        page.click(".live-listen")
        page.wait_for_selector(".live-note:not([hidden])")
        told = page.inner_text(".live-note")
        assert "does not take this stream yet" in told and "Wait a few seconds" in told
    until(page, f"{ANSWERED} > 0.2")
    assert page.locator(".live-note").is_hidden()
    page.click(".live-listen")
    answer(page)
    page.context.close()


def test_stopping_without_a_connection_comes_to_an_end(chromium, voice_run):
    server = Server(voice_run.folder)
    page = tab(chromium)
    page.goto(f"http://127.0.0.1:{server.port}/#/live")
    page.click(".live-listen")
    until(page, f"{ANSWERED} > 0.2")
    server.stop()
    page.wait_for_selector(".live-note:not([hidden])")
    page.click(".live-listen")
    until(page, "document.querySelector('.live').dataset.mode === 'idle'")
    assert "no connection when the recording ended" in page.inner_text(".live-note")
    page.context.close()


@pytest.fixture(scope="module")
def sounds_run(tmp_path_factory):
    """A run of six kinds of sounds, which are no emotions."""
    import sensorium

    root = tmp_path_factory.mktemp("sounds")
    kinds = ["bell", "bird", "drill", "knock", "rain", "siren"]
    t = np.arange(RATE // 2) / RATE
    for k, kind in enumerate(kinds):
        for speaker in range(3):
            (root / "clips" / kind / f"s{speaker}").mkdir(parents=True)
            noise = np.random.default_rng(10 * k + speaker).normal(size=len(t))
            x = 0.2 * np.sin(2 * np.pi * 300 * (k + 1) * t) + 0.01 * noise
            soundfile.write(root / "clips" / kind / f"s{speaker}" / "a.wav", x, RATE)
    recipe = {
        "name": "sounds",
        "data": {"name": "speech_folder", "root": str(root / "clips"), "test_actors": ["s1"], "validation_actors": ["s2"]},
        "left": {"encoder": {"name": "mfcc", "silence": "drop"}, "head": {"name": "statistics", "members": 1}},
        "right": {"encoder": {"name": "onehot", "classes": kinds}, "head": {"name": "identity", "normalize": False}},
        "objective": "cross_entropy",
        "train": {"epochs": 5, "batch": 6},
        "evaluate": {"resamples": 20, "baselines": [], "directions": ["left->right"], "leaks": "off", "plots": False},
    }  # fmt: skip
    return sensorium.run(recipe, out=root / "run", quiet=True)


def test_classes_that_are_no_emotions_are_bars_of_the_five_likeliest(chromium, sounds_run, tmp_path):
    server = Server(sounds_run.folder)
    page = tab(chromium, viewport={"width": 390, "height": 844})
    page.goto(f"http://127.0.0.1:{server.port}/#/live")
    page.wait_for_selector(".live-listen")
    assert page.locator(".face, .live-circumplex").count() == 0
    noise = np.random.default_rng(0).normal(scale=0.01, size=RATE)
    soundfile.write(tmp_path / "rain.wav", noise, RATE)
    page.set_input_files("#live-file", tmp_path / "rain.wav")
    label, probabilities = answer(page)
    assert label in sounds_run.classifier.labels  # steady noise is a sound here
    rows = page.locator(".live-top .live-row")
    shown = [float(row.get_attribute("data-value")) for row in rows.all()]
    assert shown == sorted(probabilities, reverse=True)[:5] and len(probabilities) == 6
    assert rows.first.get_attribute("data-emotion") == label and page.locator(".live-bar").count() >= 1
    assert f"Predicted for the whole recording: {label}" in page.inner_text(".live-final")
    assert page.locator(".face, .live-circumplex").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()
    server.stop()
