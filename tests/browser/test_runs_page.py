"""Runs and system in a real browser: a curve that grows while a fit is running, numbers, card, comparison."""

import threading
import time

import numpy as np
import pytest

import sensorium


@pytest.fixture
def page(served, open_page):
    return open_page(f"{served.url}/#/runs")


def test_cards_show_numbers_with_intervals(page):
    card = page.locator(".run-card", has_text="7,333 texts")
    card.wait_for()
    assert "hit@1, image → text" in card.inner_text()
    assert " – " in card.locator("dd").first.inner_text()
    card.get_by_role("link", name="Open").click()
    page.wait_for_selector(".chart-line")
    assert page.url.endswith("#/runs/glyphs")


def test_tabs_numbers_plots_card_recipe(served, open_page):
    page = open_page(f"{served.url}/#/runs/glyphs")
    page.wait_for_selector(".chart-line")
    assert page.locator(".verdict").inner_text()
    page.get_by_role("tab", name="Numbers").click()
    page.wait_for_selector(".numbers-table")
    assert page.locator(".numbers-table tbody tr").count() == 18
    page.get_by_role("tab", name="Numbers").press("ArrowRight")
    page.wait_for_function("() => document.querySelector('.plot-picture')?.naturalWidth > 100")
    assert page.evaluate("document.activeElement.textContent") == "Plots"
    page.get_by_role("tab", name="Card").click()
    page.wait_for_selector(".prose table")
    assert page.locator(".prose h3").first.inner_text()
    assert page.locator(".prose img").count() >= 4
    page.get_by_role("tab", name="Recipe").click()
    page.wait_for_selector(".prose", state="detached")
    assert 'name = "hog"' in page.locator(".run-body pre").inner_text()


@pytest.mark.slow
def test_a_curve_grows_while_a_fit_is_running(served, open_page, tiny_vectors):
    keys = [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", "data.split=split", "objective=infonce",
            "left.head=mlp", "right.head=mlp", "train.epochs=400", "train.batch=64", "evaluate.plots=false"]  # fmt: skip
    page = open_page(f"{served.url}/#/runs/lively", allow=("503",))
    page.wait_for_selector(".run-body")
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
        page.wait_for_selector(".tag.warn >> text=training")
        grown(seen + 1)
        assert page.get_by_role("progressbar").get_attribute("aria-valuemax") == "400"
    finally:
        epochs.release(400)
        work.join(60)
    page.wait_for_selector(".tag.good >> text=ready")
    page.get_by_role("tab", name="Numbers").click()
    page.wait_for_selector(".numbers-table")
    page.get_by_role("link", name="Search").last.click()  # its items came as vectors: one is named
    page.get_by_label("Text", exact=True).fill("im7")
    page.keyboard.press("Enter")
    page.wait_for_selector(".hits.texts .hit")


def test_two_runs_are_compared_query_by_query_or_it_says_why_not(served, open_page):
    page = open_page(f"{served.url}/#/runs?a=glyphs&b=glyphs")
    page.wait_for_selector("table")
    assert "undecided" in page.locator("tbody").inner_text()
    page = open_page(f"{served.url}/#/runs?a=glyphs&b=lively", allow=("409", "422", "503"))
    page.wait_for_selector(".state.error, table")
    assert page.locator(".state.error p").inner_text()


def test_the_system_page_tells_latency_and_state(served, open_page):
    page = open_page(f"{served.url}/#/system")
    page.wait_for_selector("#latency-table")
    assert (
        "/search" in page.locator("#latency-table").inner_text()
        or "/runs" in page.locator("#latency-table").inner_text()
    )
    text = page.locator("main").inner_text()
    assert "load (1, 5, 15 min)" in text and "exact" in text and "21,398" in text


def test_a_run_that_is_not_there_says_so(served, open_page):
    page = open_page(f"{served.url}/#/runs/glyps", allow=("404",))
    page.wait_for_selector(".state.error")
    assert "did you mean 'glyphs'" in page.locator(".state.error").inner_text()


@pytest.mark.parametrize("groups", [2, 12])
@pytest.mark.slow
def test_an_interval_of_few_groups_is_marked_in_the_list_and_the_table(tmp_path, start_server, open_page, groups):
    chance, row = np.random.default_rng(0), np.arange(6 * groups * 3)
    x = chance.normal(size=(len(row), 8)).astype(np.float32)
    which = row % (3 * groups)
    splits = np.array(["test", "train", "validation"])[which // groups]
    np.savez(tmp_path / "v.npz", a=x, b=x[:, ::-1], split=splits, group=which.astype(str))
    keys = [f"data.file={tmp_path}/v.npz", "data.left=a", "data.right=b", "data.split=split", "data.group=group",
            "objective=ridge", "evaluate.resamples=50", "evaluate.plots=false"]  # fmt: skip
    run = sensorium.run("arrays", keys, out=tmp_path / "run", quiet=True)
    assert run.metrics["results"][0]["n_groups"] == groups
    server = start_server(run.folder)
    page = open_page(f"{server.url}/#/runs")
    page.wait_for_selector(".run-card dd")
    marks = page.locator(".run-card .tag.warn")
    assert marks.all_inner_texts() == (["2 groups"] * marks.count() if groups == 2 else [])
    assert marks.count() >= (groups == 2)
    page = open_page(f"{server.url}/#/runs/run")
    page.get_by_role("tab", name="Numbers").click()
    page.wait_for_selector(".numbers-table")
    assert page.locator(".note.few-groups").count() == (groups == 2)
    assert page.locator(".numbers-table .tag.warn").count() == (len(run.metrics["results"]) if groups == 2 else 0)
