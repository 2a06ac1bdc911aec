"""Every view at three sizes in light and dark: accessible, within its width, touch targets large enough, no error."""

import json
import urllib.parse

import pytest
import small_shop
import small_voices
from uvicorn_thread import running

pytest.importorskip("playwright", reason="type: pip install 'sensorium[dev]'")

FONT = urllib.parse.quote(json.dumps({"font": "DejaVuSans"}))
LINE = urllib.parse.quote("Get out of my house this instant")
BOARD = "run=shop&item=000&item=001&item=002&item=033"
VIEWS = {
    "search": "search?run=glyphs",
    "found": "search?run=glyphs&q=umbrella",
    "filtered": f"search?run=glyphs&q=umbrella&where={FONT}",
    "similar": "search?run=glyphs&id=U%2B2602&from=right",
    "compared": "search?run=glyphs&id=U%2B2602&from=right&to=right&beside=encoder",
    "nothing": "search?run=glyphs&q=umbrella&min_score=99",
    "map": "map?run=glyphs&method=pca",
    "map-found": "map?run=glyphs&method=pca&q=arrow",
    "runs": "runs",
    "run": "runs/glyphs",
    "card": "runs/glyphs?tab=card",
    "system": "system",
    "nowhere": "nowhere",
    "live": "live?run=voice",
    "label": "search?id=3&from=left",
    "outfit": "outfits?run=shop",
    "completed": f"outfits?{BOARD}&mode=complete&gap=Bags",
    "planned": f"outfits?{BOARD}&mode=plan&gaps=Bags&gaps=Shoes",
    "voices": "voices?run=voices",
    "line": f"voices?run=voices&lines={LINE}",
    "face": "face",
}
THERE = {"search": ".ask-field", "map": ".map-facts", "runs": ".runs-table", "runs/glyphs": ".run-nav", "system": ".facts-row",
         "nowhere": "text=There is no such page", "live": ".live-listen", "outfits": ".look-found:not([aria-busy]) > *",
         "voices": ".voice-found:not([aria-busy]) > *", "face": ".face-page"}  # fmt: skip
SIZES = {"desktop": (1440, 900), "tablet": (820, 1180), "phone": (390, 844)}
READY = """() => { const main = document.querySelector('main'), is = (where) => main.querySelector(where);
    return is(':scope > :not(noscript)') && !is('.wait') && !is('[aria-busy=true]') && (!location.hash.startsWith('#/map') || is('.map-facts'))
        && (!is('.results') || is('.results :is(.hit, .wall, .state:not(.waiting))')); }"""
TOUCHED = "main button:visible, main select:visible, main summary:visible, main a.button:visible, nav a, main input:visible:not([type=range], [type=checkbox], [type=radio], .visually-hidden)"
LOW = """all => all.filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 44 && !e.closest('.visually-hidden'))
    .map((e) => `${Math.round(e.getBoundingClientRect().height)} ${e.outerHTML.slice(0, 120)}`)"""
FACES = {"emotions": ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"], "points": 478, "others": {},
         "why": None, "limits": {"faces": 10},
         "runs": [{"name": "faces", "side": "left", "time": 0.0, "encoder": False, "pictures": True, "why": None,
                   "source": "legacy", "emotions": "own", "numbers": "points", "prompts": 7}]}  # fmt: skip


@pytest.fixture(scope="module")
def site(glyphs, faces_run, voice_run, tmp_path_factory):
    """Addresses by view: of a server of five runs, and of one that labels."""
    from sensorium.serve import Settings, create_app

    folder = tmp_path_factory.mktemp("views")
    voices, shop = small_voices.make(folder / "runs" / "voices"), small_shop.make(folder)
    runs = [glyphs / "runs" / "glyphs", voice_run.folder, faces_run, voices.folder, shop.folder]
    with (
        running(create_app(runs, Settings(log="off"))) as port,
        running(create_app([faces_run], Settings(log="off", label=True))) as labelling,
    ):
        yield {view: f"http://127.0.0.1:{labelling if view == 'label' else port}/#/{VIEWS[view]}" for view in VIEWS}


@pytest.fixture(scope="module")
def visitors(site, chromium):
    """A page for mice and one for fingers, for all views, with what their consoles say."""
    contexts, pages, faults = [], {}, []
    for touch in (False, True):
        contexts.append(chromium.new_context(reduced_motion="reduce", has_touch=touch, is_mobile=touch))
        pages[touch] = page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda told: faults.append(told.text) if told.type in ("error", "warning") else None)
        page.route("**/faces", lambda route: route.fulfill(json=FACES))
    yield pages, faults
    for context in contexts:
        context.close()


def cases():
    """All of them; a second one of each view is run among the slow ones, the rest among the thorough ones."""
    for place, view in enumerate(VIEWS):
        often = ("phone", "light") if place % 2 else ("desktop", "dark")
        slow = ("tablet", "dark" if place % 2 else "light")
        for size in SIZES:
            for scheme in ("light", "dark"):
                now = (size, scheme)
                marks = () if now == often else pytest.mark.slow if now == slow else pytest.mark.thorough
                yield pytest.param(view, size, scheme, marks=marks, id=f"{view}-{size}-{scheme}")


@pytest.mark.parametrize(("view", "size", "scheme"), list(cases()))
def test_a_view_is_accessible_and_fits(site, visitors, view, size, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="type: pip install axe-playwright-python")
    pages, faults = visitors
    faults.clear()
    page, (width, height) = pages[size == "phone"], SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    page.goto(site[view])
    page.wait_for_timeout(100)  # what is shown is that of the view before
    page.wait_for_selector(THERE[VIEWS[view].split("?")[0]], state="attached")
    page.wait_for_function(READY)
    if view == "label":
        page.get_by_role("button", name="Label next").click()
        page.wait_for_selector(".label-more a")
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = [
        f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for one in axe.Axe().run(page).response["violations"]
        for node in one["nodes"][:3]
    ]
    assert found == []
    if size == "phone":
        assert page.locator(TOUCHED).evaluate_all(LOW) == []
    if VIEWS[view].startswith("search?run=glyphs"):
        left = [page.locator(where).first.bounding_box()["x"] for where in (".top > :first-child", ".ask-field")]
        assert abs(left[0] - left[1]) <= 1, "header and content begin at one edge"
        if page.locator(".hit").count():
            assert page.locator(".hit").first.bounding_box()["y"] + 120 < height - 56, "results begin above the fold"
    assert faults == []


def test_the_map_of_a_run_without_text_finds_items_by_words_of_their_text_or_id(site, visitors):
    pages, faults = visitors
    faults.clear()
    page, start = pages[False], site["map"].split("#")[0]
    page.set_viewport_size({"width": 1440, "height": 900})
    for words, least in (("sad", 12), ("83", 1)):  # a text that many items have; an id
        page.goto(f"{start}#/map?run=faces&method=pca&q={words}")
        page.wait_for_selector(f".map-list h2 >> text=/^[1-9][0-9]* with “{words}”/")
        assert int(page.locator(".map-list h2").inner_text().split()[0]) >= least
        page.wait_for_selector(".map-list li")
    assert faults == []
