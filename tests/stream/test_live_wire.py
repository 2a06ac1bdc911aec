"""The socket itself: huge and half messages, who is held back, who takes nothing, who only gives orders."""

import base64
import contextlib
import json
import os
import socket
import struct
import time

import numpy as np
import pytest
from live_server import RATE, Server, speak

BINARY, TEXT, CLOSE = 2, 1, 8


class Raw:
    """A client that says what a proper library would not."""

    def __init__(
        self, server: Server, path: str = "/stream?format=s16", receive: int | None = None, address: str = ""
    ) -> None:
        self.socket = socket.socket()
        if address:
            self.socket.bind((address, 0))
        if receive is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.settimeout(20)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]  # fmt: skip
        self.socket.sendall("\r\n".join(lines).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(1)
        assert b" 101 " in head

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, kind: int, data: bytes, declared: int | None = None) -> None:
        """One frame, or the beginning of one that is declared to be longer."""
        size = len(data) if declared is None else declared
        head = bytes([0x80 | kind])
        head += bytes([0x80 | size]) if size < 126 else bytes([0xFF]) + struct.pack(">Q", size)
        self.socket.sendall(head + bytes(4) + data)

    def more(self, size: int) -> None:
        """Zeros, as long as they are taken."""
        for _ in range(size >> 16):
            try:
                self.socket.sendall(bytes(1 << 16))
            except OSError:
                return

    def closed(self) -> int:
        """The code with which the server closes."""
        while True:
            kind, data = self.frame()
            if kind == CLOSE:
                return struct.unpack(">H", data[:2])[0]

    def frame(self) -> tuple[int, bytes]:
        head = self.exactly(2)
        size = head[1]
        if size == 126:
            (size,) = struct.unpack(">H", self.exactly(2))
        return head[0] & 15, self.exactly(size)

    def exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            found += (more := self.socket.recv(size - len(found)))
            assert more, "closed without a word"
        return found


def used(server: Server, least: int) -> None:
    """Wait until at least so many bytes are counted as under way; 0: until nothing and nobody is left."""
    budget, open_sockets = server.app.state.context.budget, server.server.server_state.connections
    for _ in range(200):
        if budget.used >= least if least else not budget.used and not open_sockets:
            return
        time.sleep(0.05)
    raise AssertionError((budget.used, open_sockets))


@pytest.fixture(scope="module")
def small(voice_run):
    """A server with room for two million bytes."""
    server = Server(voice_run.folder, max_body=1_000_000, upload=1_000_000, max_bodies=2_000_000, message=100_000,
                    slow=0.5, client_share=1.0)  # fmt: skip
    yield server
    server.stop()


def test_what_all_sockets_send_is_bounded_together(small):
    with Raw(small, "/ws") as first, Raw(small, "/ws") as second, Raw(small, "/ws") as third:
        for one in (first, second):
            one.send(TEXT, bytes(800_000), declared=800_001)
        used(small, 1_600_000)  # whose bytes are read last is turned away, and that is to be the third
        third.send(TEXT, b"", declared=900_000)
        third.more(900_000)
        assert third.closed() == 1013
    used(small, 0)
    with Raw(small, "/ws") as fourth:
        fourth.send(TEXT, b"[" + b" " * 900_000)
        assert b"this is no JSON" in fourth.frame()[1]
    used(small, 0)


def test_a_huge_message_is_ended_before_it_is_here(small):
    with Raw(small) as stream:
        stream.send(BINARY, b"", declared=900_000)
        stream.more(900_000)
        assert stream.closed() == 1009
    with Raw(small) as stream:  # and what no limit allows, as soon as it is announced
        stream.send(BINARY, b"", declared=1 << 60)
        assert stream.closed() == 1009
    used(small, 0)


def test_half_a_message_is_not_waited_for(serving):
    server = serving(body_seconds=0.5)
    with Raw(server, "/ws") as one:
        one.send(TEXT, b"{", declared=1000)
        assert one.closed() == 1008
    used(server, 0)


def test_a_message_that_drips_is_not_waited_for(serving):
    """A byte now and then, each in time by itself."""
    server = serving(body_seconds=5, body_total_seconds=1)
    with Raw(server, "/ws") as one:
        one.send(TEXT, b"{", declared=100_000)
        one.socket.settimeout(0.2)
        for _ in range(100):
            with contextlib.suppress(OSError):
                one.socket.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                kind, data = one.frame()
                assert (kind, struct.unpack(">H", data[:2])[0]) == (CLOSE, 1008)
                break
        else:
            raise AssertionError("still waited for")
    used(server, 0)


@pytest.mark.parametrize("path", ["/stream?format=s16", "/ws"])
def test_one_address_leaves_places_to_the_others(serving, path):
    server = serving(streams=4, client_share=0.5)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            one = stack.enter_context(Raw(server, path))
            if path != "/ws":
                assert b'"ready"' in one.frame()[1]
        greedy = stack.enter_context(Raw(server, path))
        assert b"as many as this server takes from one address" in greedy.frame()[1]
        assert greedy.closed() == 4429
        other = stack.enter_context(Raw(server, path, address="127.0.0.2"))
        if path == "/ws":
            other.send(TEXT, b"[]")
            assert b"unknown action" in other.frame()[1]
        else:
            assert b'"ready"' in other.frame()[1]
    used(server, 0)
    with Raw(server, path) as again:  # the places were given back
        again.send(TEXT, b"[]")
        assert b"as many as" not in again.frame()[1]


def test_bytes_of_one_address_leave_room_for_the_others(voice_run):
    server = Server(voice_run.folder, max_body=500_000, upload=500_000, max_bodies=2_000_000, client_share=0.5)
    try:
        with Raw(server, "/ws") as first, Raw(server, "/ws") as second, Raw(server, "/ws") as third:
            for one in (first, second):
                one.send(TEXT, bytes(450_000), declared=450_001)
            used(server, 900_000)
            third.send(TEXT, b"", declared=450_000)
            third.more(450_000)
            assert third.closed() == 1013
            with Raw(server, "/ws", address="127.0.0.2") as other:
                other.send(TEXT, b"[" + b" " * 450_000)
                assert b"this is no JSON" in other.frame()[1]
        used(server, 0)
    finally:
        server.stop()


def test_pings_count_for_nothing(small):
    with Raw(small) as stream:
        for _ in range(3000):  # with what surrounds them, more than a message may have
            stream.send(9, b"a" * 100)
        stream.send(TEXT, b'{"type":"end"}')
        while (found := stream.frame())[0] != TEXT or b"final" not in found[1]:
            pass
    used(small, 0)


def test_a_sender_who_is_held_back_is_not_taken_for_dead(voice_run, serving):
    server = serving(speed=2, burst=0.2)
    config = server.server.config
    config.ws_ping_interval = 0.2
    if config.ws_ping_timeout is not None:
        config.ws_ping_timeout = 0.2
    x = np.round(speak(4.0) * 32767).astype("<i2")
    with server.stream(format="s16") as stream:  # its answers to pings wait behind two seconds of sound
        for chunk in np.array_split(x, 40):
            stream.socket.send(chunk.tobytes())
        final = stream.end()
    np.testing.assert_allclose(final["probabilities"], voice_run.classifier.offline([(x, RATE)])[0], atol=1e-5)


@pytest.mark.parametrize("path", ["/stream?format=s16&rate=1000", "/ws"])
def test_a_client_that_takes_nothing_is_cut_off(voice_run, path):
    server = Server(voice_run.folder, slow=0.3, speed=1e6, burst=1e6, idle=1e3)
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
    try:
        with Raw(server, path, receive=1024) as deaf:
            try:
                for _ in range(100):
                    if path == "/ws":
                        for _ in range(100):
                            deaf.send(TEXT, b'{"action": "fly"}')
                    else:
                        deaf.send(BINARY, np.random.default_rng(0).bytes(16_000))
            except OSError:
                pass  # cut off already
            used(server, 0)
    finally:
        server.stop()


def test_orders_of_one_do_not_make_the_others_wait(server):
    with server.stream() as busy, server.stream() as stream:
        for _ in range(400):
            busy.socket.send('{"type":"end"}')
        stream.socket.send(speak(0.5).astype("<f4").tobytes())
        assert stream.end()["emotion"]
        finals = 0
        while True:  # what had been answered to the busy one by then
            try:
                finals += json.loads(busy.socket.recv(0))["type"] == "final"
            except TimeoutError:
                break
        assert finals < 100
        for _ in range(400 - finals):
            busy.until("final")  # none is lost


def test_two_streams_that_are_opened_and_closed_leave_nothing(small):
    for _ in range(20):
        with Raw(small) as stream:
            stream.send(BINARY, bytes(3201))
            stream.send(TEXT, b'{"type":"reset"}')
    used(small, 0)
