"""Every view at three sizes in light and dark: accessible, within its width, touch targets large enough, no error."""

import pytest

pytest.importorskip("playwright", reason="type: pip install 'sensorium[dev]'")

VIEWS = ["search?run=glyphs", "search?run=glyphs&q=umbrella", "map?run=glyphs&method=pca",
         "map?run=glyphs&method=pca&q=arrow", "runs", "runs/glyphs", "runs/glyphs?tab=card", "system"]  # fmt: skip
SIZES = {"desktop": (1440, 900), "tablet": (820, 1180), "phone": (390, 844)}
READY = """() => { const main = document.querySelector('main'); return main.querySelector(':scope > :not(noscript)')
    && !main.querySelector('.wait') && (!main.querySelector('.plot') || main.querySelector('.map-facts')); }"""


@pytest.fixture(scope="module")
def visitor(served, chromium):
    """One page for all views, with what its console says."""
    context = chromium.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(60_000)
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.goto(f"{served.url}/#/system")
    page.wait_for_function(READY)
    yield page, faults
    context.close()


def cases():
    """All of them; those that see least that is new are run among the slow ones."""
    for view in VIEWS:
        for size in SIZES:
            for scheme in ("light", "dark"):
                often = (size, scheme) in (("desktop", "dark"), ("phone", "light"))
                yield pytest.param(
                    view, size, scheme, marks=() if often else pytest.mark.slow, id=f"{view}-{size}-{scheme}"
                )


@pytest.mark.parametrize(("view", "size", "scheme"), cases())
def test_a_view_is_accessible_and_fits(served, visitor, view, size, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="type: pip install axe-playwright-python")
    page, faults = visitor
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{served.url}/#/{view}")
    page.wait_for_function(READY)
    page.wait_for_timeout(150)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = [
        f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for one in axe.Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]
    assert found == []
    assert faults == []
