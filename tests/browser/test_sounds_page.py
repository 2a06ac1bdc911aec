"""Captioned sounds in a real browser: found by words, heard and seen; a dropped sound finds captions."""

import json
import urllib.parse

import pytest
import small_voices
import soundfile

pytestmark = [pytest.mark.slow, pytest.mark.thorough]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """A served run of made sounds and their captions, by recipe ``captions``."""
    from page_server import Server

    import sensorium

    folder = tmp_path_factory.mktemp("sounds")
    names, _ = small_voices.write(folder / "clips")
    rows = [{"file_name": name, "caption_1": f"a {name.split('/')[1].split('_')[0]} voice", "caption_2": f"someone like {name.split('/')[0]} speaks"}
            for name in names]  # fmt: skip
    (folder / "table.jsonl").write_text("\n".join(map(json.dumps, rows)))
    keys = [f"data.root={folder}/clips", f"data.table={folder}/table.jsonl", "left.encoder=functionals", "right.encoder=hashing",
            "left.head=linear", "right.head=linear", "objective=ridge", "evaluate.baselines=[]", "evaluate.plots=false",
            "evaluate.resamples=20"]  # fmt: skip
    run = sensorium.run("captions", keys, out=folder / "runs" / "sounds", quiet=True)
    windows = [*keys, "data.window=2", "data.hop=1"]
    parts = sensorium.run("captions", windows, out=folder / "runs" / "moments", quiet=True)
    server = Server(run.folder, parts.folder)
    yield server
    server.stop()


def at(sounds, **params):
    return f"{sounds.url}/#/search?{urllib.parse.urlencode({'run': 'sounds'} | params)}"


def drawn(page, place):
    """Wait until a spectrogram is drawn, and return its description."""
    page.wait_for_function("place => document.querySelector(place)?.width > 1", arg=f"{place} .spectrogram-canvas")
    return page.locator(f"{place} .spectrogram-canvas").first.get_attribute("aria-label")


def test_a_caption_finds_sounds_to_hear_and_to_see(sounds, open_page):
    page = open_page(at(sounds, q="an angry voice"))
    page.wait_for_selector(".hit.audio")
    assert "seconds, 50 Hz to 8 kHz, 80 dB" in drawn(page, ".hit.audio")
    page.locator(".hit.audio").first.get_by_role("button", name="Play").click()
    page.wait_for_selector(".hit .sound.playing")
    page.locator(".hit.audio").first.locator(".hit-main").click()
    drawn(page, "dialog")
    labels = page.locator("dialog .spectrogram-hz span").all_inner_texts()
    assert [text for text in labels if "kHz" in text][-1] == "8 kHz" and "80 dB" in page.locator(
        "dialog figcaption"
    ).inner_text()


def test_the_vector_of_an_item_is_shown_as_a_picture_when_it_is_unfolded(sounds, open_page):
    page = open_page(at(sounds, q="an angry voice"))
    page.wait_for_selector(".hit.audio")
    page.locator(".hit.audio").first.locator(".hit-main").click()
    assert page.locator("dialog .pseudo-image").count() == 0
    page.locator("dialog summary").click()
    page.wait_for_function("() => document.querySelector('dialog .pseudo-image')?.naturalWidth === 128")
    assert page.locator("dialog .pseudo-image").get_attribute("alt").startswith("Pseudo-image of ")


def test_a_dropped_sound_finds_captions_and_is_heard_and_seen_itself(sounds, open_page, tmp_path):
    soundfile.write(tmp_path / "mine.wav", small_voices.clip("calm", "cleo", 9, 3.0), 16_000)
    page = open_page(at(sounds))
    page.wait_for_selector(".begin")
    page.get_by_role("button", name="Audio", exact=True).click()
    page.locator("input[type=file][accept='audio/*']").first.set_input_files(tmp_path / "mine.wav")
    page.wait_for_selector(".hit.text")
    assert "mine.wav: 3.0 seconds" in drawn(page, ".asked")
    page.locator(".asked").get_by_role("button", name="Play mine.wav").click()
    page.wait_for_selector(".asked .sound.playing")
    assert "voice" in page.locator(".hits").inner_text()


def test_a_part_of_a_recording_says_when_it_is_and_is_played_alone(sounds, open_page):
    page = open_page(at(sounds, run="moments", q="an angry voice"))
    page.wait_for_selector(".hit.audio")
    first = page.locator(".hit.audio").first
    begin, end = first.locator(".hit-name").inner_text().split()[-1].split("–")
    assert begin.startswith("0:0") and end.startswith("0:0") and begin < end
    assert "2.0 seconds" in drawn(page, ".hit.audio") and first.locator(".wave-time").inner_text() == "2.0 s"
    names = [one.inner_text().rsplit(" ", 1)[0] for one in page.locator(".hit-name").all()]
    assert len(names) == len(set(names)), "one hit a recording"
    first.get_by_role("button", name="Play").click()
    page.wait_for_selector(".hit .sound.playing")


def test_sounds_far_down_are_not_fetched(sounds, open_page):
    asked = []
    page = open_page(at(sounds, q="voice", k="48"))
    page.on("request", lambda request: asked.append(request.url) if "/media/" in request.url else None)
    page.reload()
    page.wait_for_selector(".hit.audio:nth-child(48)", state="attached")
    drawn(page, ".hit.audio")
    page.wait_for_timeout(500)
    assert 0 < len(set(asked)) < 30


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_finding(sounds, open_page, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="type: pip install axe-playwright-python"
    ).Axe()
    page = open_page(at(sounds, q="an angry voice"))
    page.emulate_media(color_scheme=scheme)
    page.wait_for_selector(".hit.audio")
    drawn(page, ".hit.audio")
    page.locator(".hit.audio").first.locator(".hit-main").click()
    page.locator("dialog summary").click()
    page.wait_for_function("() => document.querySelector('dialog .pseudo-image')?.naturalWidth === 128")
    found = axe.run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]][:2]) for one in found] == []


def test_nothing_sticks_out_on_a_phone(sounds, open_page):
    page = open_page(at(sounds, q="an angry voice"))
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_selector(".hit.audio")
    drawn(page, ".hit.audio")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
