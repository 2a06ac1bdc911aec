"""Behind a reverse proxy, below a path prefix, mounted in another application, and asked by monitors."""

import contextlib
import json
import re
import urllib.parse

import httpx
import pytest
from reverse_proxy import Proxy
from served import client_of, problem
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from uvicorn_thread import running

from sensorium.errors import BadRecipe
from sensorium.serve import Settings, create_app

pytestmark = pytest.mark.xdist_group("serve")
PUBLIC = "https://search.example/sensorium"
TEXT = {"text": "arrow", "k": 2}


def redirecting(app):
    """The application with an address that leads to another one of its own, in the way of Starlette."""
    app.router.routes.insert(
        0, Route("/moved", lambda request: RedirectResponse(request.url_for("web", path="app.js")))
    )
    return app


@pytest.fixture(scope="module")
def behind(symbols):
    """Proxies of every kind before one server: (strips the prefix, Host sent on) → the address below the prefix."""
    app = redirecting(create_app([symbols], Settings(log="off", public_url=PUBLIC, drain_seconds=1)))
    kinds = [(strip, host) for strip in (True, False) for host in (None, "127.0.0.1:8000", "sensorium:8000")]
    with running(app) as port, contextlib.ExitStack() as stack:
        proxies = {}
        for strip, host in kinds:
            # A client that asks for search.example: the proxy keeps its name where host is None.
            proxies[strip, host] = proxy = Proxy(port, "/sensorium", strip, host or "search.example")
            stack.callback(proxy.stop)
        yield proxies


@pytest.mark.parametrize("host", [None, "127.0.0.1:8000", "sensorium:8000"])
@pytest.mark.parametrize("strip", [True, False])
def test_everything_follows_the_public_address(behind, strip, host):
    url = behind[strip, host].url
    with httpx.Client(headers={"origin": "https://search.example"}) as client:
        for address in (url, url + "/"):
            page = client.get(address)
            assert page.status_code == 200 and re.search(r'src="/sensorium/first-\w+\.js"', page.text), address
            assert 'href="#main"' in page.text and re.search(r'href="/sensorium/page-\w+\.css"', page.text)
        assert "wss://search.example" in page.headers["content-security-policy"]
        assert client.get(url + "/app.js").headers["content-type"].startswith("text/javascript")
        found = client.post(url + "/search", json=TEXT).json()
        assert [hit["media"].split("?")[0].startswith("/sensorium/media/") for hit in found["hits"]] == [True, True]
        picture = client.get(urllib.parse.urljoin(url, found["hits"][0]["media"]))
        assert picture.headers["content-type"] == "image/png"
        assert client.get(url + "/openapi.json").json()["servers"] == [{"url": PUBLIC}]
        assert client.get(url + "/moved").headers["location"] == PUBLIC + "/app.js"
        assert client.head(url + "/healthz").status_code == 200
        assert "sensorium" in problem(client.get(url + "/nowhere"), 404)


@pytest.mark.parametrize("strip", [True, False])
def test_sockets_come_through(behind, strip):
    from websockets.sync.client import connect

    url = behind[strip, "127.0.0.1:8000"].url.replace("http", "ws") + "/stream"
    with connect(url, origin="https://search.example") as socket:
        assert json.loads(socket.recv(10))["type"] == "error", "let in, and told that this run takes no sound"


def test_pages_of_other_origins_and_foreign_names_stay_refused(symbols):
    with client_of([symbols], public_url=PUBLIC) as client:
        told = problem(client.post("/search", json=TEXT, headers={"origin": "https://evil.example"}), 403)
        assert "another origin" in told
        assert client.post("/search", json=TEXT, headers={"origin": "https://search.example"}).status_code == 200
        told = problem(client.get("/runs", headers={"host": "evil.example"}), 421)
        assert "--allow-host" in told and "--public-url" in told
        for host in ("search.example", "search.example:443", "backend", "a.internal:9", "10.1.2.3:8000"):
            assert client.get("/runs", headers={"host": host}).status_code == 200, host


def test_clients_behind_a_proxy_share_no_places(symbols):
    """The last address of X-Forwarded-For is the client's, where the sender is on a private network."""
    from sensorium.serve.mounting import Mount as Place
    from sensorium.serve.mounting import Mounted

    async def app(scope, receive, send):
        seen.append(scope["client"])

    async def ask(peer, sent, **more):
        headers = [(b"x-forwarded-for", one) for one in sent]
        scope = {"type": "http", "path": "/", "headers": headers, "client": peer}
        await Mounted(app, Settings(log="off", **more), Place())(scope, None, None)

    import anyio

    seen = []
    for peer, sent, more in [
        (("127.0.0.1", 1), [b"203.0.113.9, 198.51.100.7"], {"public_url": PUBLIC}),
        (("10.0.0.2", 1), [b"1.1.1.1", b"2001:db8::1"], {"public_url": PUBLIC}),
        (("8.8.8.8", 1), [b"203.0.113.9"], {"public_url": PUBLIC}),
        (("127.0.0.1", 1), [b"nonsense"], {"public_url": PUBLIC}),
        (("127.0.0.1", 1), [b"203.0.113.9"], {}),
        (("testclient", 1), [b"203.0.113.9"], {"public_url": PUBLIC}),
        (None, [b"203.0.113.9"], {"public_url": PUBLIC}),
    ]:
        anyio.run(lambda peer=peer, sent=sent, more=more: ask(peer, sent, **more))
    assert seen == [("198.51.100.7", 0), ("2001:db8::1", 0), ("8.8.8.8", 1), ("127.0.0.1", 1), ("127.0.0.1", 1),
                    ("testclient", 1), None]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Search.Example:443/sensorium/", PUBLIC),
        ("http://search.example:80", "http://search.example"),
        ("http://[::1]:9000/a/b", "http://[::1]:9000/a/b"),
    ],
)
def test_public_addresses_are_written_in_one_way(symbols, given, kept):
    assert Settings(public_url=given).check().public_url == kept


@pytest.mark.parametrize(
    "wrong",
    ["search.example", "ftp://search.example", "https://", "https://a:b@c.example", "https://a.example/x?y=1",
     "https://a.example/x#y", "https://a.example:port", "https://a.example/x y", "https://-"],
)  # fmt: skip
def test_what_is_no_public_address_is_refused(symbols, wrong):
    with pytest.raises(BadRecipe, match="--public-url .* is no address that a proxy serves; type scheme, host"):
        create_app([symbols], Settings(public_url=wrong))


@pytest.mark.parametrize("path", ["/search", "/runs/mine", "/stream", "/systems", "/app.js"])
def test_a_prefix_that_is_an_own_address_is_refused(symbols, path):
    with pytest.raises(BadRecipe, match=f"ends with {path}, and .* cannot be told apart; give the proxy another path"):
        create_app([symbols], Settings(public_url=f"https://a.example{path}"))


def outer(app, **more):
    """Another application that has ours below /find, and an address of its own."""
    return Starlette(routes=[Route("/", lambda _: PlainTextResponse("mine")), Mount("/find", app)], **more)


def check_mounted(client):
    """Every kind of request to the application at /find."""
    assert client.get("/").text == "mine"
    found = client.post("/find/search", json=TEXT).json()["hits"]
    assert found[0]["media"].startswith("/find/media/") and client.get(found[0]["media"]).status_code == 200
    assert re.search(r'src="/find/first-\w+\.js"', client.get("/find/").text)
    assert client.get("/find/openapi.json").json()["servers"] == [{"url": "/find"}]
    assert client.get("/find/moved", follow_redirects=False).headers["location"] == "http://localhost/find/app.js"
    assert client.get("/find/readyz").json()["status"] == "ready"
    assert "no item" in problem(client.get("/find/items/nothing"), 404)


def test_mounted_the_first_request_starts_it_and_the_loop_ends_it(symbols):
    app = redirecting(create_app([symbols], Settings(log="off")))
    with TestClient(outer(app), base_url="http://localhost") as client:
        check_mounted(client)
        assert not app.state.stopping.is_set()
    assert app.state.stopping.is_set(), "what ran beside the requests was ended with the loop"


def test_mounted_without_any_lifespan(symbols):
    client = TestClient(outer(create_app([symbols], Settings(log="off"))), base_url="http://localhost")
    for _ in range(2):  # each request has an event loop of its own
        assert client.post("/find/search", json=TEXT).status_code == 200


def test_mounted_with_the_lifespan_of_the_outer_application(symbols):
    app = redirecting(create_app([symbols], Settings(log="off")))

    @contextlib.asynccontextmanager
    async def lifespan(_):
        async with app.router.lifespan_context(app):
            yield

    with TestClient(outer(app, lifespan=lifespan), base_url="http://localhost") as client:
        check_mounted(client)


def test_mounted_in_fastapi_on_a_real_socket(symbols):
    from fastapi import FastAPI

    whole = FastAPI()
    whole.mount("/find", create_app([symbols], Settings(log="off", token="correct horse battery")))
    with running(whole) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        assert client.get("/find/healthz").status_code == 200 and client.get("/find/app.js").status_code == 200
        problem(client.post("/find/search", json=TEXT), 401)
        client.headers["authorization"] = "Bearer correct horse battery"
        assert len(client.post("/find/search", json=TEXT).json()["hits"]) == 2


def test_mounted_and_public(symbols):
    """A gateway that puts /api before the outer application's own path."""
    app = redirecting(create_app([symbols], Settings(log="off", public_url="https://search.example/api/find")))
    with TestClient(outer(app), base_url="http://localhost") as client:
        found = client.post("/find/search", json=TEXT).json()["hits"]
        assert found[0]["media"].startswith("/api/find/media/")
        moved = client.get("/find/moved", follow_redirects=False).headers["location"]
        assert moved == "https://search.example/api/find/app.js"


#: Routes whose answers need more than names, or that wait for what happens.
FILLED = {"{run}": "symbols", "{name}": "none", "{side}": "left"}


def test_head_is_answered_on_every_get_route(client, symbols):
    document = client.get("/openapi.json").json()
    id = client.post("/search", json=TEXT).json()["hits"][0]["id"]
    paths = [path for path, methods in document["paths"].items() if "get" in methods]
    assert len(paths) > 20
    for path in [*paths, "/", "/app.js", "/openapi.json", "/systems/outfits/page.js", "/nowhere"]:
        for name, value in {**FILLED, "{id}": urllib.parse.quote(id, safe="")}.items():
            path = path.replace(name, value)
        if path.endswith(("/events", "/map")):
            continue
        full, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (full.status_code, b""), path
        if path not in ("/metrics", "/system", "/readyz"):  # which tell of the requests before, and of times
            assert head.headers.get("content-length") == full.headers.get("content-length"), path
        assert head.headers.get("content-type") == full.headers.get("content-type")
    started = client.head("/runs/symbols/events")
    assert started.status_code == 200 and started.headers["content-type"].startswith("text/event-stream")
    assert client.head("/search").status_code == client.get("/search").status_code == 404
