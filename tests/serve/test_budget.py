"""What all connections together may have under way, and how long one may keep the server waiting: real sockets."""

import contextlib
import json
import socket
import time

import pytest

from sensorium.errors import BadRecipe
from sensorium.serve import Settings
from sensorium.serve.admission import Budget

pytestmark = pytest.mark.xdist_group("serve")
ROOM = 100_000


@pytest.fixture(scope="module")
def small(symbols):
    """A server with room for one body of 100,000 bytes, or some together; it waits a second and no longer."""
    from served import Server

    told = {"MAX_BODY": ROOM, "LIVE_UPLOAD": ROOM, "MAX_BODIES": ROOM, "BODY_SECONDS": 2, "HEADER_SECONDS": 1}
    server = Server([symbols], **{f"SENSORIUM_{name}": str(value) for name, value in told.items()})
    yield server
    server.stop()


@contextlib.contextmanager
def begun(server, length=None, first=b""):
    """A POST to /search whose body has begun."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as one:
        how = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
        head = f"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{how}\r\n\r\n"
        one.sendall(head.encode() + first)
        yield one


def answer(one) -> tuple[int, dict[str, str], dict]:
    """Status, headers and problem of the answer that comes, after which the connection is closed or kept."""
    kept = b""
    while b"\r\n\r\n" not in kept:
        kept += (more := one.recv(65536))
        assert more, kept
    head, _, body = kept.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += one.recv(65536)
    return int(first.split()[1]), headers, json.loads(body)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_bodies_of_all_connections_together_are_bounded(small):
    with begun(small, first=chunk(b" " * 60_000)) as first:
        time.sleep(0.3)  # it is under way
        with begun(small, length=50_000) as second:  # refused by what it announces
            status, headers, told = answer(second)
            assert (status, told["status"], headers["retry-after"]) == (503, 503, "1")
            assert "60000 bytes together" in told["detail"] and headers["content-type"] == "application/problem+json"
        with begun(small, first=chunk(b" " * 50_000)) as third:  # by what has come of it
            status, headers, told = answer(third)
            assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        with begun(small, length=30_000, first=b" " * 30_000) as fourth:  # there is room for this one
            assert answer(fourth)[0] == 422
        first.sendall(chunk(b'{"id": "nothing"}') + b"0\r\n\r\n")
        assert answer(first)[0] == 404
    with begun(small, length=90_000, first=b" " * 90_000) as whole:  # and for all of it again
        assert answer(whole)[0] == 422


def test_who_goes_in_the_midst_of_a_body_gives_its_room_back(small):
    for _ in range(3):
        with begun(small, first=chunk(b" " * 70_000)) as first:
            time.sleep(0.2)
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    for _ in range(50):
        with begun(small, length=90_000, first=b" " * 90_000) as whole:
            if (status := answer(whole)[0]) != 503:
                break
        time.sleep(0.1)
    assert status == 422


def test_a_body_that_stops_coming_is_given_up(small):
    with begun(small, length=1000, first=b"{") as one:
        status, headers, told = answer(one)
    assert (status, headers["connection"]) == (408, "close") and "nothing came of the body for 2 s" in told["detail"]


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: 127"])
def test_a_connection_that_asks_nothing_is_closed(small, said):
    with socket.create_connection(("127.0.0.1", small.port), 10) as one:
        one.sendall(said)
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(100) == b""


def test_room_for_less_than_one_request_cannot_be_meant():
    with pytest.raises(BadRecipe, match="SENSORIUM_MAX_BODIES=33554432 or more"):
        Settings(max_bodies=1000).check()


def test_a_budget_counts_only_what_it_took():
    budget = Budget(10)
    assert budget.take(6) and not budget.take(5) and budget.used == 6 and budget.fits(4) and not budget.fits(5)
    budget.give(6)
    assert budget.used == 0 and budget.take(10)
