"""Runs and system in a real browser: the table, one run from results to recipe, comparisons, a run in the making."""

import json
import threading
import time

import pytest
import small_table
from page_server import Server

import sensorium
from sensorium.search import making

WIDTHS = {1440: 900, 820: 1100, 390: 844}
VIEWS = {"table": "runs", "run": "runs/mixture", "trained": "runs/trained", "making": "runs/new",
         "compare": "runs?a=ridge&b=trained"}  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A server of four runs and one in the making."""
    folder = tmp_path_factory.mktemp("table")
    runs = small_table.make(folder)
    with small_table.in_the_making(folder / "runs" / "new") as building:
        server = Server(*runs, folder / "runs" / "new")
        server.building = building
        yield server
        server.stop()


@pytest.fixture
def at(table, open_page):
    """at(hash): the page there, once nothing is waited for."""

    def go(hash, **told):
        page = open_page(f"{table.url}/#/{hash}", **told)
        settled(page)
        return page

    return go


def settled(page):
    page.wait_for_function("() => !document.querySelector('main .wait') && document.querySelector('main h1')")


def row(page, name):
    return page.locator(".runs-table tbody tr").filter(has=page.get_by_role("link", name=name, exact=True))


def test_the_table_has_a_row_a_run_and_says_what_it_is_and_reached(at):
    page = at("runs")
    heads = [text.split(" ↓")[0] for text in page.locator(".runs-table thead th").all_inner_texts()]
    assert heads == ["Select", "Run", "Data", "Encoders", "Objective", "Main measure", "To best baseline", "Date",
                     "Size", "State"]  # fmt: skip
    assert page.locator(".runs-table tbody tr").count() == 5
    trained = row(page, "trained")
    text = trained.inner_text()
    assert "arrays: many.npz" in text and "vectors · vectors" in text and "infonce" in text and "Ready" in text
    assert "MRR, a → b" in text and "against ridge ◇" in text and " MB" in text
    assert trained.locator(".strip-range").count() == 1 and trained.locator(".strip-mark").inner_text() == "◇"
    assert "[" in trained.locator(".runs-difference").inner_text()  # the difference has its interval


@pytest.mark.parametrize("column", ["name", "result", "size"] + [
    pytest.param(name, marks=pytest.mark.thorough) for name in ("data", "encoders", "objective", "difference", "made")
])  # fmt: skip
def test_a_click_on_a_heading_sorts_and_another_turns_it(at, column):
    page = at("runs")
    head = page.locator(f"th[data-sort={column}]")
    if column == "made":
        assert head.get_attribute("aria-sort") == "descending"  # as it comes
    head.get_by_role("button").click()
    first = head.get_attribute("aria-sort")
    names = page.locator(".runs-name a").all_inner_texts()
    assert f"sort={column}" in page.url and page.locator("[aria-sort]").count() == 1
    head.get_by_role("button").click()
    assert {first, head.get_attribute("aria-sort")} == {"ascending", "descending"}
    assert sorted(page.locator(".runs-name a").all_inner_texts()) == sorted(names)
    assert page.evaluate("document.activeElement.closest('th')?.dataset.sort") == column
    if column == "name":
        assert names == ["few", "mixture", "new", "ridge", "trained"]


def test_only_runs_of_the_same_test_queries_can_be_ticked_together(at):
    page = at("runs")
    few, new = row(page, "few"), row(page, "new")
    assert few.get_by_role("checkbox").is_disabled() and new.get_by_role("checkbox").is_disabled()
    assert "No other run here has the same test queries." in few.inner_text()
    assert "It is not ready yet." in new.inner_text()
    row(page, "ridge").get_by_role("checkbox").check()
    page.wait_for_selector("text=1 selected")
    assert "Other test queries (12 against 72)" in few.inner_text()
    assert page.get_by_role("button", name="Compare").is_disabled()
    row(page, "trained").get_by_role("checkbox").check()
    page.wait_for_selector("text=2 selected")
    page.wait_for_selector(".overlay .chart-line")
    assert "Solved in closed form, without epochs: ridge." in page.locator(".overlay").inner_text()
    assert "trained" in page.locator(".overlay figcaption").inner_text()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector(".compare-table")
    assert page.url.endswith("#/runs?a=ridge&b=trained")


def test_a_comparison_gives_differences_with_intervals_or_no_difference(at):
    page = at("runs?a=ridge&b=mixture&b=trained")
    assert page.locator("h2").all_inner_texts() == ["mixture", "trained"]
    same = page.locator(".compared").first.locator("tbody tr")
    assert {one.split("\n")[-1].split("\t")[-1] for one in same.all_inner_texts()} == {"No difference"}
    assert page.locator(".compared").nth(1).locator(".strip-zero").count() > 5
    page = at("runs?a=ridge&b=few", allow=("409", "422"))
    assert "These runs cannot be compared" in page.locator(".state.error").inner_text()


def test_a_run_leads_with_its_results_on_one_axis(at):
    page = at("runs/trained")
    assert page.locator("main h2").all_inner_texts() == ["Results", "Training", "Plots", "Model card", "Recipe"]
    rows = page.locator(".results-plot tbody tr:not(.group-row)")
    assert rows.count() == 18 and page.locator(".results-plot .group-row").all_inner_texts() == ["a → b", "b → a"]
    shares = page.locator(".results-plot .strip-range")
    assert shares.count() == 16  # all but the two median ranks
    assert page.locator(".results-plot .strip-mark").count() == 16  # the baseline, on the same axis
    assert "◇ ridge" in page.locator(".strip-legend").inner_text()
    box = page.locator(".results-plot").bounding_box()
    assert box["y"] < 400, "results come first"
    page.get_by_text("All numbers, with baselines").click()
    assert page.locator(".numbers-table tbody tr").count() == 18
    assert "trained" in page.locator(".crumbs").inner_text()


def test_training_plots_card_and_recipe_follow(at):
    page = at("runs/trained")
    page.wait_for_selector("#run-plots .chart-line")
    assert page.locator("#run-training .chart").count() == 3
    assert "Batch size" in page.locator(".facts-row").inner_text()
    titles = page.locator("#run-plots .chart strong").all_inner_texts()
    assert titles[0] == "First relevant item within rank k" and "Scores of related and random pairs" in titles
    assert page.locator("#run-plots img").count() == 0  # drawn here, not pictures
    page.get_by_role("link", name="Recipe").click()
    assert page.url.endswith("tab=recipe") and 'name = "infonce"' in page.locator("#run-recipe pre").inner_text()
    page.get_by_role("link", name="Model card").click()
    assert page.locator("#run-card .prose table").first.is_visible()
    assert page.locator("#run-card script").count() == 0
    assert page.get_by_role("link", name="Check the data").get_attribute("href") == "#/runs/trained/doctor"


def test_what_each_member_of_a_mixture_brings_is_drawn_with_its_interval(at):
    page = at("runs/mixture")
    part = page.get_by_role("region", name="Members")
    assert part.locator("tbody tr").count() == 2 and part.locator(".strip-range").count() == 2
    assert part.locator("tbody tr").first.inner_text().split("\t")[2] == "+1.2 [0.5, 1.8]"
    text = page.locator("section[aria-label='What each member brings']").inner_text()
    assert "A mixture of 2 of 3 members." in text and "ridge (32.0 alone)" in text
    ends = part.locator(".strip-range").nth(1).bounding_box()
    zero = part.locator(".strip-zero").nth(1).bounding_box()["x"]
    assert ends["x"] < zero < ends["x"] + ends["width"], "its interval holds zero"


def test_confusion_is_drawn_and_dark_in_the_dark(at):
    page = at("runs/mixture", color_scheme="dark")
    page.wait_for_selector(".confusion-table")
    assert page.locator(".confusion-table tbody td").all_inner_texts() == ["8", "1", "1", "", "9", "1", "4", "", "6"]
    assert "siren as bark (4)" in page.locator(".confusion").inner_text()
    assert page.locator("#run-plots .chart strong").first.inner_text() == "Confusion"
    light = "e => getComputedStyle(e).backgroundColor.match(/[\\d.]+/g).slice(0, 3).map(Number)"
    empty = page.locator(".confusion-table td").nth(3).evaluate(light)
    assert max(empty) < 80


def test_intervals_of_few_groups_are_marked_wherever_they_stand(at):
    page = at("runs")
    assert row(page, "few").locator(".runs-result .tag.warn").inner_text() == "2 groups"
    assert page.locator(".runs-result .tag.warn").count() == 1
    page = at("runs/few")
    assert page.locator(".note.few-groups").count() == 1
    assert page.locator(".results-plot .tag.warn").count() == 18
    page = at("runs/trained")
    assert page.locator(".note.few-groups, .results-plot .tag.warn").count() == 0
    page = at("runs?a=few&b=few")
    assert page.locator(".note.few-groups").count() == 1
    assert page.locator(".compare-table .tag.warn").count() == page.locator(".compare-table tbody tr").count() == 16


def test_a_first_run_in_the_making_shows_stage_count_and_time_left(at, table, until):
    page = at("runs/new")
    page.wait_for_selector(".making")
    assert page.locator(".making-stages [aria-current]").inner_text() == "Embed"
    assert (
        "Embedding image, 30 of 120" in page.locator(".making-line").inner_text()
        and "left" in page.locator(".making-line").inner_text()
    )
    bar = page.get_by_role("progressbar")
    assert bar.get_attribute("aria-valuenow") == "25"
    assert page.locator(".state.error, .note.bad").count() == 0
    assert "open here by themselves when it is done" in page.locator(".making-panel").inner_text()
    for view, title in (("search", "The search"), ("map", "The map")):
        page.goto(f"{table.url}/#/{view}?run=new")
        page.get_by_text(f"{title} opens here by itself").wait_for()
        page.wait_for_selector(".making-view .making-line")
        assert page.locator("h1").inner_text() == "new is being made"
    page.get_by_role("link", name="Show training").click()
    page.wait_for_selector("#run-training")
    record = table.building / making.FILE
    record.write_text(json.dumps({"stage": "fit", "began": time.time(), "what": "steps", "done": 30, "total": 40,
                                  "first": 0, "since": time.time() - 30, "now": time.time()}))  # fmt: skip
    until(page, lambda: "Train, 30 of 40 steps" in page.locator(".making-line").inner_text())
    assert page.locator(".making-stages .done").all_inner_texts() == ["Load data", "Embed"]
    page.goto(f"{table.url}/#/runs")
    until(page, lambda: "Train, 30 of 40 steps" in row(page, "new").inner_text())
    assert "Training" in row(page, "new").locator(".runs-state").inner_text()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_runs_fits_and_is_accessible(at, view, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="type: pip install axe-playwright-python"
    ).Axe()
    page = at(VIEWS[view], color_scheme=scheme)
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        if (width == 820) == (scheme == "dark"):
            found = axe.run(page).response["violations"]
            assert [(one["id"], [node["html"][:140] for node in one["nodes"][:3]]) for one in found
                    if one["impact"] in ("serious", "critical")] == [], width  # fmt: skip


def test_what_can_be_touched_is_large_enough_on_a_phone(at):
    page = at("runs", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    box = row(page, "ridge").locator(".runs-tick label").bounding_box()
    assert box["width"] >= 44 and box["height"] >= 44
    assert page.get_by_label("Sort by").is_visible()
    assert page.locator(".runs-table thead").is_hidden()
    page.get_by_label("Sort by").select_option("name")
    assert page.locator(".runs-name a").first.inner_text() == "few"


@pytest.mark.slow
def test_a_curve_grows_while_a_fit_is_running(served, open_page, tiny_vectors):
    keys = [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", "data.split=split", "objective=infonce",
            "left.head=mlp", "right.head=mlp", "train.epochs=40", "train.batch=64", "evaluate.plots=false",
            "evaluate.resamples=10", "evaluate.baselines=[]"]  # fmt: skip
    page = open_page(f"{served.url}/#/runs/lively", allow=("503",))
    page.wait_for_selector(".run-part")
    epochs = threading.Semaphore(0)

    def slowly(event):
        epochs.acquire(timeout=120)

    work = threading.Thread(
        target=lambda: sensorium.run("arrays", keys, out=served.folder / "lively", quiet=True, on_epoch=slowly)
    )
    work.start()
    try:
        count = "() => (document.querySelector('.chart-line')?.getAttribute('d').match(/[ML]/g) ?? []).length"

        def grown(least):
            """One epoch after the other until the curve has so many points: the history is written twice a second."""
            end = time.monotonic() + 60
            while (found := page.evaluate(count)) < least:
                assert time.monotonic() < end
                epochs.release()
                page.wait_for_timeout(300)
            return found

        seen = grown(2)
        page.wait_for_selector(".making-line >> text=Train,")
        grown(seen + 1)
        assert "of 40" in page.locator(".facts-row").inner_text()
    finally:
        epochs.release(40)
        work.join(60)
    page.wait_for_selector(".tag.good >> text=Ready")
    page.wait_for_selector(".results-plot")
    page.get_by_role("link", name="Search").last.click()  # its items came as vectors: one is named
    page.get_by_label("Text", exact=True).fill("im7")
    page.keyboard.press("Enter")
    page.wait_for_selector(".hits.texts .hit")


def test_the_system_page_tells_latency_and_state(served, open_page):
    page = open_page(f"{served.url}/#/system")
    page.wait_for_selector("#latency-table")
    assert (
        "/search" in page.locator("#latency-table").inner_text()
        or "/runs" in page.locator("#latency-table").inner_text()
    )
    text = page.locator("main").inner_text()
    assert "Load (1, 5, 15 min)" in text and "exact" in text and "21,398" in text
    assert "Refreshes every 2 s" in text and "Uptime" in text and "In flight" in text and "(batch size)" in text


def test_a_run_that_is_not_there_says_so(served, open_page):
    page = open_page(f"{served.url}/#/runs/glyps", allow=("404",))
    page.wait_for_selector(".state.error")
    assert "Did you mean “glyphs”?" in page.locator(".state.error").inner_text()
