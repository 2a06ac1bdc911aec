"""The map in a real browser, without a GPU: points, colours, lasso, keyboard, pairs; and WebGL2 in software."""

import contextlib
import json
import shutil
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="type: pip install 'sensorium[dev]'")

from playwright.sync_api import TimeoutError as PlaywrightTimeout

ARGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PIXELS = """() => { const c = document.querySelector('.plot-canvas'), seen = new Set();
    const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
    for (let i = 0; i < data.length; i += 4) seen.add((data[i] << 16) + (data[i + 1] << 8) + data[i + 2]);
    return seen.size; }"""


@pytest.fixture
def page(served, open_page):
    page = open_page(f"{served.url}/#/map?run=glyphs&method=pca&colour=side&labels=0")
    drawn(page)
    return page


SHOT = "() => document.querySelector('.plot-canvas').toDataURL().length"


def drawn(page):
    """Wait until the map is there and two pictures of it are the same."""
    page.wait_for_selector(".map-cover", state="hidden")
    page.wait_for_selector(".map-facts")
    before, now = None, -1
    while before != now:
        page.wait_for_timeout(120)
        before, now = now, page.evaluate(SHOT)


def lasso(page):
    page.get_by_role("button", name="Lasso").click()
    box = page.locator(".plot-over").bounding_box()
    x, y = box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.5
    page.mouse.move(x - 40, y - 40)
    page.mouse.down()
    for dx, dy in ((40, -40), (40, 40), (-40, 40), (-40, -40)):
        page.mouse.move(x + dx, y + dy, steps=4)
    page.mouse.up()
    page.wait_for_selector(".map-list li button >> nth=1")


def test_both_sides_are_drawn_without_a_gpu(page):
    assert page.locator(".plot").get_attribute("data-surface") == "Canvas"
    assert "drawn without a GPU" in page.locator(".map-facts").inner_text()
    text = page.locator(".legend").inner_text()
    assert "image: images" in text and "text: texts" in text
    assert page.evaluate(PIXELS) > 10


def test_a_side_can_be_hidden(page, until):
    before = page.evaluate(PIXELS)
    page.locator(".legend button").first.click()
    until(page, lambda: page.evaluate(PIXELS) != before)
    assert page.locator(".legend button").first.get_attribute("aria-pressed") == "false"


def test_colours_by_a_column_are_in_the_link_and_the_legend(page):
    page.get_by_label("Colour by").select_option("category")
    page.wait_for_selector(".legend >> text=Lu")
    assert "colour=" not in page.url  # it is the first useful category, and needs no word in the link
    assert "everything else" in page.locator(".legend").inner_text()
    page.locator(".legend button", has_text="Lu").click()
    assert page.locator(".legend button", has_text="Lu").get_attribute("aria-pressed") == "true"
    page.get_by_label("Colour by").select_option("split")
    page.wait_for_selector(".legend >> text=validation")
    assert "colour=split" in page.url
    page.go_back()
    page.wait_for_selector(".legend >> text=Lu")


def test_zoom_and_pan_change_what_is_seen(page, until):
    before = page.evaluate(SHOT)
    page.get_by_role("button", name="Zoom in").click()
    until(page, lambda: page.evaluate(SHOT) != before)
    box = page.locator(".plot-over").bounding_box()
    page.mouse.move(box["x"] + 700, box["y"] + 400)
    page.mouse.wheel(0, 400)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 300, steps=5)
    page.mouse.up()
    page.get_by_role("button", name="Show all").click()
    until(page, lambda: page.evaluate(SHOT) == before)


def test_pointing_at_an_item_names_it(page):
    box = page.locator(".plot-over").bounding_box()
    for dx in range(0, 120, 3):
        with contextlib.suppress(PlaywrightTimeout):  # nothing is there: a little further
            page.mouse.move(box["x"] + box["width"] * 0.6 + dx, box["y"] + box["height"] * 0.5)
            page.wait_for_selector(".map-tip strong", timeout=1000)
            break
    assert page.locator(".map-tip strong").inner_text()


def test_a_lasso_lists_items_and_one_leads_to_a_search(page):
    lasso(page)
    chosen = int(page.locator(".map-list h2").inner_text().split()[0].replace(",", ""))
    assert chosen > 3
    assert page.locator(".map-list li button").count() == min(200, chosen)
    page.locator(".map-list li button").first.click()
    page.get_by_role("button", name="Find similar").click()
    page.wait_for_selector(".hits .hit")
    assert "id=" in page.url
    page.go_back()
    drawn(page)


def test_lines_join_the_chosen_with_their_related_items(page, until):
    bare = page.evaluate(PIXELS)
    page.locator("summary").click()
    page.get_by_label("Lines between related pairs").select_option("all")
    page.wait_for_function("() => location.hash.includes('pairs=all')")
    until(page, lambda: page.evaluate(PIXELS) != bare)


def test_the_keyboard_moves_and_lists(page):
    page.locator(".plot-over").focus()
    for key in ("+", "+", "ArrowLeft", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector(".map-list li button")
    page.wait_for_function("() => document.activeElement.closest('.map-list')")
    page.get_by_role("button", name="Close the list").click()
    assert page.locator(".map-list").is_hidden()
    assert page.evaluate("document.activeElement.className") == "plot-over"


def test_a_map_is_there_at_once_and_moves_to_its_layout(start_server, faces_run, tmp_path, open_page):
    run = shutil.copytree(faces_run, tmp_path / "fresh")  # no map of it is kept yet
    page = open_page(f"{start_server(run).url}/#/map?run=fresh")
    page.wait_for_selector(".map-facts >> text=t-SNE is being computed")
    first = page.evaluate(SHOT)
    drawn_all = page.locator(".map-facts >> text=being computed")
    drawn_all.wait_for(state="hidden")
    drawn(page)
    assert page.evaluate(SHOT) != first and "explain" not in page.locator(".map-facts").inner_text()
    assert page.get_by_label("Layout").input_value() == "tsne"
    page.get_by_label("Layout").select_option("pca")
    page.wait_for_selector(".map-facts >> text=explain")
    assert "method=pca" in page.url


def test_the_first_colours_are_a_category_and_regions_have_labels(served, open_page):
    page = open_page(f"{served.url}/#/map?run=glyphs&method=pca")
    drawn(page)
    assert page.get_by_label("Colour by").input_value() == "category"
    page.locator("summary").click()
    box = page.get_by_label("Labels of regions")
    box.wait_for()
    over = "() => document.querySelector('.plot-over').toDataURL().length"
    with_labels = page.evaluate(over)
    box.uncheck()
    page.wait_for_function(f"(before) => ({over})() < before", arg=with_labels)
    assert "labels=0" in page.url


def test_a_search_lights_up_its_hits_and_lists_them_in_order(page, served):
    page.get_by_label("Search the map").fill("arrow")
    page.wait_for_selector(".map-list h2 >> text=nearest to “arrow”")
    page.wait_for_selector(".map-list li button >> nth=10")
    body = json.dumps({"run": "glyphs", "text": "arrow", "k": 50, "from": "right", "to": "left"}).encode()
    asked = urllib.request.Request(f"{served.url}/search", body, {"content-type": "application/json"})
    hits = json.load(urllib.request.urlopen(asked))["hits"]
    want = [hit["columns"]["name"] for hit in hits]
    assert page.locator(".map-list li button").all_inner_texts() == want
    assert "q=arrow" in page.url
    page.get_by_role("button", name="Close the list").click()
    page.wait_for_selector(".map-list", state="hidden")
    assert "q=" not in page.url and page.get_by_label("Search the map").input_value() == ""


def test_a_filter_leaves_out_the_points_of_both_sides(page, until):
    before = page.evaluate(PIXELS)
    page.locator("summary").click()
    page.get_by_role("button", name="Filter").click()
    page.locator("dialog label", has_text="Lu").click()
    page.get_by_role("button", name="Done").click()
    page.wait_for_selector(".map-facts >> text=pass the filter")
    until(page, lambda: page.evaluate(PIXELS) != before)
    where = json.loads(urllib.parse.parse_qs(page.url.split("?")[1])["where"][0])
    assert set(where) == {"left", "right"} and where["left"] == where["right"]
    lasso(page)
    page.get_by_role("button", name="Clear").click()
    page.wait_for_selector(".map-facts >> text=pass the filter", state="hidden")


def test_what_is_selected_is_searched_and_saved(page):
    lasso(page)
    count = int(page.locator(".map-list h2").inner_text().split()[0].replace(",", ""))
    for kind in ("CSV", "JSON"):
        with page.expect_download() as saved:
            page.locator(".map-list").get_by_role("button", name=kind).click()
        text = Path(saved.value.path()).read_text("utf-8")
        assert (len(json.loads(text)) if kind == "JSON" else len(text.splitlines()) - 1) == count
    page.locator("summary").click()
    with page.expect_download() as saved:
        page.locator(".map-panel").get_by_role("button", name="PNG").click()
    assert Path(saved.value.path()).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    page.locator(".map-list").get_by_role("button", name="Search these").first.click()
    page.wait_for_function("() => location.hash.startsWith('#/search')")
    where = json.loads(urllib.parse.parse_qs(page.url.split("?")[1])["where"][0])
    assert 0 < len(where["id"]) <= count


def test_no_frame_is_black_or_grey_while_the_window_changes(page):
    """The colour of a corner of the map, in every frame of a resize: always that of its ground."""
    page.evaluate("""() => { window.seen = new Set(); const look = () => { const c = document.querySelector('.plot-canvas');
        const d = c.getContext('2d').getImageData(2, 2, 1, 1).data; window.seen.add([...d].join()); requestAnimationFrame(look); };
        new ResizeObserver(() => queueMicrotask(() => { const c = document.querySelector('.plot-canvas');
        window.seen.add([...c.getContext('2d').getImageData(2, 2, 1, 1).data].join()); })).observe(document.querySelector('.plot')); look(); }""")
    for width in (1100, 900, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(80)
    assert page.evaluate("[...window.seen]") == ["255,255,255,255"]


def test_webgl_draws_what_the_canvas_draws(chromium, served):
    """Both surfaces get the same points; with WebGL2 computed in software the pictures are nearly the same."""
    args = [*ARGS, "--ignore-gpu-blocklist", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    browser = chromium.browser_type.launch(executable_path=shutil.which("chromium"), args=args)
    try:
        page = browser.new_page()
        page.goto(f"{served.url}/healthz")
        got = page.evaluate("""async () => {
            const xy = Float32Array.of(-0.5, 0.5, 0.5, 0.5, 0, -0.5), codes = Uint8Array.of(0, 1, 2), flags = Uint8Array.of(0, 1, 2);
            const palette = new Uint8Array(2048);
            for (const line of [0, 1]) for (const [code, rgba] of [[0, [255, 0, 0, 255]], [1, [0, 255, 0, 255]], [2, [0, 0, 255, 128]]]) palette.set(rgba, 4 * (256 * line + code));
            const counts = [];
            for (const name of ['gl', '2d']) {
                const { surface } = await import(`/points-${name}.js`);
                const canvas = document.createElement('canvas'); canvas.width = canvas.height = 100;
                const made = surface(canvas, { software: true });
                if (!made) return null;
                made.points(xy); made.codes(codes); made.flags(flags); made.palette(palette); made.lines(Uint32Array.of(0, 1));
                made.draw({ x: 0, y: 0, scale: 50 }, 12, [255, 255, 255], [0, 0, 0, 1]);
                const copy = document.createElement('canvas').getContext('2d'); copy.canvas.width = copy.canvas.height = 100;
                copy.drawImage(canvas, 0, 0);
                const data = copy.getImageData(0, 0, 100, 100).data, at = (x, y) => [...data.slice(4 * (100 * y + x), 4 * (100 * y + x) + 3)];
                const line = [24, 25].some((y) => at(50, y)[0] < 200);
                counts.push([at(25, 25), at(75, 25), at(50, 75), line, at(10, 90), name === 'gl' ? canvas.getContext('webgl2').getError() : 0]);
            }
            const refused = (await import('/points-gl.js')).surface(document.createElement('canvas'));
            return [...counts, refused === null]; }""")
    finally:
        browser.close()
    if got is None:
        pytest.skip("this Chromium has no WebGL2, not even in software")
    for red, green, blue, line, ground, error in got[:2]:
        assert (red, green, blue, ground) == ([255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255])
        assert line and error == 0
    assert got[2], "WebGL2 computed by the processor is slower than the canvas, and must not be taken"


def test_losing_the_gpu_falls_back_to_the_canvas(chromium, served, open_page):
    page = open_page(f"{served.url}/#/runs")
    page.wait_for_selector(".runs-table")
    name = page.evaluate("""async () => {
        const { Plot } = await import('/plot.js');
        const place = document.createElement('div');
        place.style.setProperty('width', '300px'); place.style.setProperty('height', '200px');
        document.body.append(place);
        const plot = new Plot(place, { hover() {}, pick() {}, lasso() {} });
        plot.set(new Float32Array([0, 0, 1, 1, -1, -1]), new Uint8Array([0, 1, 0]));
        plot.canvas.dispatchEvent(new Event('webglcontextlost', { cancelable: true }));
        await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame);
        const name = place.dataset.surface;
        plot.stop(); place.remove();
        return name; }""")
    assert name == "Canvas"


def test_a_map_whose_items_were_removed_meanwhile_is_drawn_anew(served, open_page):
    mine = [f"{place} of the map's own test" for place in ("first", "second")]
    for id in mine:
        body = json.dumps({"id": id, "run": "glyphs", "side": "right", "text": "ARROW"}).encode()
        asked = urllib.request.Request(f"{served.url}/items", body, {"content-type": "application/json"})
        urllib.request.urlopen(asked).read()

    def remove(id):
        where = f"{served.url}/items/{urllib.parse.quote(id)}?run=glyphs&side=right"
        urllib.request.urlopen(urllib.request.Request(where, method="DELETE")).read()

    try:
        page = open_page(f"{served.url}/#/map?run=glyphs&method=pca&colour=side", allow=("410",))
        drawn(page)
        page.locator(".legend button").first.click()  # only the names' side
        remove(mine[0])
        with page.expect_response(lambda r: "/map/points" in r.url) as refused, \
             page.expect_response(lambda r: "/map?method=pca" in r.url) as again:  # fmt: skip
            page.locator(".plot-over").focus()
            page.keyboard.press("Enter")  # lists what is around the middle
        assert refused.value.status == 410 and again.value.status == 200
        drawn(page)
        with page.expect_response(lambda r: "/map/points" in r.url) as told:
            page.locator(".plot-over").focus()
            page.keyboard.press("Enter")
        page.wait_for_selector(".map-list li button")
        names = [item["columns"]["name"] for item in told.value.json()["items"]]
        assert set(page.locator(".map-list li button").all_inner_texts()) >= set(names)
    finally:
        remove(mine[1])
