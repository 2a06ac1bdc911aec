"""The guard around a small application: every limit at its last allowed value and at the next one."""

import asyncio
import base64

import pytest

from sensorium.serve import Settings
from sensorium.serve.admission import Budget, Place, Places
from sensorium.serve.guard import TOKEN_PROTOCOL, Guard, _token_of, is_stream, release
from sensorium.serve.log import Log
from sensorium.serve.metering import PLACE
from sensorium.serve.problems import Problem

JSON, LINES = (b"content-type", b"application/json"), (b"content-type", b"Application/JSONL ; charset=utf-8")
HOST = (b"host", b"localhost")


def asked(headers=(), pieces=(b"",), path="/search", method="POST", budget=None, during=None, ask=b"", **settings):
    """Status, headers and document of one request, and the body that the application received."""
    got, sent = [], []
    budget = Budget(1 << 20) if budget is None else budget
    settings = Settings(log="off", **settings)
    pieces = list(pieces)
    scope = {"type": "http", "method": method, "path": path, "query_string": ask, "client": ("127.0.0.1", 1)}
    scope["headers"] = [HOST, *headers]

    async def receive():
        body = pieces.pop(0)
        if isinstance(body, float):
            await asyncio.sleep(body)
            body = pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    async def app(scope, receive, send):
        more, status = True, 200
        while more:
            try:
                message = await receive()
            except Problem as problem:
                got.append(problem)
                status = problem.status
                break
            got.append(message["body"])
            more = message["more_body"]
            if during is not None:
                during(scope, budget)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = Guard(app, settings, Log(settings), lambda path: path == "/open", budget, Places(4, 1.0))
    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[-1]["body"].decode(), got


def test_headers_and_addresses_as_long_as_the_limit():
    long = (b"x-long", b"y" * (1000 - len(b"hostlocalhostx-long")))
    assert asked([long], max_header=1000)[0] == 200
    status, headers, said, got = asked([(long[0], long[1] + b"y")], max_header=1000)
    assert (status, headers[b"connection"], got) == (431, b"close", [])
    assert "headers of 1001 bytes; at most 1000" in said
    assert asked(path="/" + "a" * 499, ask=b"b" * 500, max_header=1000)[0] == 200
    status, headers, said, _ = asked(path="/" + "a" * 500, ask=b"b" * 500, max_header=1000)
    assert status == 414 and b"connection" not in headers and "1001 characters; at most 1000" in said


@pytest.mark.parametrize(("kind", "path", "most"), [(JSON, "/search", 100), (LINES, "/items", 300), (LINES, "/x", 100)])
def test_bodies_as_long_as_the_limit(kind, path, most):
    limits = {"max_body": 100, "max_stream": 300}
    for stated in ([], [(b"content-length", b"%d" % most)]):
        status, _, _, got = asked([kind, *stated], [b"a" * (most - 10), b"b" * 10], path, **limits)
        assert status == 200 and b"".join(got) == b"a" * (most - 10) + b"b" * 10
    status, headers, said, got = asked([kind, (b"content-length", b"%d" % (most + 1))], path=path, **limits)
    assert (status, headers[b"connection"], got) == (413, b"close", []) and f"body of {most + 1} bytes" in said
    status, _, _, got = asked([kind], [b"a" * most, b"b"], path, **limits)
    assert status == 413 and got[0] == b"a" * most and f"larger than {most} bytes" in str(got[1].detail)
    for stated in (b"-1", b"1.5", b"", b"0" * 16):
        assert asked([kind, (b"content-length", stated)], path=path, **limits)[0] == 413
    assert asked([kind, (b"content-length", b"0" * 14 + b"9")], path=path, **limits)[0] == 200


def test_only_lines_that_are_posted_to_items_are_a_stream():
    scope = {"type": "http", "method": "POST", "path": "/items", "headers": [HOST, LINES]}
    assert is_stream(scope)
    assert is_stream({**scope, "headers": [(b"content-type", b"application/x-ndjson")]})
    for other in ({"type": "websocket"}, {"method": "PUT"}, {"path": "/search"}, {"headers": [JSON]}, {"headers": []}):
        assert not is_stream({**scope, **other})


def test_bodies_under_way_are_counted_while_they_are_and_no_longer():
    budget, counted = Budget(100), []
    assert asked([JSON], [b"a" * 60, b"b" * 40], budget=budget, during=lambda _, b: counted.append(b.used))[0] == 200
    assert counted == [60, 100] and budget.used == 0
    status, headers, said, got = asked([JSON, (b"content-length", b"101")], budget=budget)
    assert (status, headers[b"retry-after"], headers[b"connection"], got) == (503, b"1", b"close", [])
    assert "requests of 0 bytes together are under way" in said
    assert asked([JSON, (b"content-length", b"100")], [b"a" * 100], budget=budget)[0] == 200
    status, _, _, got = asked([JSON], [b"a" * 100, b"b"], budget=budget)
    assert status == 503 and "requests of 100 bytes together" in got[1].detail and budget.used == 0
    assert got[1].headers == {"retry-after": "1", "connection": "close"}


def test_what_was_read_of_a_stream_is_released():
    budget, counted = Budget(100), []

    def use(scope, budget):
        counted.append(budget.used)
        release(scope, 50)

    status, _, _, got = asked([LINES], [b"a" * 50] * 5, "/items", budget=budget, during=use, max_stream=300)
    assert status == 200 and len(got) == 5 and counted == [50] * 5 and budget.used == 0
    release({}, 10)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"body_seconds": 0.05, "body_total_seconds": 60}, "nothing came of the body for 0.05 s"),
        ({"body_seconds": 60, "body_total_seconds": 0.05}, "the body did not come within 0.05 s"),
    ],
)
def test_bodies_that_do_not_come_in_time(limits, said):
    status, _, _, got = asked([JSON], [b"a", 30.0, b"b"], **limits)
    assert status == 408 and said in got[1].detail and got[1].headers == {"connection": "close"}
    assert asked([JSON], [b"a", 0.001, b"b"], **{name: 60 for name in limits})[0] == 200


@pytest.mark.parametrize("encoding", [b"identity", b" Identity ", b"", b"gzip", b"x" * 50])
def test_encodings_of_bodies(encoding):
    status, headers, said, _ = asked([JSON, (b"content-encoding", encoding)])
    if encoding in (b"gzip", b"x" * 50):
        assert status == 415 and headers[b"connection"] == b"close"
        assert f"content-encoding {encoding[:20].decode()}: compressed" in said
    else:
        assert status == 200


@pytest.mark.parametrize("length", range(16, 25))
def test_a_token_of_any_length_travels_as_a_subprotocol(length):
    token = bytes(range(255, 255 - length, -1))
    packed = base64.urlsafe_b64encode(token).decode()
    for sent in (packed, packed.rstrip("=")):
        assert _token_of(["sensorium", TOKEN_PROTOCOL + sent]) == token


def test_policies_of_many_hosts_are_their_own():
    settings = Settings(log="off", hosts=[f"name{i}" for i in range(250)])
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})

    async def send(message):
        sent.append(message)

    guard = Guard(app, settings, Log(settings), lambda path: True, Budget(100), Places(4, 1.0))

    async def all_hosts():
        for i in [*range(250), *range(250)]:
            scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"Name%d:80" % i)]}
            await guard({**scope, PLACE: Place("")}, None, send)
            policy = dict(sent[-1]["headers"])[b"content-security-policy"]
            assert b"ws://name%d:80 wss://name%d:80;" % (i, i) in policy and dict(sent[-1]["headers"])[b"x"] == b"y"
            assert len(guard._policies) <= 101

    asyncio.run(all_hosts())
