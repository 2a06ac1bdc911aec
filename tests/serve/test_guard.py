"""Who may ask: addresses, tokens, hosts, origins, sizes; and what every answer carries."""

import pytest
from served import client_of, problem
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from sensorium.errors import BadRecipe
from sensorium.serve import Settings, create_app
from sensorium.serve.guard import TOKEN_PROTOCOL
from sensorium.serve.settings import read_token

pytestmark = pytest.mark.xdist_group("serve")
TOKEN = "correct horse battery"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_other_addresses_need_a_token(symbols, host):
    with pytest.raises(BadRecipe, match="token-file"):
        create_app([symbols], Settings(host=host))
    create_app([symbols], Settings(host=host, token=TOKEN))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
def test_loopback_needs_none(symbols, host):
    assert create_app([symbols], Settings(host=host)).title == "Sensorium"


def test_short_and_unreadable_tokens_are_refused(symbols, tmp_path):
    with pytest.raises(BadRecipe, match="16 characters"):
        create_app([symbols], Settings(token="short"))
    with pytest.raises(BadRecipe, match="cannot be read"):
        read_token(tmp_path / "none")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(BadRecipe, match="is empty"):
        read_token(tmp_path / "empty")
    (tmp_path / "token").write_text(f"{TOKEN}\nmore\n")
    assert read_token(tmp_path / "token").get_secret_value() == TOKEN


def test_the_token_opens_and_nothing_else_does(symbols):
    with client_of([symbols], token=TOKEN) as client:
        assert client.get("/").status_code == 200 and client.get("/healthz").status_code == 200
        wrong = [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer \xff".encode("latin-1")]
        for sent in wrong:
            answer = client.get("/runs", headers={} if sent is None else {"authorization": sent})
            assert "Bearer" in problem(answer, 401) and answer.headers["www-authenticate"] == "Bearer"
        problem(client.get(f"/runs?token={TOKEN}"), 401)
        assert client.get("/runs", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert TOKEN not in client.get("/openapi.json", headers={"authorization": f"bearer {TOKEN}"}).text


def test_sockets_bring_the_token_as_a_subprotocol(symbols):
    import base64

    packed = base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
    with client_of([symbols], token=TOKEN) as client:
        for offered in ([], ["sensorium"], ["sensorium", TOKEN_PROTOCOL + "d3Jvbmc"], [TOKEN_PROTOCOL + "%%%"]):
            with (
                pytest.raises(WebSocketDisconnect) as error,
                client.websocket_connect("ws://127.0.0.1:8000/stream", subprotocols=offered),
            ):
                pass
            assert error.value.code == 4401
        with client.websocket_connect(
            "ws://127.0.0.1:8000/stream", subprotocols=["sensorium", TOKEN_PROTOCOL + packed]
        ) as socket:
            assert socket.receive_json()["type"] == "error", "let in, and told that this run hears nothing"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil", "10.0.0.1"])
def test_foreign_hosts_are_refused_on_loopback(client, host):
    problem(client.get("/runs", headers={"host": host}), 421)


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8000", "127.0.0.2"])
def test_own_hosts_are_answered(client, host):
    assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_beyond_loopback_names_must_be_allowed(symbols):
    with client_of([symbols], host="0.0.0.0", token=TOKEN, hosts=["search.example"]) as client:
        assert client.get("/healthz", headers={"host": "search.example:8000"}).status_code == 200
        assert client.get("/healthz", headers={"host": "10.1.2.3:8000"}).status_code == 200
        problem(client.get("/healthz", headers={"host": "rebound.example"}), 421)


def test_foreign_origins_are_refused(client):
    assert client.get("/runs", headers={"origin": "http://127.0.0.1:8000"}).status_code == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1:8000.evil.example"):
        problem(client.get("/runs", headers={"origin": origin}), 403)
        with (
            pytest.raises(WebSocketDisconnect) as error,
            client.websocket_connect("ws://127.0.0.1:8000/stream", headers={"origin": origin}),
        ):
            pass
        assert error.value.code == 4403
    answer = client.options(
        "/search", headers={"origin": "http://evil.example", "access-control-request-method": "POST"}
    )
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers


def test_pages_that_are_allowed_may_open_sockets_and_nothing_else(symbols):
    page = {"origin": "http://localhost:5173"}
    with client_of([symbols], origins=["http://LOCALHOST:5173"]) as client:
        with client.websocket_connect("ws://127.0.0.1:8000/stream", headers=page) as socket:
            assert socket.receive_json()["type"] == "error", "let in, and told that this run hears nothing"
        assert "--allow-origin" in problem(client.get("/runs", headers=page), 403)
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("ws://127.0.0.1:8000/stream", headers={"origin": "http://localhost:5174"}),
        ):
            pass
    for wrong in ("localhost:5173", "http://", "http://localhost:5173/", "*", "file:///page.html"):
        with pytest.raises(BadRecipe, match="such as http://localhost:5173"):
            Settings(origins=[wrong]).check()


def test_every_answer_carries_the_policy(client):
    for path in ("/", "/runs", "/nowhere", "/healthz"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and "server" not in headers


def test_an_address_as_long_as_the_limit_is_read_and_one_more_is_not(symbols):
    with client_of([symbols], max_header=2000) as client:
        for address in ("/items/{}", "/runs?none={}"):
            longest = address.format("a" * (2000 - len(address) + 2 + ("?" in address)))
            assert client.get(longest).status_code != 414
            assert "2001 characters; at most 2000" in problem(client.get(longest + "a"), 414)


def test_a_stated_size_beyond_any_number_is_named_by_its_first_digits(client):
    stated = "1234567890" * 3
    answer = client.post("/search", content=b"{}", headers={"content-length": stated})
    assert f"body of {stated[:20]} bytes" in problem(answer, 413)


def test_large_bodies_and_headers_are_refused(symbols):
    with client_of([symbols], max_body=1000, max_header=2000) as client:
        json_type = {"content-type": "application/json"}
        assert "1000" in problem(client.post("/search", content=b"x" * 1001, headers=json_type), 413)
        chunks = iter([b" " * 400] * 4)
        assert "1000" in problem(client.post("/search", content=chunks, headers=json_type), 413)
        assert "2000" in problem(client.get("/runs", headers={"x-long": "y" * 3000}), 431)
        problem(client.get("/runs", headers={"content-length": "-5"}), 413)
        assert "2000" in problem(client.get("/items/" + "a" * 3000), 414)
        twice = [("host", "127.0.0.1"), ("authorization", "a"), ("authorization", "b")]
        problem(client.get("/runs", headers=twice), 400)


def test_too_many_at_once_are_told_to_come_back(symbols):
    from sensorium.serve.admission import Places
    from sensorium.serve.log import Log
    from sensorium.serve.metering import Meter, Metering

    places = Places(1, 1.0)
    place = places.enter("10.0.0.1")
    answer = TestClient(Metering(None, Meter(places), Log(Settings(log="off")), places)).get("/runs")
    assert answer.headers["retry-after"] == "1" and "1 requests" in problem(answer, 503)
    places.leave(place)
    assert len(places) == 0


def test_a_bug_is_answered_without_its_traceback(symbols, monkeypatch, capsys):
    from sensorium.serve.routes import health

    def broken(*_):
        raise ZeroDivisionError("inner secret")

    monkeypatch.setattr(health, "resident", broken)
    app = create_app([symbols], Settings(log="warning"))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = client.get("/system")
    assert "secret" not in problem(answer, 500)
    assert "content-security-policy" in answer.headers or answer.headers["x-content-type-options"] == "nosniff"
    assert "inner secret" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "token", "status"), [("0.0.0.0", TOKEN, 200), ("127.0.0.1", None, 421)])
def test_the_machines_own_name_is_known_beyond_loopback_only(symbols, monkeypatch, host, token, status):
    from sensorium.serve import guard

    monkeypatch.setattr(guard.socket, "gethostname", lambda: "My-Machine")
    with client_of([symbols], host=host, token=token) as client:
        assert client.get("/healthz", headers={"host": "my-machine:8000"}).status_code == status


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1;evil", "127.0.0.1 evil.example", "[::1]evil", "[::1", "::1", "127.0.0.1:", "127.0.0.1:x",
     "127.0.0.1:123456", "localhost'; script-src *", "localhost:80:80", "[127.0.0.1", "127.0.0.1/x", "user@localhost"],
)  # fmt: skip
def test_malformed_hosts_are_refused_and_never_repeated(client, host):
    answer = client.get("/healthz", headers={"host": host})
    assert answer.status_code in (400, 421)
    assert host not in str(answer.headers) and "evil" not in str(answer.headers)


@pytest.mark.parametrize("sent", ["%%%", "=", "a", "\xff", "a" * 5000])
def test_a_token_that_is_no_base64_is_a_wrong_one(sent):
    from sensorium.serve.guard import _token_of

    assert _token_of([TOKEN_PROTOCOL + sent]) != TOKEN.encode()
    assert _token_of(["other"]) == b""
