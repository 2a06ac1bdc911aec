"""The finished search: first screens of three kinds of runs, type-ahead, keys, sharing, adding, errors."""

import json
import urllib.parse
import urllib.request

import numpy as np
import pytest
from page_server import Server

import sensorium


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A served run of vectors with captions, and one of classes."""
    folder, random = tmp_path_factory.mktemp("vectors"), np.random.default_rng(0)
    words = [f"a {size} {colour} {thing}" for size in ("small", "large", "huge") for colour in ("red", "green", "blue", "grey")
             for thing in ("dog", "house", "tree", "boat", "bird")]  # fmt: skip
    x = random.standard_normal((60, 8)).astype(np.float32)
    names = np.array([f"{i:04d}.jpg" for i in range(60)])
    np.savez(folder / "a.npz", image=x, text=x @ random.standard_normal((8, 8)).astype(np.float32), names=names,
             caption=np.array(words), length=np.linspace(0.5, 9, 60))  # fmt: skip
    keys = [f"data.file={folder}/a.npz", "data.left=image", "data.right=text", "left.head=linear", "right.head=linear",
            "objective=ridge", "evaluate.baselines=[]", "evaluate.plots=false", "evaluate.resamples=10",
            "page.title=Pairs of vectors"]  # fmt: skip
    run = sensorium.run("arrays", keys, out=folder / "runs" / "pairs", quiet=True)
    server = Server(run.folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def classes(voice_run):
    server = Server(voice_run.folder)
    yield server
    server.stop()


def searched(page):
    page.wait_for_selector(".results:not([aria-busy]) .hit")
    return page.locator(".hit")


@pytest.fixture
def page(served, open_page):
    return open_page(f"{served.url}/#/search?run=glyphs")


def test_the_first_screen_says_what_is_searched_how_good_it_is_and_what_to_type(page):
    page.wait_for_selector(".wall-picture")
    line = page.locator(".first-line").inner_text()
    assert (
        "21,398 images ↔ 7,333 texts." in line and "The first answer is right in" in line and "chance is 0.1%" in line
    )
    assert page.locator(".bar").is_hidden()
    chip = page.locator(".examples .chip").first
    words = chip.inner_text()
    chip.click()
    searched(page)
    assert page.get_by_label("Text", exact=True).input_value() == words
    assert page.locator(".first").is_hidden()


def test_vectors_are_found_by_their_text_as_it_is_typed(vectors, open_page):
    page = open_page(f"{vectors.url}/#/search?run=pairs")
    page.wait_for_selector(".wall button")
    assert page.locator("h1").inner_text() == "Pairs of vectors"
    assert "60 images ↔ 60 texts" in page.locator(".first-line").inner_text()
    field = page.get_by_role("combobox", name="Text")
    field.press_sequentially("red bo", delay=20)
    page.wait_for_selector("[role=option]")
    assert all("red" in text and "boat" in text for text in page.locator(".suggest-text").all_inner_texts())
    page.keyboard.press("ArrowDown")
    assert field.get_attribute("aria-activedescendant") == "suggestion-0"
    page.keyboard.press("Enter")
    searched(page)
    assert "id=" in page.url and "red boat" in field.input_value()
    field.fill("no such thing")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Nothing is called")


def test_items_are_named_by_another_column_and_numbers_have_ranges(vectors, open_page):
    page = open_page(f"{vectors.url}/#/search?run=pairs")
    page.locator(".examples .chip").first.click()
    searched(page)
    page.get_by_role("button", name="Options").click()
    page.get_by_label("Name items by").select_option("names")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.hit-name')].every(e => e.textContent.endsWith('.jpg'))"
    )
    assert "show=names" in page.url
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Filter").click()
    page.get_by_label("length at least").fill("5")
    page.keyboard.press("Tab")
    page.wait_for_selector(".conditions .chip >> text=length ≥ 5")


def test_classes_are_offered_and_their_probabilities_add_up_to_one(classes, voice_run, open_page):
    page = open_page(f"{classes.url}/#/search")
    page.wait_for_selector(".examples .chip")
    assert set(page.locator(".examples .chip").all_inner_texts()) == set(voice_run.classifier.labels)
    page.get_by_role("combobox", name="Text").click()
    assert page.locator("[role=option]").count() == 8
    page.get_by_role("option", name="angry").click()
    first = searched(page).first
    first.get_by_role("button", name="Play").wait_for()
    assert first.locator(".tag.good").count() <= 1
    first.get_by_role("button", name="Find similar").click()
    page.wait_for_selector(".hits.texts")
    shown = page.locator(".hit .score > .number:not(.rank)").all_inner_texts()
    total = sum(float(text.strip("%<> ")) for text in shown)
    assert len(shown) == 8 and 95 < total < 105
    assert "add up to 100%" in page.locator(".found-line").inner_text()
    assert page.locator(".asked").get_by_role("button", name="Play").count() == 1  # the query can be played
    page.wait_for_selector(".hit.known >> text=Match in the data")


def test_keys_focus_walk_and_list(page):
    page.wait_for_selector(".wall-picture")
    page.locator("h1").click()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.ariaLabel") == "Text"
    page.keyboard.type("umbrella")
    page.keyboard.press("Enter")
    searched(page)
    page.locator("h1").click()
    at = "[...document.querySelectorAll('.hit')].indexOf(document.activeElement.closest('.hit'))"
    for key, place in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowDown", 7), ("ArrowUp", 1), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        assert page.evaluate(at) == place, key
    page.keyboard.press("Enter")
    page.locator("dialog.drawer").wait_for()
    page.keyboard.press("Escape")
    page.locator("dialog.drawer").wait_for(state="detached")
    page.keyboard.press("?")
    assert "Walk the results" in page.locator("dialog.keys").inner_text()
    page.keyboard.press("Escape")
    page.locator("dialog.keys").wait_for(state="detached")
    page.keyboard.press("s")
    page.wait_for_function("() => location.href.includes('id=')")


def test_recent_searches_come_back(page):
    field = page.get_by_label("Text", exact=True)
    field.fill("black heart")
    page.keyboard.press("Enter")
    searched(page)
    field.fill("")
    page.wait_for_selector(".begin")
    field.click()
    page.get_by_role("option", name="black heart").click()
    searched(page)
    assert "q=black+heart" in page.url


def test_a_search_is_copied_for_elsewhere_and_its_results_exported(served, chromium, open_page):
    page = open_page(
        f"{served.url}/#/search?run=glyphs&q=it%27s+an+umbrella&to=left",
        permissions=["clipboard-read", "clipboard-write"],
    )
    searched(page)
    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Copy as curl").click()
    page.wait_for_selector("text=Command copied")
    command = page.evaluate("navigator.clipboard.readText()")
    import subprocess

    hits = json.loads(subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout)["hits"]
    ids = page.locator(".hit").evaluate_all("all => all.map(e => e.dataset.id)")
    assert [hit["id"] for hit in hits] == ids
    page.get_by_role("button", name="Copy as Python").click()
    page.wait_for_selector("text=Python copied")
    code = page.evaluate("navigator.clipboard.readText()")
    assert compile(code, "copied", "exec") and 'run.search("it\'s an umbrella", side="right", to="left", k=12)' in code
    page.get_by_role("button", name="Copy link").click()
    page.wait_for_selector("text=Link copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    import csv

    with page.expect_download() as saved:
        page.get_by_role("button", name="Export CSV").click()
    with open(saved.value.path(), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (
        [row["id"] for row in rows] == ids and rows[0]["rank"] == "1" and rows[0]["name"] == hits[0]["columns"]["name"]
    )
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export JSON").click()
    assert [one["id"] for one in json.loads(saved.value.path().read_text())] == ids


def test_an_item_is_added_from_the_page_and_found_at_once(served, open_page):
    page = open_page(f"{served.url}/#/search?run=glyphs", allow=("409",))
    page.wait_for_selector(".wall-picture")
    page.get_by_role("button", name="Add item").click()
    page.get_by_role("combobox", name="Side").select_option("right")
    page.get_by_role("textbox", name="Id", exact=True).fill("mine/1")
    page.locator("dialog textarea").fill("a zebra crossing in the rain")
    try:
        page.get_by_role("button", name="Add", exact=True).click()
        page.wait_for_selector("dialog.drawer >> text=a zebra crossing in the rain")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Add item").click()
        page.get_by_role("combobox", name="Side").select_option("right")
        page.get_by_role("textbox", name="Id", exact=True).fill("mine/1")
        page.locator("dialog textarea").fill("again")
        page.get_by_role("button", name="Add", exact=True).click()
        page.wait_for_selector("dialog >> text=There is an item of this id already")
    finally:
        gone = f"{served.url}/items/{urllib.parse.quote('mine/1', safe='')}?run=glyphs&side=right"
        urllib.request.urlopen(urllib.request.Request(gone, method="DELETE"))


def test_what_belongs_to_the_query_is_ticked(served, open_page):
    page = open_page(f"{served.url}/#/search?run=glyphs&id=U%2B2602&from=right")
    searched(page)
    page.wait_for_selector(".hit.known >> text=Match in the data")
    marked = page.locator(".hit.known .hit-name").all_inner_texts()
    assert marked and set(marked) == {"UMBRELLA"}


def test_the_first_query_says_that_the_encoder_is_loading(served, open_page):
    page = open_page(f"{served.url}/healthz", allow=("404",))

    def loading(route):
        answer = route.fetch()
        body = answer.json()
        for run in body["runs"]:
            run["loading"] = True
        route.fulfill(response=answer, json=body)

    page.route("**/runs", loading)
    held = []
    page.route("**/search", lambda route: held.append(route))
    page.goto(f"{served.url}/#/search?run=glyphs&q=umbrella")
    page.wait_for_selector("text=The encoder is loading. The first search takes a few seconds.")
    spinner = page.locator(".results .wait").bounding_box()
    assert (
        spinner is not None
        and spinner["width"] < 120
        and page.locator(".results .waiting").bounding_box()["width"] > 300
    )
    held[0].continue_()
    searched(page)


@pytest.mark.parametrize(("status", "said"), [
    (500, "The server has a fault"), (503, "Not possible right now"), (413, "This is too large"), (409, "The run has changed"),
    (429, "Too many requests at once"),
])  # fmt: skip
def test_errors_are_in_plain_words_with_what_helps(served, open_page, status, said):
    page = open_page(f"{served.url}/#/search?run=glyphs", allow=(str(status),))
    page.wait_for_selector(".begin")
    problem = {"title": "Some Status", "status": status, "detail": "KeyError('x') at data.left=image"}
    page.route("**/search", lambda route: route.fulfill(status=status, json=problem))
    page.get_by_label("Text", exact=True).fill("umbrella")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    alert.wait_for()
    text = alert.inner_text()
    assert text.startswith(said) and "Try again" in text
    assert not any(word in text for word in ("KeyError", "data.left", "Some Status", str(status)))
