"""The page Voices in a real browser: clips for a line and for a script, played, dragged, filtered and exported."""

import json
import urllib.parse
import urllib.request

import pytest
import small_voices
import soundfile

pytestmark = [pytest.mark.slow, pytest.mark.thorough]
ANGRY, SAD, HAPPY = (
    "Get out of my house this instant",
    "I miss her more than I can say",
    "We won the whole tournament today",
)
ENGINE = "gpt-sovits"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A served run of 48 made clips of four speakers, and one without sounds."""
    import numpy as np
    from page_server import Server

    import sensorium

    folder = tmp_path_factory.mktemp("library")
    run = small_voices.make(folder / "runs" / "voices")
    x = np.random.default_rng(0).standard_normal((80, 6)).astype(np.float32)
    np.savez(folder / "pairs.npz", left=x, right=x[:, ::-1], ids=np.arange(80))
    plain = ["left.head=linear", "right.head=linear", "objective=ridge", "data.left=left", "data.right=right",
             f"data.file={folder}/pairs.npz", "data.ids=ids", "evaluate.baselines=[]", "evaluate.plots=false"]  # fmt: skip
    other = sensorium.run("arrays", plain, out=folder / "runs" / "plain", quiet=True)
    server = Server(run.folder, other.folder)
    yield server
    server.stop()


def at(library, **params):
    return f"{library.url}/#/voices?{urllib.parse.urlencode({'run': 'voices', **params}, doseq=True)}"


def settled(page):
    page.wait_for_selector(".voice-found:not([aria-busy])")
    page.wait_for_selector(".voice-found > *")


def pop(page, name):
    """Open one of the popovers of the bar."""
    page.keyboard.press("Escape")  # another one, or this one, may be open
    page.locator(".bar .pop > .button", has_text=name).click()
    page.wait_for_selector(".pop-panel:not([hidden]) > *")


def shown(page, place=".voice-found"):
    return [one.get_attribute("data-id") for one in page.locator(f"{place} .clip").all()]


def asked(library, *lines, **body):
    sent = json.dumps({"run": "voices", "lines": list(lines), **body}).encode()
    request = urllib.request.Request(f"{library.url}/prompts", sent, {"content-type": "application/json"})
    return urllib.request.urlopen(request).read()


def found(library, *lines, **body):
    return [[hit["id"] for hit in line["hits"]] for line in json.loads(asked(library, *lines, **body))["lines"]]


def test_the_page_is_there_for_runs_that_find_sounds_by_text_only(library, open_page):
    page = open_page(at(library))
    settled(page)
    assert page.locator("nav a[aria-current=page]").inner_text() == "Voices" and page.title().startswith("Voices")
    assert page.locator(".clip").count() == 6 and "48 clips" in page.locator(".first-line").inner_text()
    page.goto(f"{library.url}/#/voices?run=plain")
    page.wait_for_selector("text=This run finds no voices by text")
    assert "Voices" not in page.locator("nav").inner_text()


def test_a_typed_line_finds_clips_each_with_its_numbers(library, open_page):
    page = open_page(at(library, **{"for": ENGINE}))
    settled(page)
    page.get_by_label("Lines to speak").fill(ANGRY)
    page.wait_for_selector(".voice-found h2:has-text('Get out')")
    assert shown(page) == found(library, ANGRY, k=10, **{"for": ENGINE})[0]
    told = json.loads(asked(library, ANGRY, k=10, **{"for": ENGINE}))["lines"][0]
    first, hit = page.locator(".clip").first, told["hits"][0]
    assert hit["columns"]["transcript"] in first.inner_text() and hit["columns"]["speaker"] in first.inner_text()
    assert f"{hit['score']:.3f}" in first.inner_text()
    for gate, one in hit["gates"].items():
        if gate not in ("transcript", "nonverbal"):
            cell = first.locator(f".mark[data-gate='{gate}']")
            assert one["state"] in cell.get_attribute("class"), gate
    duration = hit["columns"]["duration"]
    assert f"{duration:g} s" in first.locator(".mark[data-gate=duration] .mark-value").inner_text()
    assert f"{told['passing']} of {told['clips']} clips pass" in page.locator(".voice-found .head").inner_text()


def test_what_fails_is_marked_where_it_is_shown(library, open_page):
    page = open_page(at(library, lines=ANGRY, k=48, **{"for": ENGINE}))
    settled(page)
    assert not set(shown(page)) & set(small_voices.FAULTS)
    pop(page, "Options")
    page.get_by_label("Show clips that fail, too").check()
    page.wait_for_selector(".clip.fails")
    names = {"ada/angry_2.wav": "duration", "ben/angry_2.wav": "loudness", "cleo/happy_2.wav": "clipping",
             "dan/sad_2.wav": "noise", "dan/calm_2.wav": "transcript", "ben/happy_2.wav": "nonverbal"}  # fmt: skip
    for id, gate in names.items():
        mark = page.locator(f".clip[data-id='{id}'] .mark[data-gate='{gate}']")
        assert "fail" in mark.get_attribute("class") and "fails" in mark.get_attribute("title")


def test_a_clip_plays_pauses_and_only_one_at_a_time(library, open_page):
    page = open_page(at(library, lines=ANGRY))
    settled(page)
    page.wait_for_function("() => document.querySelector('.clip .wave-bars').getAttribute('d').includes('V31')")
    first, second = page.locator(".clip").nth(0), page.locator(".clip").nth(1)
    first.get_by_role("button", name="Play").click()
    page.wait_for_selector(".clip:nth-child(1) .sound.playing")
    page.wait_for_function(
        "() => parseFloat(document.querySelector('.clip .sound').style.getPropertyValue('--at')) > 1"
    )
    second.get_by_role("button", name="Play").click()
    page.wait_for_selector(".clip:nth-child(2) .sound.playing")
    assert page.locator(".sound.playing").count() == 1
    second.get_by_role("button", name="Pause").click()
    page.wait_for_function("() => !document.querySelector('.sound.playing')")
    first.get_by_role("slider").evaluate(
        "one => { one.value = 500; one.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    page.wait_for_function(
        "() => Math.abs(parseFloat(document.querySelector('.clip .sound').style.getPropertyValue('--at')) - 50) < 5"
    )


def test_keys_move_among_clips_and_space_plays(library, open_page):
    page = open_page(at(library, lines=ANGRY))
    settled(page)
    page.locator(".voice-found h2").click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    focused = "() => document.activeElement.closest('.clip')?.dataset.id"
    assert page.evaluate(focused) == shown(page)[1]
    page.keyboard.press("Space")
    page.wait_for_selector(".clip:nth-child(2) .sound.playing")
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == shown(page)[0]
    page.keyboard.press("Space")
    page.wait_for_selector(".clip:nth-child(1) .sound.playing")
    page.keyboard.press("Space")
    page.wait_for_function("() => !document.querySelector('.sound.playing')")
    words = page.get_by_label("Lines to speak")
    words.focus()
    page.keyboard.press("End")
    page.keyboard.type(" now")
    assert words.input_value() == f"{ANGRY} now" and page.locator(".sound.playing").count() == 0


def test_a_clip_is_dragged_to_this_speaker(library, open_page):
    page = open_page(at(library, lines=f"{ANGRY}\n{SAD}"))
    settled(page)
    clip = page.locator(".script-line").nth(1).locator(".clip").first
    id = clip.get_attribute("data-id")
    clip.drag_to(page.locator(".speaker-place"), source_position={"x": 700, "y": 20})
    page.wait_for_selector(".conditions .chip:has-text('Speaker of a clip')")
    speaker = id.split("/")[0]
    pop(page, "Speaker")
    page.wait_for_selector(".this-speaker strong")
    assert page.locator(".this-speaker strong").inner_text() == speaker and "like=" in page.url
    settled(page)
    assert {one.split("/")[0] for one in shown(page)} == {speaker}
    assert [[one] for one in shown(page)] == found(library, ANGRY, SAD, speaker=speaker)
    page.get_by_role("button", name="Any speaker again").click()
    page.wait_for_selector(".conditions .chip", state="detached")
    assert "like=" not in page.url


def test_this_speaker_by_a_button_and_a_speaker_by_its_chip(library, open_page):
    page = open_page(at(library, lines=ANGRY))
    settled(page)
    first = page.locator(".clip").first
    speaker = first.get_attribute("data-id").split("/")[0]
    first.get_by_role("button", name="This speaker").click()
    page.wait_for_selector(f".speaker-place .tag:has-text('{speaker}')")
    settled(page)
    assert {one.split("/")[0] for one in shown(page)} == {speaker}
    pop(page, "Speaker")
    other = next(one for one in small_voices.SPEAKERS if one != speaker)
    page.get_by_role("button", name=other, exact=True).click()
    page.wait_for_selector(f".chip[aria-pressed=true]:has-text('{other}')")
    settled(page)
    assert {one.split("/")[0] for one in shown(page)} == {other}


def test_a_script_keeps_one_speaker_while_the_emotion_follows(library, open_page):
    page = open_page(at(library))
    settled(page)
    page.get_by_label("Lines to speak").fill(f"{ANGRY}\n\n{SAD}\n  {HAPPY}  \n")
    page.wait_for_selector("text=3 of 3 lines have a clip")
    assert page.locator(".script-line h3").all_inner_texts() == [ANGRY, SAD, HAPPY]
    assert "3 lines" in page.locator(".ask-field").inner_text()
    pop(page, "Options")
    page.get_by_label("One speaker for all lines").check()
    page.wait_for_selector(".voice-found .head .tag")
    settled(page)
    assert [[one] for one in shown(page)] == found(library, ANGRY, SAD, HAPPY, keep_speaker=True)
    assert len({one.split("/")[0] for one in shown(page)}) == 1 and len(set(shown(page))) == 3


def test_another_clip_is_taken_for_a_line_and_exported(library, open_page):
    page = open_page(at(library, lines=f"{ANGRY}\n{SAD}", **{"for": ENGINE}))
    settled(page)
    line = page.locator(".script-line").nth(1)
    line.get_by_role("button", name="other clips").click()
    other = line.locator(".others .clip").nth(1)
    id = other.get_attribute("data-id")
    other.get_by_role("button", name="Take").click()
    page.wait_for_function(
        "id => document.querySelectorAll('.script-line')[1].querySelector('.clip').dataset.id === id", arg=id
    )
    assert urllib.parse.quote(f"1:{id}", safe="") in page.url
    pop(page, "Export")
    with page.expect_download() as save:
        page.get_by_role("button", name="Download").click()
    text = save.value.path().read_text()
    assert save.value.suggested_filename == "prompts-gpt-sovits.list"
    first = found(library, ANGRY, **{"for": ENGINE})[0][0]
    assert [row.split("|")[0].split("clips/")[1] for row in text.splitlines()] == [first, id]


def test_an_export_is_copied_in_the_format_that_was_chosen(library, open_page):
    page = open_page(at(library, lines=ANGRY, **{"for": "f5"}))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    settled(page)
    pop(page, "Export")
    for name in ("f5", "gpt-sovits", "emorag"):
        page.get_by_label("Format of the export").select_option(name)
        page.get_by_role("button", name="Copy", exact=True).click()
        page.wait_for_selector("button:has-text('Copied')")
        same = asked(library, ANGRY, **{"for": "f5", "as": name}).decode()
        assert page.evaluate("() => navigator.clipboard.readText()") == same
        page.wait_for_selector("button:has-text('Copied')", state="detached")
    page.get_by_label("Format of the export").select_option("cosyvoice")
    assert page.get_by_role("button", name="Copy", exact=True).is_disabled()  # several files


def test_quiet_clips_are_levelled_and_the_export_brings_their_audio(library, open_page):
    import zipfile

    where = json.dumps({"rms": {"<": 0.01}})
    page = open_page(at(library, lines=ANGRY, where=where, **{"for": ENGINE}))
    page.wait_for_selector("text=1 of 1 clips are too quiet or too loud")
    page.get_by_role("button", name="Level the clips").first.click()
    page.wait_for_selector(".clip[data-id='ben/angry_2.wav']")
    settled(page)
    pop(page, "Export")
    assert page.get_by_label("with audio").is_disabled() and "level=1" in page.url
    with page.expect_download() as save:
        page.get_by_role("button", name="Download").click()
    assert save.value.suggested_filename == "prompts-gpt-sovits.zip"
    names = zipfile.ZipFile(save.value.path()).namelist()
    assert "prompts.list" in names and len([name for name in names if name.startswith("clips/")]) == 1


def test_the_link_shows_the_same_and_back_goes_back(library, open_page):
    told = {"lines": f"{ANGRY}\n{SAD}", "for": "f5", "speaker": "cleo", "k": 5, "all": "1", "off": "noise",
            "take": "0:cleo/angry_1.wav", "where": json.dumps({"emotion": ["angry", "sad"]})}  # fmt: skip
    page = open_page(at(library, **told))
    settled(page)
    before = shown(page)
    assert before[0] == "cleo/angry_1.wav"
    page.reload()
    settled(page)
    assert shown(page) == before and page.get_by_label("Lines to speak").input_value() == told["lines"]
    pop(page, "Engine")
    assert page.locator("#engine").input_value() == "f5"
    pop(page, "Options")
    assert page.get_by_label("Show clips that fail, too").is_checked()
    pop(page, "Speaker")
    page.get_by_role("button", name="dan", exact=True).click()
    page.wait_for_selector(".chip[aria-pressed=true]:has-text('dan')")
    settled(page)
    page.go_back()
    page.wait_for_selector(".speaker-place .tag:has-text('cleo')")
    settled(page)
    assert shown(page) == before


def test_a_script_too_long_for_a_link_outlives_a_reload(library, open_page):
    text = "\n".join(f"{ANGRY}, said number {i} of them" for i in range(120))
    page = open_page(at(library))
    settled(page)
    page.get_by_label("Lines to speak").fill(text)
    page.wait_for_selector("text=120 of 120 lines have a clip")
    assert "script=" in page.url and len(page.url) < 300
    page.reload()
    page.wait_for_selector("text=120 of 120 lines have a clip")
    assert page.get_by_label("Lines to speak").input_value() == text


def test_a_gate_is_left_out_and_a_filter_set(library, open_page):
    page = open_page(at(library, lines=ANGRY, k=50, **{"for": ENGINE}))
    settled(page)
    assert "dan/sad_2.wav" not in shown(page)
    pop(page, "Engine")
    page.get_by_role("checkbox", name="signal to noise").uncheck()
    page.wait_for_selector(".clip[data-id='dan/sad_2.wav']")
    assert page.locator("details.limits").get_attribute("open") is not None and "off=noise" in page.url
    pop(page, "Filter")
    page.locator(".pop-panel:visible").get_by_role("checkbox", name="calm").check()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.clip')].every(one => one.dataset.id.includes('calm'))"
    )


def test_no_clip_passes_and_the_page_says_what_removed_them(library, open_page):
    where = {"duration": {"<": 2}}
    page = open_page(at(library, lines=ANGRY, where=json.dumps(where), **{"for": ENGINE}))
    page.wait_for_selector("text=No clip passes")
    assert "duration leaves out 1" in page.locator(".voice-found").inner_text()
    page.get_by_role("button", name="Show clips that fail, too").click()
    page.wait_for_selector(".clip")
    assert shown(page) == ["ada/angry_2.wav"]


def test_a_recording_from_elsewhere_chooses_the_nearest_voice(library, open_page, tmp_path):
    soundfile.write(tmp_path / "mine.wav", small_voices.clip("calm", "cleo", 9, 3.0), 16_000)
    page = open_page(at(library, lines=ANGRY), allow=("422",))
    settled(page)
    pop(page, "Speaker")
    page.locator(".this-speaker input[type=file]").set_input_files(tmp_path / "mine.wav")
    page.wait_for_selector(".this-speaker strong")
    settled(page)
    assert "cleo sounds most like mine.wav (probability" in page.locator(".this-speaker").inner_text()
    assert {one.split("/")[0] for one in shown(page)} == {"cleo"} and "speaker=cleo" in page.url
    page.get_by_role("button", name="ben", exact=True).click()
    page.wait_for_selector(".this-speaker:has-text('A recording finds the speaker')")
    (tmp_path / "none.wav").write_bytes(b"no sound at all")
    page.locator(".this-speaker input[type=file]").set_input_files(tmp_path / "none.wav")
    page.wait_for_selector(".this-speaker [role=alert]")
    page.get_by_role("button", name="Close this message").click()
    page.wait_for_selector(".this-speaker:has-text('A recording finds the speaker')")


def test_what_goes_wrong_is_said(library, open_page):
    page = open_page(at(library, lines=ANGRY, speaker="nobody"), allow=("400", "422", "404"))
    page.wait_for_selector(".voice-found .state.error")
    assert "There is no speaker “nobody”" in page.locator(".voice-found").inner_text()
    pop(page, "Speaker")
    page.get_by_role("button", name="ben", exact=True).click()
    page.wait_for_selector(".clip")
    page.goto(at(library, lines=ANGRY, like="gone.wav"))
    page.wait_for_selector(".voice-found .state.error >> text=There is no clip “gone.wav”")
    page.get_by_label("Lines to speak").fill("\n".join(["a line"] * 1001))
    page.wait_for_selector("text=Too many lines for a page")


def test_the_search_shows_what_a_clip_is_and_plays_it(library, open_page):
    page = open_page(f"{library.url}/#/search?{urllib.parse.urlencode({'run': 'voices', 'q': ANGRY})}")
    page.wait_for_selector(".hit.audio")
    first = page.locator(".hit.audio").first
    speaker, emotion = first.get_attribute("data-id").split("/")
    assert emotion.split("_")[0] in first.inner_text() and speaker in first.inner_text()
    assert first.locator(".wave-time").inner_text().endswith(" s")
    first.get_by_role("button", name="Play").click()
    page.wait_for_selector(".hit .sound.playing")
    page.goto(at(library))
    settled(page)
    assert page.locator(".sound.playing").count() == 0


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_it_fits_the_width(library, open_page, width):
    page = open_page(at(library, lines=f"{ANGRY}\n{SAD}", all="1"), viewport={"width": width, "height": 760})
    page.wait_for_selector(".clip")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_finding(library, open_page, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="type: pip install axe-playwright-python"
    ).Axe()
    page, findings = open_page(at(library), color_scheme=scheme), []
    for params in ({}, {"lines": ANGRY, "all": "1", "k": "50", "for": ENGINE}, {"lines": f"{ANGRY}\n{SAD}", "like": "ada/sad_0.wav"},
                   {"lines": ANGRY, "where": json.dumps({"duration": {"<": 2}})}):  # fmt: skip
        page.goto(at(library, **params))
        settled(page)
        if params:
            pop(page, "Engine" if "for" in params else "Speaker")
        for one in axe.run(page).response["violations"]:
            findings += [f"{one['impact']} {one['id']}: {node['html'][:160]}" for node in one["nodes"][:3]]
    assert findings == []
