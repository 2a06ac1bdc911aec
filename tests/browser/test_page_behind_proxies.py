"""The page below a path prefix, behind a proxy that sends another Host."""

import contextlib

import pytest
from reverse_proxy import Proxy
from uvicorn_thread import running

LOADED = "[...document.images].filter((one) => one.complete && one.naturalWidth > 0).length"


@pytest.fixture(scope="module")
def addresses(glyphs):
    """The page's address by whether the proxy strips the prefix, without the slash at its end."""
    from sensorium.serve import Settings, create_app

    found, proxies = {}, [Proxy(0, "/sensorium", strip) for strip in (True, False)]
    with contextlib.ExitStack() as stack:
        for proxy in proxies:
            app = create_app([glyphs / "runs" / "glyphs"], Settings(log="off", public_url=proxy.url))
            proxy.port, found[proxy.strip] = stack.enter_context(running(app)), proxy.url
            stack.callback(proxy.stop)
        yield found


@pytest.mark.parametrize(("view", "strip"), [
    pytest.param(view, strip, marks=[] if strip == (view != "map") else pytest.mark.thorough)
    for view in ("search?q=arrow", "map", "runs") for strip in (True, False)
])  # fmt: skip
def test_every_view_works_below_a_prefix(addresses, open_page, until, strip, view):
    page = open_page(f"{addresses[strip]}#/{view}")
    if view.startswith("search"):
        until(page, lambda: page.evaluate(LOADED) > 3)
        sources = page.evaluate("[...document.images].map((one) => one.src)")
        assert all(source.startswith(addresses[strip] + "/") for source in sources)
    elif view == "map":
        page.wait_for_selector("canvas")
    else:
        page.get_by_role("link", name="glyphs").first.wait_for()
