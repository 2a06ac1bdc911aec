"""A cheap closed-loop HTTP load: c connections, each sends its next request once the last was answered.

python -m bench.load PORT BODIES --path /search --connections 32 --seconds 10

One process, raw sockets and epoll, requests made beforehand: about 25 µs of processor time a request.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import time
from pathlib import Path


def load(port: int, requests: list[bytes], connections: int, seconds: float, warm: float = 1.0) -> dict:
    """Latencies in ms of the requests that were answered after the first ``warm`` seconds, and their rate."""
    epoll, sockets = select.epoll(), {}
    turn, n = 0, len(requests)
    begun, got, need = {}, {}, {}
    for _ in range(connections):
        one = socket.create_connection(("127.0.0.1", port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[one.fileno()] = one
        epoll.register(one.fileno(), select.EPOLLIN)
    start = time.perf_counter()
    for fd, one in sockets.items():
        begun[fd], got[fd], need[fd] = time.perf_counter(), b"", 0
        one.sendall(requests[turn % n])
        turn += 1
    latencies, failures, counted_from = [], 0, start + warm
    end = start + warm + seconds
    while (now := time.perf_counter()) < end:
        for fd, _ in epoll.poll(1.0):
            data = sockets[fd].recv(1 << 18)
            if not data:
                raise SystemExit("the server closed a connection")
            held = got[fd] + data if got[fd] else data
            if not need[fd]:
                head = held.find(b"\r\n\r\n")
                if head < 0:
                    got[fd] = held
                    continue
                at = held.lower().find(b"content-length:", 0, head)
                need[fd] = head + 4 + int(held[at + 15 : held.find(b"\r\n", at)])
            if len(held) < need[fd]:
                got[fd] = held
                continue
            now = time.perf_counter()
            if now >= counted_from:
                latencies.append(now - begun[fd])
                failures += held[9:12] != b"200"
            begun[fd], got[fd], need[fd] = time.perf_counter(), b"", 0
            sockets[fd].sendall(requests[turn % n])
            turn += 1
    took = time.perf_counter() - counted_from
    latencies.sort()

    def at(share: float) -> float:
        return 1000 * latencies[min(len(latencies) - 1, int(share * len(latencies)))]

    return {"rate": len(latencies) / took, "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "p99.9": at(0.999),
            "most": at(1.0), "n": len(latencies), "failures": failures}  # fmt: skip


def request(path: str, body: bytes, port: int) -> bytes:
    """A POST of JSON as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("bodies", type=Path, help="one JSON body a line")
    parser.add_argument("--path", default="/search")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10)
    told = parser.parse_args()
    made = [request(told.path, body, told.port) for body in told.bodies.read_bytes().splitlines()]
    print(json.dumps(load(told.port, made, told.connections, told.seconds)))
