"""Every view and every fault: the error is in plain words by its cause, with an action that helps, and the view lives on."""

import json
import re

import pytest

pytest.importorskip("playwright", reason="type: pip install 'sensorium[dev]'")

#: View → its address, the request that fails, and how the list of runs is changed so that the view is there.
VIEWS = {
    "first": ("search?run=glyphs", "**/runs/glyphs/sample*", None),
    "results": ("search?run=glyphs&q=umbrella", "**/search", None),
    "map": ("map?run=glyphs&method=tsne", "**/runs/glyphs/map?*", None),
    "run": ("runs/glyphs", "**/runs/glyphs", None),
    "compare": ("runs?a=glyphs&b=lively", "**/compare?*", None),
    "doctor": ("runs/glyphs/doctor", "**/runs/glyphs/doctor?*", None),
    "system": ("system", "**/system", None),
    "voices": ("voices?run=glyphs&lines=hello", "**/prompts", {"right": {"kind": "audio"}, "left": {"takes": "text"}}),
    "outfits": ("outfits?run=glyphs&item=a&mode=complete&gap=b", "**/complete-look", {"one_table": True}),
    "face": ("face", "**/faces", None),
}
#: Fault → the status of the answer, or how there is none.
FAULTS = {"gone": 0, "offline": 0, "404": 404, "422": 422, "500": 500, "503": 503, "504": 504, "no JSON": 502}
DETAIL = "KeyError('x') at data.left=image of /srv/secret/runs/glyphs: <Store object at 0x7f12>; see /openapi.json"
NEVER = (
    "KeyError",
    "data.left",
    "/srv",
    "0x7f",
    "openapi",
    "Some Status",
    "Bad Gateway",
    "undefined",
    "[object",
    "fetch",
)
OFTEN = {("first", "500"), ("results", "offline"), ("map", "gone"), ("run", "404"), ("system", "503"), ("voices", "422"),
         ("outfits", "404"), ("face", "504")}  # fmt: skip
SAID = "main .state.error, main [role=alert], .face-trouble"


@pytest.fixture
def failing(served, chromium):
    """failing(view, fault): a page on which the view's own request meets the fault, and its console's errors."""
    contexts = []

    def show(view: str, fault: str):
        address, path, change = VIEWS[view]
        context = chromium.new_context(reduced_motion="reduce")
        contexts.append(context)
        page, faults = context.new_page(), []
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda one: faults.append(one.text) if one.type == "error" else None)

        def refuse(route):
            if route.request.method == "GET" and view == "voices":
                return route.fallback()
            if fault in ("gone", "offline"):
                return route.abort("internetdisconnected" if fault == "offline" else "connectionrefused")
            if fault == "no JSON":
                return route.fulfill(status=502, body="<html>Bad Gateway nginx</html>", content_type="text/html")
            status = FAULTS[fault]
            return route.fulfill(status=status, json={"title": "Some Status", "status": status, "detail": DETAIL})

        def runs(route):
            body = route.fetch().json()
            for run in body["runs"]:
                for name, value in (change or {}).items():
                    if isinstance(value, dict):
                        run["sides"].get(name, {}).update(value)
                    else:
                        run[name] = value
                if view == "outfits" and run["sides"]:
                    columns = run["sides"]["left"]["columns"]
                    columns.append({**columns[0], "name": "category", "values": ["b"]})
            route.fulfill(json=body)

        if change:
            page.route("**/runs", runs)
        page.route(path, refuse)
        if fault in ("gone", "offline"):
            page.route("**/healthz", refuse)
        if fault == "offline":
            page.add_init_script("Object.defineProperty(navigator, 'onLine', { get: () => false })")
        page.goto(f"{served.url}/#/{address}")
        page.wait_for_selector(SAID)
        return page, faults

    yield show
    for context in contexts:
        context.close()


CASES = [
    pytest.param(view, fault, marks=() if (view, fault) in OFTEN else pytest.mark.slow, id=f"{view}-{fault}")
    for view in VIEWS
    for fault in FAULTS
]


@pytest.mark.parametrize(("view", "fault"), CASES)
def test_a_fault_is_said_in_plain_words_with_what_helps(failing, view, fault):
    page, faults = failing(view, fault)
    text = page.locator(SAID).first.inner_text()
    assert not [word for word in (*NEVER, str(FAULTS[fault] or "refused")) if word in text], text
    assert re.match(r"[A-Z“]", text) and text.rstrip().endswith(
        (".", "?", "again", "out", "off", "runs", "PCA", "over")
    ), text
    title = {"gone": "The server does not answer", "offline": "This device is offline", "503": "Not possible right now",
             "500": "The server has a fault", "504": "The server takes too long", "no JSON": "The server does not answer"}.get(fault)  # fmt: skip
    assert title is None or title in text or view in ("map", "compare", "doctor"), text
    acts = page.locator("main").locator("button:visible, a.button:visible").count()
    assert acts or view == "system", "nothing to do about it"  # the system asks again by itself
    if fault in ("gone", "offline"):
        assert page.locator(".banner").is_visible()
    assert [one for one in faults if "Failed to load resource" not in one] == []


def test_what_never_answers_is_given_up_and_said(served, open_page):
    page = open_page(f"{served.url}/healthz", allow=("404",))  # a page without an icon
    page.clock.install()
    page.route("**/search", lambda route: None)
    page.goto(f"{served.url}/#/search?run=glyphs&q=umbrella")
    with page.expect_request("**/search"):
        pass
    page.clock.fast_forward(200_000)
    page.wait_for_selector("text=The server takes too long")
    page.unroute("**/search")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".hits .hit")


@pytest.mark.slow
def test_a_run_that_cannot_be_opened_is_said_with_the_server_s_words_on_demand(served, open_page):
    page = open_page(f"{served.url}/healthz", allow=("404", "503"))

    def broken(route):
        body = route.fetch().json()
        for run in body.get("runs", [body]):
            run.update(state="broken", detail=DETAIL)
            if "sides" in run:
                run["sides"] = {}
        route.fulfill(json=body)

    page.route("**/runs", broken)
    page.route("**/runs/glyphs", broken)
    for view in ("search", "map"):
        page.goto(f"{served.url}/#/{view}?run=glyphs")
        page.wait_for_selector("main .state.error")
        text = page.locator("main").inner_text()
        assert "This run cannot be opened" in text and "KeyError" not in text
    page.goto(f"{served.url}/#/runs/glyphs")
    page.wait_for_selector("main .note.bad")
    assert "KeyError" not in page.locator("main").inner_text()
    page.get_by_text("What the server says").click()
    assert "KeyError" in page.locator("main").inner_text()


def test_bad_files_are_said_by_kind(served, open_page, tmp_path):
    page = open_page(f"{served.url}/#/search?run=glyphs", allow=("422",))
    page.wait_for_selector(".begin")
    (tmp_path / "bad.png").write_bytes(b"no picture at all")
    page.get_by_role("button", name=re.compile("^Image")).first.click()
    page.locator("input[type=file][accept='image/*']").set_input_files(tmp_path / "bad.png")
    page.wait_for_selector("text=This image cannot be read")
    assert "PNG" in page.locator(".state.error").inner_text()


def test_the_server_s_own_words_stay_in_the_console(served, open_page):
    page = open_page(f"{served.url}/healthz", allow=("404", "500"))
    told = []
    page.on("console", lambda one: told.append(one.text) if one.type == "debug" else None)
    page.route("**/search", lambda route: route.fulfill(status=500, body=json.dumps({"detail": DETAIL})))
    page.goto(f"{served.url}/#/search?run=glyphs&q=umbrella")
    page.wait_for_selector("main .state.error")
    assert any("KeyError" in one for one in told)
