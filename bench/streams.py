"""Live streams that one server sustains: sound in over sockets, labels out, all streams in one model call or one each.

    python -m bench.streams [--run FOLDER] [--streams 1 100 200 300 400] [--seconds 10] [--quick]

A server process (``sensorium serve``) and a load generator process of its own, which sends 100 ms of 16-bit
sound at 16 kHz on each socket ten times a second, each socket at its own moment. The latency of a label is
counted from when the chunk that completes its sound was due to be sent, so that a late generator or a
queue before the socket counts too. Without --run, a run of ``ravdess-best`` on made-up voices is fitted first:
what it says is worthless, what it costs is not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RATE, CHUNK = 16_000, 0.1
LATE, ANSWERED = 0.25, 0.99  # seconds that p95 may reach, and the share of labels that must have come, to be sustained
HANDSHAKE = (
    "GET /stream?rate=16000&format=s16 HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def voice(seconds: float, seed: int) -> np.ndarray:
    """A gliding buzz with pauses and a little noise, (n,) int16."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    pitch = rng.uniform(90, 250) * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.3, 1.0) * t))
    buzz = 2 * ((np.cumsum(pitch) / RATE) % 1.0) - 1
    talking = np.sin(2 * np.pi * rng.uniform(0.3, 0.6) * t + rng.uniform(0, 6)) > -0.5
    return np.round(32767 * np.clip(0.2 * talking * buzz + 1e-3 * rng.normal(size=len(t)), -1, 1)).astype("<i2")


def made_up_run(folder: Path) -> Path:
    """The recipe ravdess-best fitted on a few made-up voices named as RAVDESS's."""
    import soundfile

    import sensorium

    for actor in range(1, 7):
        for emotion in range(1, 9):
            for repetition in (1, 2):
                path = folder / f"Actor_{actor:02}" / f"03-01-{emotion:02}-01-01-{repetition:02}-{actor:02}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, voice(1.5, hash((actor, emotion, repetition)) % 10_000), RATE, subtype="PCM_16")
    keys = [f"data.root={folder}", "data.test_actors=[5]", "data.validation_actors=[6]", "data.copies=0",
            "train.batch=32", "train.epochs=2", "evaluate.leaks=off"]  # fmt: skip
    sensorium.run("ravdess-best", keys, out=folder / "runs" / "made-up", quiet=True)
    return folder / "runs" / "made-up"


class Server:
    """``sensorium serve`` in a process of its own."""

    def __init__(self, run: Path, together: bool) -> None:
        code = "import sys; from sensorium.cli import main; sys.argv[0] = 'sensorium'; main()"
        command = [sys.executable, "-c", code, "serve", str(run), "--port", "0"]
        env = {**os.environ, "SENSORIUM_LIVE_TOGETHER": str(together).lower(), "COLUMNS": "200"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
        assert self.process.stderr is not None
        self.port = 0
        for line in self.process.stderr:
            if found := re.search(r"http://[\d.]+:(\d+)", line):
                self.port = int(found[1])
                break
        for _ in range(200):  # the address is told before anyone listens there
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                time.sleep(0.1)

    def usage(self) -> tuple[float, float]:
        """Seconds of processor time so far, and MiB of memory."""
        import psutil

        process = psutil.Process(self.process.pid)
        times = process.cpu_times()
        return times.user + times.system, process.memory_info().rss / 2**20

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class Client(asyncio.Protocol):
    """One socket: chunks out at their moments, labels in. A mask of zeros leaves its frames as they are."""

    def __init__(self, frames: list[bytes], host: str) -> None:
        self.frames, self.host = frames, host
        self.buffer, self.shaken = b"", False
        self.ready = asyncio.get_running_loop().create_future()
        self.start, self.sent, self.offset = 0.0, 0, 0
        self.found: list[tuple[float, float]] = []  # when a label was due, and how late it came
        self.closed = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(HANDSHAKE.format(host=self.host).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self.ready.done():
            self.ready.set_result(False)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self.buffer += data
        if not self.shaken:
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self.shaken, self.buffer = b" 101 " in head[:20], rest
        buffer, at = self.buffer, 0
        while len(buffer) - at >= 2:
            size, head = buffer[at + 1] & 127, 2
            if size == 126:
                size, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
            elif size == 127:
                size, head = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
            if len(buffer) - at < head + size:
                break
            self.message(buffer[at + head : at + head + size], now)
            at += head + size
        self.buffer = buffer[at:]

    def message(self, text: bytes, now: float) -> None:
        if text.startswith(b'{"type":"frames"'):
            t1 = float(_T1.search(text)[1])  # type: ignore[index]
            chunk = int(np.ceil(t1 / CHUNK - 1e-9)) - 1  # the one that completes this label's sound
            due = self.start + chunk * CHUNK
            self.found.append((due, now - due))
        elif text.startswith(b'{"type":"ready"'):
            self.ready.set_result(True)
        elif text.startswith(b'{"type":"error"'):
            print(text.decode(), file=sys.stderr)

    def send(self) -> None:
        self.transport.write(self.frames[(self.offset + self.sent) % len(self.frames)])
        self.sent += 1


_T1 = re.compile(rb'"t1":([\d.]+)')


def masked(payload: bytes) -> bytes:
    head = bytes([0x82, 0x80 | len(payload)]) if len(payload) < 126 else b"\x82\xfe" + len(payload).to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


async def load(port: int, streams: int, seconds: float, warm: float) -> dict[str, Any]:
    """Real-time streams for some seconds; latencies after the first ``warm`` of them."""
    chunks = [voice(20.0, seed).tobytes() for seed in range(8)]
    size = int(RATE * CHUNK) * 2
    sounds = [[masked(sound[i : i + size]) for i in range(0, len(sound), size)] for sound in chunks]
    loop, rng = asyncio.get_running_loop(), random.Random(0)
    clients = []
    for i in range(streams):
        _, client = await loop.create_connection(
            lambda i=i: Client(sounds[i % 8], f"127.0.0.1:{port}"), "127.0.0.1", port
        )
        client.offset = rng.randrange(200)
        clients.append(client)
    await asyncio.gather(*(client.ready for client in clients))
    begin = time.perf_counter() + 0.2
    for client in clients:
        client.start = begin + rng.random() * CHUNK
    order = sorted(clients, key=lambda client: client.start)
    late = 0.0
    for turn in range(int((warm + seconds) / CHUNK)):
        for client in order:
            due = client.start + turn * CHUNK
            if (wait := due - time.perf_counter()) > 0.0005:
                await asyncio.sleep(wait)
            late = max(late, time.perf_counter() - due)
            if not client.closed:
                client.send()
    await asyncio.sleep(1.0)
    waits = np.array([wait for c in clients for due, wait in c.found if due >= begin + warm])
    expected = streams * seconds / CHUNK
    for client in clients:
        client.transport.close()
    points = np.percentile(waits, [50, 95, 99]).tolist() if len(waits) else [float("inf")] * 3
    return {"streams": streams, "answered": len(waits) / max(1.0, expected), "late_generator": late,
            "closed": sum(c.closed for c in clients), "p50": points[0], "p95": points[1], "p99": points[2]}  # fmt: skip


def generate(port: int, streams: int, seconds: float, warm: float, told: Any) -> None:
    """The load generator's process."""
    try:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            told.send(runner.run(load(port, streams, seconds, warm)))
    except ImportError:
        told.send(asyncio.run(load(port, streams, seconds, warm)))


def measure(server: Server, streams: int, seconds: float, warm: float) -> dict[str, Any]:
    """One row: the load generator's findings, and the server's processor time a second and memory."""
    receive, send = multiprocessing.Pipe(False)
    process = multiprocessing.get_context("spawn").Process(
        target=generate, args=(server.port, streams, seconds, warm, send)
    )
    before, _ = server.usage()
    process.start()
    while not receive.poll(0.2):
        if not process.is_alive() and not receive.poll():
            raise RuntimeError("the load generator died")
        memory = server.usage()[1]
    row = receive.recv()
    process.join()
    after, _ = server.usage()
    return {**row, "cores": (after - before) / (warm + seconds), "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--run", type=Path, help="a run that streams; by default one on made-up voices")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 100, 200, 300, 400])
    parser.add_argument("--alone", type=int, nargs="+", default=[1, 50, 100, 200], help="streams of one call each")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warm", type=float, default=3.0)
    parser.add_argument("--json", action="store_true", help="the rows as JSON lines too")
    parser.add_argument("--quick", action="store_true", help="small: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.streams, args.alone, args.seconds, args.warm = [1, 10], [5], 2.0, 1.0
    with tempfile.TemporaryDirectory() as scratch:
        run = args.run or made_up_run(Path(scratch))
        print(f"{len(os.sched_getaffinity(0))} cores for server and load generator; run {run.name}\n")
        print("| model calls | streams | p50 ms | p95 ms | p99 ms | answered | server's cores | MiB | KiB a stream |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
        sustained = {True: 0, False: 0}
        for together, counts in ((True, args.streams), (False, args.alone)):
            server = Server(run, together)
            first = None
            try:
                for streams in counts:
                    row = measure(server, streams, args.seconds, args.warm)
                    first = first or row
                    if row["p95"] <= LATE and row["answered"] >= ANSWERED:
                        sustained[together] = max(sustained[together], streams)
                    more = (row["memory"] - first["memory"]) * 1024 / max(1, streams - first["streams"])
                    name = "one for all" if together else "one a connection"
                    print(f"| {name} | {streams} | {1e3 * row['p50']:.0f} | {1e3 * row['p95']:.0f} | "
                          f"{1e3 * row['p99']:.0f} | {100 * row['answered']:.1f}% | {row['cores']:.2f} | "
                          f"{row['memory']:.0f} | {more:.0f} |", flush=True)  # fmt: skip
                    if args.json:
                        print(json.dumps(row), file=sys.stderr)
            finally:
                server.stop()
        ratio = f"{sustained[True] / sustained[False]:.1f}×" if sustained[False] else "–"
        print(f"\nsustained with p95 ≤ {1e3 * LATE:.0f} ms and {ANSWERED:.0%} answered, of the counts tried: "
              f"{sustained[True]} in one call for all, {sustained[False]} in one call each: {ratio}")  # fmt: skip


if __name__ == "__main__":
    main()
