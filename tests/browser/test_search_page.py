"""Searching in a real browser: words, drawings, pictures, filters, links, the back button."""

import json
import urllib.request
from urllib.parse import quote_plus

import pytest


@pytest.fixture
def page(served, open_page):
    return open_page(f"{served.url}/#/search?run=glyphs")


def hits(page):
    page.wait_for_selector(".hits .hit")
    page.wait_for_selector(".results:not([aria-busy])")
    return page.locator(".hits .hit")


def names(page):
    return hits(page).locator(".hit-name").all_inner_texts()


def say(page, words):
    page.get_by_label("Text", exact=True).fill(words)
    page.keyboard.press("Enter")


def option(page):
    """The panel of the options, opened."""
    page.get_by_role("button", name="Options").click()
    return page.get_by_role("dialog", name="Options")


def draw(page, *strokes):
    """Draw lines on the pad; points in shares of its side."""
    box = page.locator(".pad-canvas").bounding_box()
    for stroke in strokes:
        for i, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
            if i == 0:
                page.mouse.down()
        page.mouse.up()
    # The page asks once the pen has rested: by its own clock, as one outside runs on while a busy page does not.
    page.evaluate("new Promise(rested => setTimeout(rested, 400))")


PLUS = [[(0.5, 0.15), (0.5, 0.85)], [(0.15, 0.5), (0.85, 0.5)]]
CROSS = [[(0.3, 0.3), (0.7, 0.7)], [(0.7, 0.3), (0.3, 0.7)]]


def test_begins_with_items_to_start_from(page):
    page.wait_for_selector(".wall-picture")
    assert page.locator(".wall button").count() == 24
    first = page.locator(".wall button").first.get_attribute("aria-label")
    page.get_by_role("button", name="Shuffle").click()
    page.wait_for_function("name => document.querySelector('.wall button')?.ariaLabel !== name", arg=first)


def test_words_find_pictures(page):
    say(page, "umbrella")
    assert "UMBRELLA" in names(page)
    page.wait_for_function("() => document.querySelector('.hit img')?.naturalWidth === 64")
    assert "q=umbrella" in page.url
    assert page.locator(".found-line strong").inner_text() in ("Likely match", "Possible match", "No reliable match")
    bars = page.locator(".hit .score i").evaluate_all("all => all.map(e => +e.style.getPropertyValue('--share'))")
    assert bars[0] == 1 and bars == sorted(bars, reverse=True) and 0 < bars[-1] < 0.2  # relative to the list
    assert page.locator(".hit .rank").first.inner_text().endswith("1")


def test_typing_searches_without_enter(page):
    page.get_by_label("Text", exact=True).press_sequentially("black heart", delay=15)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.hit-name')].some((e) => e.textContent.includes('HEART'))"
    )
    assert page.evaluate("history.length") <= 4  # each letter is not a place to go back to


@pytest.mark.parametrize(("strokes", "word"), [(PLUS, "PLUS"), (CROSS, "MULTIPLICATION")], ids=["plus", "times"])
def test_a_drawn_symbol_finds_its_name(page, strokes, word):
    page.get_by_role("button", name="Draw", exact=True).click()
    draw(page, *strokes)
    hits(page)
    page.wait_for_function("word => [...document.querySelectorAll('.hit-name')].some(e => e.textContent.includes(word))", arg=word)  # fmt: skip
    assert "in=draw" in page.url
    assert page.locator(".hits.texts").count() == 1


def test_results_follow_while_drawing(page):
    page.get_by_role("button", name="Draw", exact=True).click()
    box = page.locator(".pad-canvas").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 220, box["y"] + 220, steps=10)
    hits(page)  # the button is still held
    page.mouse.up()


def test_the_pad_stays_under_the_pen_when_results_come(page):
    """A second stroke that is drawn after the results of the first lies where it was meant."""
    page.wait_for_selector(".examples .chip")
    page.get_by_role("button", name="Draw", exact=True).click()
    box = page.locator(".pad-canvas").bounding_box()
    draw(page, PLUS[0])
    hits(page)
    assert page.locator(".pad-canvas").bounding_box() == box


def test_where_and_how_large_one_draws_does_not_matter(page):
    page.get_by_role("button", name="Draw", exact=True).click()
    draw(page, *CROSS)
    first = names(page)
    page.get_by_role("button", name="Clear the drawing").click()
    page.wait_for_selector(".begin")
    draw(page, *[[(0.1 + x / 3, 0.6 + y / 3) for x, y in stroke] for stroke in CROSS])
    assert names(page)[:3] == first[:3]


def test_undo_and_clear_a_drawing(page):
    page.get_by_role("button", name="Draw", exact=True).click()
    draw(page, *PLUS)
    hits(page)
    link = page.url
    page.get_by_role("button", name="Take the last line back").click()
    page.wait_for_function("link => location.href !== link", arg=link)
    page.get_by_role("button", name="Clear the drawing").click()
    page.wait_for_selector(".begin")
    assert "in=draw" not in page.url


def test_a_link_brings_a_drawing_back(page, served, open_page):
    page.get_by_role("button", name="Draw", exact=True).click()
    draw(page, *CROSS)
    found = names(page)
    again = open_page(page.url)
    assert names(again) == found
    assert again.evaluate("""() => { const c = document.querySelector('.pad-canvas');
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v, i) => i % 4 === 3 && v) }""")


def picture_file(page, served):
    some = json.load(urllib.request.urlopen(f"{served.url}/runs/glyphs/sample?side=left&n=1&seed=5"))["items"][0]
    return some, urllib.request.urlopen(served.url + some["media"]).read()


def test_a_chosen_picture_finds_its_name(page, served):
    item, content = picture_file(page, served)
    page.get_by_role("button", name="Image", exact=True).click()
    page.locator(".drop input[type=file]").first.set_input_files(
        {"name": "symbol.png", "mimeType": "image/png", "buffer": content}
    )
    assert item["columns"]["name"] in names(page)
    assert "symbol.png" in page.locator(".asked").inner_text()


def test_a_dropped_picture_finds_its_name(page, served):
    item, content = picture_file(page, served)
    page.wait_for_selector(".ask")
    page.evaluate(
        """bytes => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], 'dropped.png', {type: 'image/png'}));
        document.querySelector('.results').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})); }""",
        list(content),
    )
    assert item["columns"]["name"] in names(page)


def test_a_picture_of_the_camera_is_sent(page):
    page.get_by_role("button", name="Image", exact=True).click()
    page.get_by_role("button", name="Camera").click()  # the browser's make-believe camera
    page.wait_for_function("() => document.querySelector('.seen video')?.videoWidth > 0")
    page.get_by_role("button", name="Take the picture").click()
    assert hits(page).count() == 12


def test_what_is_dropped_but_not_taken_is_said(page):
    page.wait_for_selector(".begin")
    page.evaluate("""() => { const data = new DataTransfer(); data.items.add(new File(['x'], 'a.zip', {type: 'application/zip'}));
        document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})); }""")
    assert "application/zip" in page.locator(".state.error").inner_text()
    assert "Nothing here takes this file" in page.get_by_role("alert").inner_text()


def test_a_broken_picture_says_why(served, open_page):
    page = open_page(f"{served.url}/#/search?run=glyphs", allow=("422",))
    page.get_by_role("button", name="Image", exact=True).click()
    page.locator(".drop input[type=file]").first.set_input_files(
        {"name": "bad.png", "mimeType": "image/png", "buffer": b"no picture at all"}
    )
    page.wait_for_selector(".state.error")
    said = page.get_by_role("alert").inner_text()
    assert "This image cannot be read" in said and "PNG" in said and "422" not in said
    say(page, "umbrella")
    assert "UMBRELLA" in names(page)


def test_find_similar_searches_by_a_result_and_back_returns(page):
    say(page, "umbrella")
    before = names(page)
    hits(page).first.get_by_role("button", name="Find similar").click()
    page.wait_for_selector(".hits.texts")
    assert "id=" in page.url and "from=left" in page.url
    assert any("UMBRELLA" in name for name in names(page))
    page.go_back()
    page.wait_for_selector(".hits.pictures")
    assert names(page) == before
    assert page.get_by_label("Text", exact=True).input_value() == "umbrella"
    page.go_forward()
    page.wait_for_selector(".hits.texts")


def test_filters_narrow_stand_above_the_results_and_come_off(page):
    say(page, "letter a")
    hits(page)
    page.get_by_role("button", name="Filter").click()
    page.locator(".filter-values .chip", has_text="STIXGeneral").click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.hit-id')].every(e => e.textContent.endsWith('STIXGeneral'))"
    )
    assert "where=" in page.url
    page.locator("#filter-name").fill("GREEK")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.hit-name')].every(e => e.textContent.includes('GREEK'))"
    )
    assert page.locator(".conditions .chip").all_inner_texts() == ["font: STIXGeneral", "name contains GREEK"]
    page.locator("#filter-char").fill("no such symbol")
    page.wait_for_selector("text=No item passes these filters")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Remove the filter char contains no such symbol").click()
    hits(page)
    page.get_by_role("button", name="Clear filters").click()
    assert hits(page).count() == 12
    page.wait_for_function("() => !location.href.includes('where=')")


def test_two_inputs_are_combined_with_weights(page):
    say(page, "arrow")
    plain = names(page)
    option(page).get_by_role("button", name="Add another input").click()
    say(page, "circle")
    page.wait_for_selector(".asked >> nth=1")
    page.wait_for_function("before => [...document.querySelectorAll('.hit-name')].map(e => e.textContent).join() !== before", arg=",".join(plain))  # fmt: skip
    both = names(page)
    page.locator(".weight input").nth(1).fill("-1")
    page.wait_for_function("before => [...document.querySelectorAll('.hit-name')].map(e => e.textContent).join() !== before", arg=",".join(both))  # fmt: skip
    assert "in=text%3A-1" in page.url
    page.get_by_role("button", name="Remove circle").click()
    page.wait_for_function("before => [...document.querySelectorAll('.hit-name')].map(e => e.textContent).join() === before", arg=",".join(plain))  # fmt: skip


def test_head_and_encoder_side_by_side(page):
    page.wait_for_selector(".wall button")
    page.locator(".wall button").first.click()
    hits(page)
    option(page).get_by_label("Compare").select_option("encoder")
    page.wait_for_selector(".beside section >> nth=1")
    assert page.locator(".beside h2").all_inner_texts() == [
        "Fitted head as this run searches", "Encoder alone without any fit",
    ]  # fmt: skip
    for section in page.locator(".beside section").all():
        assert section.locator(".hits.pictures .hit").count() == 12


def test_diversity_and_number_of_results(page):
    say(page, "umbrella")
    before = names(page)
    option(page).get_by_label("Diversity").fill("0.8")
    page.wait_for_function("before => [...document.querySelectorAll('.hit-name')].map(e => e.textContent).join() !== before", arg=",".join(before))  # fmt: skip
    page.get_by_label("Results", exact=True).select_option("24")
    page.wait_for_selector(".hit >> nth=23")
    assert "vary=0.8" in page.url and "k=24" in page.url


def test_details_show_columns_and_related_items(page):
    say(page, "umbrella")
    opener = hits(page).first.locator(".hit-main")
    opener.click()
    drawer = page.locator("dialog.drawer")
    drawer.wait_for()
    assert "codepoint" in drawer.inner_text()
    assert "Calibrated probability of a match" in drawer.inner_text() and "%" in drawer.inner_text()
    drawer.locator(".partner-list a").first.wait_for()
    page.keyboard.press("Escape")
    drawer.wait_for(state="detached")
    assert page.evaluate("document.activeElement.className") == "hit-main"
    opener.click()
    page.locator("dialog.drawer").get_by_role("button", name="Exclude").click()
    page.wait_for_selector(".asked >> nth=1")


def test_markup_in_a_caption_stays_text(served, open_page):
    text = "<img src=x onerror=\"document.title='owned'\"><b>zebra crossing</b>"
    body = json.dumps({"run": "glyphs", "side": "right", "id": "<i>evil</i>", "text": text}).encode()
    url, kind = f"{served.url}/items", {"content-type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, body, kind))
    try:
        page = open_page(f"{served.url}/#/search?run=glyphs&q={quote_plus(text)}&to=right")
        assert text in names(page)
        hits(page).filter(has_text="zebra").locator(".hit-main").click()
        assert text in page.locator("dialog.drawer").inner_text()
        assert page.locator("main b, dialog b, dialog img[src=x]").count() == 0
        assert page.title() == "Search · Sensorium"
    finally:
        gone = f"{url}/%3Ci%3Eevil%3C%2Fi%3E?run=glyphs&side=right"
        urllib.request.urlopen(urllib.request.Request(gone, method="DELETE"))


def test_an_unknown_item_is_said_not_hidden(served, open_page):
    page = open_page(f"{served.url}/#/search?run=glyphs&id=nothing&from=left", allow=("404",))
    page.wait_for_selector(".state.error")
    assert page.get_by_role("alert").inner_text().startswith("There is no item “nothing”")


def test_no_match_is_said_and_the_nearest_shown_faintly(served, open_page):
    page = open_page(f"{served.url}/#/search?run=glyphs")

    def doubtful(route):  # what the server answers, as a run says it that knows which scores to believe
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "no_match": True})

    page.route("**/search", doubtful)
    say(page, "umbrella")
    page.wait_for_selector(".doubtful .hits")
    assert page.locator(".found-line").inner_text().startswith("No reliable match")
    assert float(page.locator(".doubtful .meter").first.evaluate("e => getComputedStyle(e).opacity")) < 1
