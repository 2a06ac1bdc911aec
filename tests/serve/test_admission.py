"""Places and bytes of one client and of all: arithmetic, and slow bodies on real sockets."""

import asyncio
import contextlib
import json
import socket
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import Server

from sensorium.serve.admission import Budget, Place, Places, client_of

pytestmark = pytest.mark.xdist_group("serve")


def test_one_client_takes_no_more_than_its_share():
    places = Places(10, 0.3)
    mine = [places.enter("10.0.0.1") for _ in range(4)]
    assert [one is not None for one in mine] == [True, True, True, False] and len(places) == 3
    others = [places.enter(f"10.0.1.{i}") for i in range(8)]
    assert [one is not None for one in others] == [True] * 7 + [False] and len(places) == 10
    places.leave(mine[0])
    assert places.enter("10.0.0.9") is not None and places.enter("10.0.0.1") is None
    assert Places(1, 0.001).most == 1, "a share is at least one place"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), max_size=40), st.data())
def test_a_budget_never_exceeds_its_limits_and_comes_back_to_nothing(wanted, data):
    budget, taken = Budget(20, 10), []
    for client, size in wanted:
        if budget.take(size, client):
            taken.append((client, size))
        assert budget.used == sum(size for _, size in taken) <= 20
        assert all(sum(s for c, s in taken if c == one) <= 10 for one in "abc")
        if taken and data.draw(st.booleans()):
            budget.give(*reversed(taken.pop(data.draw(st.integers(0, len(taken) - 1)))))
    for client, size in taken:
        budget.give(size, client)
    assert budget.used == 0 and budget.fits(20) and budget.fits(10, "a") and not budget.fits(11, "a")


def test_a_body_that_is_still_coming_gives_way_and_others_do_not(monkeypatch):
    async def main():
        places = Places(2, 1.0)
        slow, whole = places.enter("a"), places.enter("b")
        assert places.enter("c") is None, "none is old enough"
        slow.began -= 5
        whole.began -= 9
        assert places.enter("c") is None, "no body is being waited for"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60) as slow.waiting:
                assert not places.evict("b") and places.evict("a")
                assert not places.evict(), "once is enough"
                await asyncio.sleep(30)
        assert slow.evicted and not whole.evicted

    asyncio.run(main())


def test_clients_are_told_apart_by_address():
    def of(host):
        return client_of({"client": (host, 1)})

    assert of("10.0.0.1") != of("10.0.0.2") and client_of({}) == client_of({"client": None}) == ""
    assert of("2001:db8::1") == of("2001:db8::ffff:1") != of("2001:db8:0:1::1"), "IPv6 by networks of 64 bits"
    assert of("fe80::1%eth0") == of("fe80::2%eth0") and of("not:an:address") == "not:an:address"
    assert Place("a") != Place("a")


@pytest.fixture(scope="module")
def narrow(symbols):
    """A server of ten places."""
    told = {"BUSY": 10, "CLIENT_SHARE": 1, "BODY_SECONDS": 20, "BODY_TOTAL_SECONDS": 4, "LOG": "info"}
    server = Server([symbols], **{f"SENSORIUM_{name}": str(value) for name, value in told.items()})
    yield server
    server.stop()


def drip(server, stack):
    one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
    head = (
        "POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n{"
    )
    one.sendall(head.encode())
    return one


@pytest.mark.slow
def test_dripping_bodies_shut_nobody_out(narrow):
    with contextlib.ExitStack() as stack:
        slow = [drip(narrow, stack) for _ in range(10)]
        time.sleep(1.3)
        for _ in range(3):
            for one in slow:
                with contextlib.suppress(OSError):
                    one.sendall(b" ")
            for path in ("/healthz", "/readyz", "/runs"):
                assert httpx.get(narrow.url + path, timeout=20).status_code == 200, path
            assert httpx.post(narrow.url + "/search", json={"id": "U+2665", "k": 1}, timeout=20).status_code == 200
        refused = [json.loads(answer.partition(b"\r\n\r\n")[2]) for one in slow if (answer := told(one))]
        assert refused and {one["status"] for one in refused} == {408}
        assert any("another request" in one["detail"] for one in refused)


def told(one) -> bytes:
    one.settimeout(0.05)
    try:
        return one.recv(65536)
    except OSError:
        return b""


@pytest.mark.slow
def test_a_body_has_a_total_time(narrow):
    with contextlib.ExitStack() as stack:
        one, start, answer = drip(narrow, stack), time.monotonic(), b""
        while not answer:
            one.sendall(b" ")
            answer = told(one)
            time.sleep(0.1)
            assert time.monotonic() - start < 20
        assert time.monotonic() - start > 3 and b"did not come within 4 s" in answer


def test_probes_are_answered_when_all_places_are_taken(symbols):
    from starlette.testclient import TestClient

    from sensorium.serve import Settings, create_app

    app = create_app([symbols], Settings(log="off", busy=1))
    with TestClient(app, base_url="http://localhost") as client:
        place = app.state.context.meter.places.enter("10.0.0.1")
        assert client.get("/runs").status_code == 503
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        app.state.context.meter.places.leave(place)
        assert client.get("/runs").status_code == 200
