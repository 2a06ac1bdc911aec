"""The data doctor in a real browser: findings with their media, ticks, the drop list that a run takes."""

import csv
import random

import pytest
from examples import PART
from PIL import Image, ImageDraw

import sensorium

N, WRONG = 150, 8


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A run of drawn shapes and their captions, of which the first eight are each other's."""
    folder, draw, captions = tmp_path_factory.mktemp("shapes"), random.Random(0), []
    for i in range(N):
        shape, size = ("circle", "square", "bar")[i % 3], draw.randrange(10, 22)
        picture = Image.new("L", (48, 48), 255)
        pen, high = ImageDraw.Draw(picture), size if shape != "bar" else size // 4
        box = (24 - size, 24 - high, 24 + size, 24 + high)
        (pen.ellipse if shape == "circle" else pen.rectangle)(box, 0)
        picture.save(folder / f"{i}.png")
        captions.append(f"a black {shape}")
    captions[:WRONG] = captions[1:WRONG] + captions[:1]
    with (folder / "captions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "path", "caption", "picture"])
        table.writerows([f"p{i}", f"{i}.png", f"{text} number {i}", i] for i, text in enumerate(captions))
    keys = [f"data.file={folder / 'captions.csv'}", "data.left=path", "data.right=caption", "data.ids=id",
            "left.encoder=hog", "right.encoder=hashing", "objective=cca", "evaluate.plots=false",
            "evaluate.resamples=5", "evaluate.baselines=[]"]  # fmt: skip
    return sensorium.run("pairs", keys, out=folder / "runs" / "shapes", quiet=True).folder


@pytest.fixture(scope="module")
def examined(shapes):
    from page_server import Server

    server = Server(shapes)
    yield f"{server.url}/#/runs/shapes/doctor"
    server.stop()


def test_findings_stand_beside_their_media_and_the_list_is_saved(shapes, examined, open_page, until, tmp_path):
    page = open_page(examined.replace("/doctor", ""), accept_downloads=True)
    page.get_by_role("link", name="Check the data").click()
    page.wait_for_selector(".finding")
    assert page.get_by_role("heading", level=1).inner_text() == "Data doctor"
    first = page.locator(".finding").first
    first.locator("img").wait_for()
    first.locator(".finding-text").wait_for()
    assert "sure" in first.inner_text() and "ranks" in first.inner_text() and "a black" in first.inner_text()
    button = page.get_by_role("button", name="Drop list")
    before = int(button.inner_text().split("(")[1].rstrip(")"))
    assert before >= 1 and first.get_by_role("checkbox").is_checked()
    first.get_by_role("checkbox").uncheck()
    until(page, lambda: f"({before - 1})" in button.inner_text())
    first.get_by_role("checkbox").check()
    with page.expect_download() as saved:
        button.click()
    path = tmp_path / "drop.csv"
    saved.value.save_as(path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == before and saved.value.suggested_filename == "shapes-drop.csv"
    keys = [f"data.drop={path}", "evaluate.plots=false"]
    again = sensorium.run(shapes / "recipe.toml", keys, out=tmp_path / "run", quiet=True)
    assert again.metrics["dataset"]["dropped"]["pairs"] == before


def test_the_kinds_are_tabs(examined, open_page):
    page = open_page(examined)
    page.wait_for_selector(".finding")
    tabs = page.get_by_role("tab")
    kinds = tabs.all_inner_texts()
    assert kinds[0].startswith("Pairs")
    if len(kinds) > 1:
        tabs.first.press("ArrowRight")
        assert page.evaluate("document.activeElement.textContent") == kinds[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_nothing_to_say_at_any_size(examined, open_page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="type: pip install axe-playwright-python")
    page = open_page(examined, color_scheme=scheme)
    page.wait_for_selector(".finding img")
    for width in (1440, 820, 390) if PART == 1 else (1440, 390) if scheme == "light" else (820,):
        page.set_viewport_size({"width": width, "height": 844})
        assert [one["id"] for one in axe.Axe().run(page).response["violations"]] == []
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.locator(".finding .check").first.bounding_box()["height"] >= 44
