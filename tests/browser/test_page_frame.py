"""The page as a whole: accessible, small, in light and dark, on a phone, behind a token, when the server goes."""

import gzip
import signal
from pathlib import Path

import pytest

import sensorium

TOKEN = "a-token-of-enough-characters"
WEB = Path(sensorium.__file__).parent / "serve" / "web"
PAGES = ["search?run=glyphs", "search?run=glyphs&q=umbrella", "map?run=glyphs&colour=category", "runs", "runs/glyphs",
         "runs/glyphs?tab=plots", "runs/glyphs?tab=card", "system"]  # fmt: skip


def settled(page):
    page.wait_for_function(
        "() => !document.querySelector('main .wait') && document.querySelector('main > :not(noscript)')"
    )
    page.wait_for_timeout(150)


def test_the_whole_page_is_small():
    packed = sum(len(gzip.compress(path.read_bytes(), 9)) for path in WEB.rglob("*") if path.is_file())
    assert packed <= 200_000


def test_no_file_names_another_host_or_makes_markup_of_text():
    for path in WEB.rglob("*.*"):
        text = path.read_text("utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", 'style="', "onclick="):
            assert word not in text, f"{path.name}: {word}"
        hosts = [part for part in text.split("https://")[1:] + text.split("http://")[1:]]
        assert all(part.startswith("www.w3.org/") for part in hosts), path.name


def test_dark_follows_the_system_and_can_be_chosen(served, open_page):
    background = "() => getComputedStyle(document.body).backgroundColor"
    page = open_page(f"{served.url}/#/runs", color_scheme="dark")
    settled(page)
    dark = page.evaluate(background)
    assert dark == "rgb(18, 20, 23)"
    button = page.get_by_role("button", name="Colours")
    button.click()  # dark by choice
    button.click()  # light by choice
    assert page.evaluate(background) == "rgb(245, 246, 248)"
    page.reload()
    settled(page)
    assert page.evaluate(background) == "rgb(245, 246, 248)"


def test_nothing_sticks_out_on_a_phone(served, open_page):
    page = open_page(f"{served.url}/#/system", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    for hash in PAGES:
        page.goto(f"{served.url}/#/{hash}")
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, hash
        assert page.locator("nav.nav a").first.bounding_box()["y"] > 600, hash  # within reach of the thumb


def test_tab_goes_through_the_page_in_reading_order(served, open_page):
    page = open_page(f"{served.url}/#/search?run=glyphs&q=umbrella")
    page.wait_for_selector(".hits .hit")
    seen = []
    for _ in range(26):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("""() => { const e = document.activeElement;
            return (e.getAttribute('aria-label') ?? e.labels?.[0]?.textContent ?? e.textContent).trim().slice(0, 40); }""")
        )
    order = ["Skip to content", "Sensorium, start page", "Search", "Map", "Runs", "System", "Text", "Draw", "Image",
             "images", "Filter", "Group", "Options", "Share", "UMBRELLA"]  # fmt: skip
    places = [next((i for i, text in enumerate(seen) if text.startswith(name)), None) for name in order]
    assert None not in places, dict(zip(order, places, strict=True)) | {"seen": seen}
    assert places == sorted(places)
    assert page.evaluate("document.activeElement.matches(':focus-visible')")


def test_the_skip_link_leads_to_the_content(served, open_page):
    page = open_page(f"{served.url}/#/runs")
    settled(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.url.endswith("#/runs")


def test_pages_are_reached_by_link_and_by_back(served, open_page):
    page = open_page(f"{served.url}/#/runs")
    settled(page)
    page.get_by_role("link", name="System").click()
    page.wait_for_selector("h1 >> text=System")
    assert page.title() == "System · Sensorium"
    page.go_back()
    page.wait_for_selector(".runs-table")
    assert page.locator("nav a[aria-current=page]").inner_text() == "Runs"
    page.goto(f"{served.url}/#/nowhere")
    page.wait_for_selector("text=There is no such page")


@pytest.mark.slow
@pytest.mark.thorough
def test_a_token_is_asked_for_and_a_lost_server_is_waited_for(glyphs, start_server, open_page, tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    server = start_server(glyphs / "runs" / "glyphs", token=tmp_path / "token")
    lost = ("401", "ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET",
            "ERR_CONTENT_LENGTH_MISMATCH")  # fmt: skip
    page = open_page(f"{server.url}/#/search?run=glyphs", allow=lost)
    page.get_by_role("textbox").fill("wrong, though long enough")
    page.get_by_role("button", name="Continue").click()
    page.wait_for_selector("text=not the right one")
    page.get_by_role("textbox").fill(TOKEN)
    page.get_by_role("button", name="Continue").click()
    page.wait_for_function("() => document.querySelector('.wall-picture')?.naturalWidth === 64")
    assert page.locator(".wall-picture").first.get_attribute("src").startswith("blob:")
    assert TOKEN not in page.url

    port = server.port
    server.stop(signal.SIGKILL)
    page.locator(".wall button").first.click()
    page.wait_for_selector(".banner >> text=does not answer")
    page.wait_for_selector(".state.error")
    server.start(port)
    page.wait_for_selector(".hits .hit")  # asked again by itself
    page.wait_for_selector(".banner", state="hidden")
