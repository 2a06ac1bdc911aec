"""The page Outfit in a real browser: a board, completions with their reasons, a swap, a plan, links, and what goes wrong."""

import json
import urllib.parse
import urllib.request

import pytest
import small_shop

pytestmark = [pytest.mark.slow, pytest.mark.thorough]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A served run of 60 drawn garments of three categories; ids with leading zeros."""
    import numpy as np
    from page_server import Server

    import sensorium

    folder = tmp_path_factory.mktemp("shop")
    run, random = small_shop.make(folder), np.random.default_rng(0)
    x = random.standard_normal((80, 6)).astype(np.float32)
    np.savez(folder / "pairs.npz", left=x, right=x[:, ::-1], ids=np.arange(80))
    plain = ["left.head=linear", "right.head=linear", "objective=ridge", "data.left=left", "data.right=right",
             f"data.file={folder}/pairs.npz", "data.ids=ids", "evaluate.baselines=[]", "evaluate.plots=false",
             "evaluate.resamples=20"]  # fmt: skip
    other = sensorium.run("arrays", plain, out=folder / "runs" / "plain", quiet=True)
    server = Server(run.folder, other.folder)
    yield server
    server.stop()


def at(shop, **params):
    told = urllib.parse.urlencode({"run": "shop", **params}, doseq=True)
    return f"{shop.url}/#/outfits?{told}"


def settled(page):
    page.wait_for_selector(".look-found:not([aria-busy])")
    page.wait_for_selector(".look-found > *")


def board(page):
    return [one.get_attribute("data-id") for one in page.locator(".board-item").all()]


def asked(shop, body):
    sent = urllib.request.Request(
        f"{shop.url}/complete-look", json.dumps({"run": "shop", **body}).encode(), {"content-type": "application/json"}
    )
    return json.loads(urllib.request.urlopen(sent).read())


def test_the_page_is_there_for_runs_with_categories_only(shop, open_page):
    page = open_page(at(shop))
    settled(page)
    assert page.locator("nav a[aria-current=page]").inner_text() == "Outfit" and page.title().startswith("Outfit")
    page.goto(f"{shop.url}/#/outfits?run=plain")
    page.wait_for_selector("text=This run has no looks")
    assert "Outfit" not in page.locator("nav").inner_text()


def test_an_item_is_picked_and_completed_each_with_its_reasons(shop, open_page):
    page = open_page(at(shop))
    settled(page)
    assert "Empty" in page.locator(".look-board").inner_text()
    page.locator(".wall button").first.click()
    page.wait_for_selector(".board-item")
    page.locator(".wall button").nth(3).click()
    page.wait_for_function("() => document.querySelectorAll('.board-item').length === 2")
    items = board(page)
    page.get_by_role("button", name="Complete", exact=True).click()
    page.wait_for_selector("text=Choose what is missing")
    page.get_by_label("What is missing").select_option("Shoes")
    page.wait_for_selector(".completion")
    told = asked(shop, {"context": [{"id": id} for id in items], "gaps": ["Shoes"], "k": 24})["gaps"][0]["hits"]
    assert [one.get_attribute("data-id") for one in page.locator(".completion").all()] == [hit["id"] for hit in told]
    first = page.locator(".completion").first
    numbers = first.locator(".reasons .number").all_inner_texts()
    assert [float(text.split()[-1]) for text in numbers] == pytest.approx(told[0]["reasons"], abs=0.006)
    assert first.locator(".reason-name").first.inner_text().startswith("with ")
    assert items[0] not in first.locator(".reason-name").first.inner_text()  # the item's name, not its id
    first.get_by_role("button").click()
    page.wait_for_function("() => document.querySelectorAll('.board-item').length === 3")
    assert board(page) == [*items, told[0]["id"]]


def test_what_spoils_the_look_is_marked(shop, open_page):
    items = ["000", "001", "002", "033"]
    page = open_page(at(shop, item=items, mode="complete"))
    page.wait_for_selector(".board-item.spoils")
    told = asked(shop, {"context": [{"id": id} for id in items]})
    assert page.locator(".board-item.spoils").get_attribute("data-id") == items[told["spoils"]]
    assert page.locator(".board-item.spoils .tag").inner_text() == "spoils the look"
    assert f"{told['score']:.3f}" in page.locator(".look-board").inner_text()


def test_a_swap_keeps_the_place(shop, open_page):
    page = open_page(at(shop, item=["000", "001", "002"], mode="complete"))
    page.wait_for_selector(".board-item")
    page.locator(".board-item").nth(1).get_by_role("button", name="Swap").click()
    page.wait_for_selector(".completion")
    assert page.get_by_label("In its place").input_value() == "Shoes"
    assert "in place of" in page.locator(".look-found h2").inner_text()
    new = page.locator(".completion").first.get_attribute("data-id")
    told = asked(shop, {"context": [{"id": "000"}, {"id": "002"}], "gaps": ["Shoes"]})["gaps"][0]["hits"]
    assert new == told[0]["id"]
    page.locator(".completion").first.get_by_role("button").click()
    page.wait_for_selector(f".board-item[data-id='{new}']")
    assert board(page) == ["000", new, "002"]


def test_a_look_is_planned_and_taken(shop, open_page):
    page = open_page(at(shop, item="000", mode="plan"))
    page.wait_for_selector("text=Choose what is missing")
    for name in ("Shoes", "Topwear"):
        page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_selector(".plan")
    told = asked(shop, {"context": [{"id": "000"}], "gaps": ["Shoes", "Topwear"], "looks": 3})["looks"]
    shown = [one.get_attribute("data-id") for one in page.locator(".plan").first.locator("li").all()]
    assert page.locator(".plan").count() == 3 and shown == told[0]["items"]
    page.get_by_role("button", name="Take look 1").click()
    page.wait_for_function("() => document.querySelectorAll('.board-item').length === 3")
    assert board(page) == ["000", *told[0]["items"]]


def test_the_link_shows_the_same_look_and_back_goes_back(shop, open_page):
    page = open_page(at(shop, item="000"))
    settled(page)
    page.locator(".wall button").first.click()
    page.wait_for_function("() => document.querySelectorAll('.board-item').length === 2")
    page.get_by_role("button", name="Complete", exact=True).click()
    page.get_by_label("What is missing").select_option("Bags")
    page.wait_for_selector(".completion")
    link, items, shown = page.url, board(page), page.locator(".completion").first.get_attribute("data-id")
    other = open_page(link)
    other.wait_for_selector(".completion")
    assert board(other) == items and other.locator(".completion").first.get_attribute("data-id") == shown
    page.go_back()
    page.wait_for_selector("text=Choose what is missing")
    for _ in range(2):
        page.go_back()
    page.wait_for_function("() => document.querySelectorAll('.board-item').length === 1")


def test_a_picture_finds_items_and_stands_on_the_board(shop, open_page, tmp_path):
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(picture).ellipse([10, 12, 44, 50], fill="navy")
    picture.save(tmp_path / "mine.png")
    page = open_page(at(shop))
    settled(page)
    page.locator("input[type=file]").first.set_input_files(tmp_path / "mine.png")
    page.wait_for_selector("text=Nearest to your image")
    page.locator("input[type=file]").nth(1).set_input_files(tmp_path / "mine.png")
    page.wait_for_selector(".board-item[data-id^='file:']")
    page.wait_for_selector("text=your image")
    page.get_by_role("button", name="Complete", exact=True).click()
    page.get_by_label("What is missing").select_option("Shoes")
    page.wait_for_selector(".completion")
    assert "with your image" in page.locator(".completion").first.inner_text()
    other = open_page(page.url)  # a file does not travel with a link
    other.wait_for_selector("text=no longer here")


def test_only_one_category_is_shown_and_others_on_demand(shop, open_page):
    page = open_page(at(shop))
    settled(page)
    page.get_by_label("Category").select_option("Bags")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.wall button')].every(b => b.title.startsWith('Bag '))"
    )
    before = page.locator(".wall button").first.get_attribute("title")
    page.get_by_role("button", name="Shuffle").click()
    page.wait_for_function("title => document.querySelector('.wall button')?.title !== title", arg=before)


def test_the_board_is_filled_and_emptied_by_the_keyboard_alone(shop, open_page):
    page = open_page(at(shop))
    settled(page)
    page.locator(".wall button").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".board-item")
    taken = page.get_by_role("button", name="off the board")
    taken.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => !document.querySelector('.board-item')")
    assert page.locator("#announce").inner_text() == "Put on the board"


def test_an_unknown_item_of_a_link_is_said_and_can_be_taken_off(shop, open_page):
    page = open_page(at(shop, item=["000", "nothing"], mode="complete", gap="Bags"), allow=("404",))
    page.wait_for_selector(".look-found .state.error")
    assert "There is no item “nothing”" in page.locator(".look-found").inner_text()
    page.get_by_role("button", name="Take nothing off the board").click()
    page.wait_for_selector(".completion")
    assert board(page) == ["000"]


@pytest.mark.parametrize("mode", ["complete", "plan"])
def test_nothing_to_do_says_what_to_do(shop, open_page, mode):
    page = open_page(at(shop, mode=mode))
    page.wait_for_selector("text=The board is empty")
    page.locator(".look-found").get_by_role("button", name="Pick items").click()
    page.wait_for_selector(".wall button")
    page.goto(at(shop, item="000", mode="complete", gap="Hats"))
    page.wait_for_selector("text=Nothing completes it")


@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_the_width(shop, open_page, width):
    page = open_page(
        at(shop, item=["000", "001", "002"], mode="complete", gap="Bags"), viewport={"width": width, "height": 740}
    )
    page.wait_for_selector(".completion")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_finding(shop, open_page, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="type: pip install axe-playwright-python"
    ).Axe()
    page, found = open_page(at(shop), color_scheme=scheme), []
    items = ["000", "001", "002", "033"]
    for params, there in (({}, ".wall button"), ({"item": items, "mode": "complete", "gap": "Bags"}, ".completion"),
                          ({"item": items, "mode": "plan", "gaps": ["Bags", "Shoes"]}, ".plan")):  # fmt: skip
        page.goto(at(shop, **params))
        page.wait_for_selector(there)
        settled(page)
        for one in axe.run(page).response["violations"]:
            found += [f"{one['impact']} {one['id']}: {node['html'][:160]}" for node in one["nodes"][:3]]
    assert found == []
