"""Labelling on the page: thumbs, feedback, the next queries, a refit and its undo."""

import shutil

import numpy as np
import pytest
from uvicorn_thread import running

import sensorium


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of a small run of vectors in six classes, of which two are in no pair of the fit."""
    from sensorium.serve import Settings, create_app

    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(6), 20)
    X = (rng.standard_normal((6, 16))[of] * 0.4 + 0.35 * rng.standard_normal((120, 16))).astype(np.float32)
    left = np.array([i for i in range(79) if of[i] == of[i + 1]])
    folder = tmp_path_factory.mktemp("label") / "blobs"
    names = [f"class {one}" for one in of]
    run = sensorium.fit(X, pairs=(left, left + 1), metadata={"left": {"name": names}}, out=folder, quiet=True)
    with running(create_app([run.folder], Settings(log="off", label=True, reload_seconds=0.2))) as port:
        yield f"http://127.0.0.1:{port}/"
    shutil.rmtree(folder.parent, ignore_errors=True)


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (820, "dark"), (390, "light")])
def test_thumbs_feedback_and_proposals(address, open_page, until, width, theme):
    page = open_page(f"{address}#/search?id={width % 100}",
                     viewport={"width": width, "height": 844}, color_scheme=theme)  # fmt: skip
    up = page.get_by_role("button", name="Fits:").first
    up.click()
    until(page, lambda: up.get_attribute("aria-pressed") == "true")
    bar = page.get_by_role("region", name="Labelling")
    until(page, lambda: "label" in bar.inner_text() and not bar.inner_text().startswith("0 label"))
    bar.get_by_role("button", name="Apply feedback").click()
    until(page, lambda: "moved query" in page.locator("#announce").inner_text())
    bar.get_by_role("button", name="Label next").click()
    until(page, lambda: bar.get_by_role("link").count() >= 4)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="type: pip install axe-playwright-python")
    found = axe.Axe().run(page, context={"include": [[".label-bar"], [".thumbs"]]}).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    page.reload()
    until(page, lambda: page.locator(".thumbs [aria-pressed=true]").count() == 1)
    page.locator(".thumbs [aria-pressed=true]").click()
    until(page, lambda: page.locator(".thumbs [aria-pressed=true]").count() == 0)


def test_a_refit_is_measured_and_can_be_discarded(address, open_page, until):
    page = open_page(f"{address}#/search?id=100")
    bar = page.get_by_role("region", name="Labelling")
    bar.get_by_role("button", name="Refit").click()
    until(page, lambda: "a refit takes at least 6" in bar.inner_text())
    page.evaluate(
        """async () => { for (let id = 80; id < 104; id++) {
        const send = (path, json) => fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(json) });
        const { hits } = await (await send("/search", { id: String(id), k: 4 })).json();
        await send("/labels", { search: { id: String(id) }, labels: hits.map((hit) => ({ item: hit.id, label: hit.columns.name === `class ${Math.floor(id / 20)}` ? 1 : 0 })) });
        } }"""
    )
    bar.get_by_role("button", name="Refit").click()
    until(page, lambda: bar.get_by_role("button", name="Accept").count() == 1)
    table = bar.get_by_role("table")
    assert "hit@10" in table.inner_text() and "95% interval" in table.inner_text()
    bar.get_by_role("button", name="Discard").click()
    until(page, lambda: bar.get_by_role("button", name="Accept").count() == 0)


def test_without_the_option_the_page_has_no_thumbs(served, open_page):
    page = open_page(f"{served.url}/#/search?q=arrow")
    page.wait_for_selector(".hit")
    assert page.locator(".thumbs").count() == 0
    assert page.evaluate("performance.getEntriesByType('resource').every((one) => !one.name.includes('label.'))")
