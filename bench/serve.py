"""Search as a service against what one would write in an afternoon, by closed-loop load on the same machine.

    python -m bench.serve [--quick] [--seconds 10] [--connections 32] [--soak MINUTES] [--run runs/glyphs]

By vector: 50,000 × 512 unit vectors of 32 latent dimensions, a linear head, ten neighbours of one query a
request. The peer is bench/plain_server.py: FastAPI with a pydantic body over FAISS's HNSW32 (or flat) index; both
HNSW indexes search 64 wide.
"Unbatched" is our own server with batches of one. By text: a run whose right side takes text through MiniLM
(``--run``, by default one made here), a new sentence each request. Every server is a fresh process; the load
generator is another (bench/load.py). ``--soak`` reports the server's memory over so many minutes instead.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "SENSORIUM_LOG": "warning"}


MORE = {"exact": [], "faiss": ["index.ef_search=64"]}  # keys of the run of each kind of index


def make(folder: Path, rows: int, width: int, kinds: Sequence[str] = tuple(MORE)) -> None:
    """Vectors, a run for each kind of index, and the bodies of requests."""
    from sensorium import pipeline

    random = np.random.default_rng(0)
    turn = random.standard_normal((32, width), np.float32)

    def some(n: int) -> np.ndarray:
        x = random.standard_normal((n, 32), np.float32) @ turn + random.standard_normal((n, width), np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    right = some(rows)
    left = right + 0.02 * random.standard_normal(right.shape, np.float32)
    np.savez(folder / "pairs.npz", left=left, right=right, ids=np.array([f"r{i}" for i in range(rows)]))
    keys = [f"data.file={folder / 'pairs.npz'}", "data.left=left", "data.right=right", "data.ids=ids",
            "left.head=linear", "right.head=linear", "objective=procrustes"]  # fmt: skip
    for index in kinds:
        told = [*keys, f"index={index}", *MORE[index]]
        run = pipeline.run("arrays", told, out=folder / "runs" / index, quiet=True, stages=("index",))
    np.save(folder / "projected.npy", run.index("right").vectors(np.arange(rows)))
    queries = some(2000)
    projected = run.project("left", queries)
    for name, vectors in (("ours", queries), ("peer", projected)):
        told = {"from": "left"} if name == "ours" else {}
        lines = [json.dumps({"vector": v.tolist(), "k": 10, **told}).encode() for v in vectors.round(6)]
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(lines))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def serving(command: list[str], port: int, ready: str, **environment: str) -> Iterator[int]:
    """A server as a process of its own, until it answers; its process id."""
    process = subprocess.Popen(command, env={**ENVIRONMENT, **environment})
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=20).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"{command} ended") from None
                time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def ours(run: Path, port: int) -> list[str]:
    return [str(Path(sys.executable).with_name("sensorium")), "serve", str(run), "--port", str(port)]


def load(port: int, bodies: Path, connections: int, seconds: float) -> dict:
    command = [sys.executable, "-m", "bench.load", str(port), str(bodies), "--connections", str(connections)]
    done = subprocess.run([*command, "--seconds", str(seconds)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def line(name: str, found: dict, against: float | None) -> str:
    ratio = "" if against is None else f"{found['rate'] / against:.2f}×"
    tail = f"{found['p99.9'] / found['p99']:.1f}"
    return (
        f"| {name} | {found['rate']:,.0f} | {ratio} | {found['p50']:.1f} | {found['p99']:.1f} | {found['p99.9']:.1f} "
        f"| {tail} | {found['failures']} of {found['n']} |"
    )


HEAD = (
    "| server | requests/s | ratio | p50 ms | p99 ms | p99.9 ms | p99.9 / p99 | failed |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def by_vector(folder: Path, connections: int, seconds: float) -> None:
    """Our server over both indexes, batched and not, beside the plain ones."""
    found = {}
    for name, kind in (("plain FastAPI, FAISS HNSW32", "HNSW32"), ("plain FastAPI, FAISS flat", "Flat")):
        port = free_port()
        command = [sys.executable, "-m", "bench.plain_server", str(folder / "projected.npy"), kind, str(port)]
        with serving(command, port, "/openapi.json"):
            found[name] = load(port, folder / "peer.jsonl", connections, seconds)
    for name, run, batch in (("ours, HNSW32", "faiss", "64"), ("ours, exact, unbatched", "exact", "1"),
                             ("ours, exact", "exact", "64")):  # fmt: skip
        port = free_port()
        with serving(ours(folder / "runs" / run, port), port, "/readyz", SENSORIUM_BATCH=batch):
            found[name] = load(port, folder / "ours.jsonl", connections, seconds)
    against = {
        "plain FastAPI, FAISS HNSW32": None,
        "plain FastAPI, FAISS flat": None,
        "ours, HNSW32": found["plain FastAPI, FAISS HNSW32"]["rate"],
        "ours, exact, unbatched": found["plain FastAPI, FAISS flat"]["rate"],
        "ours, exact": found["ours, exact, unbatched"]["rate"],
    }
    print(f"\n{connections} connections, {seconds:g} s each; ratios: HNSW to the plain HNSW, unbatched to the plain")
    print(f"flat, exact to its unbatched self\n\n{HEAD}")
    for name, rate in against.items():
        print(line(name, found[name], rate))


def by_text(run: Path, folder: Path, connections: int, seconds: float) -> None:
    """Sentences through MiniLM, encoded in batches and one by one."""
    random = np.random.default_rng(0)
    words = [
        "arrow",
        "circle",
        "heart",
        "letter",
        "small",
        "black",
        "white",
        "heavy",
        "double",
        "left",
        "right",
        "sign",
    ]
    lines = [json.dumps({"text": " ".join(random.choice(words, 6)), "k": 10}).encode() for _ in range(5000)]
    (folder / "texts.jsonl").write_bytes(b"\n".join(lines))
    found = {}
    for name, batch in (("one by one", "1"), ("in batches", "64")):
        port = free_port()
        with serving(ours(run, port), port, "/readyz", SENSORIUM_BATCH=batch):
            found[name] = load(port, folder / "texts.jsonl", connections, seconds)
    print(f"\nText through MiniLM, {connections} connections\n\n{HEAD}")
    print(line("one by one", found["one by one"], None))
    print(line("in batches", found["in batches"], found["one by one"]["rate"]))


def soak(folder: Path, connections: int, minutes: float) -> None:
    """Memory of the server under load, over time."""
    port = free_port()
    with serving(ours(folder / "runs" / "exact", port), port, "/readyz") as pid:
        print("\n| minute | requests/s | p99 ms | resident MB |\n| ---: | ---: | ---: | ---: |")
        step = min(1.0, minutes / 3)
        for i in range(round(minutes / step)):
            found = load(port, folder / "ours.jsonl", connections, 60 * step - 1)
            resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            print(f"| {(i + 1) * step:.1f} | {found['rate']:,.0f} | {found['p99']:.1f} | {resident / 1e6:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10,000 vectors, 3 s")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    parser.add_argument("--run", type=Path, help="a run whose text side is encoded by minilm")
    told = parser.parse_args()
    rows, seconds = (10_000, 3) if told.quick else (told.rows, told.seconds)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder, rows, 512)
        if told.soak:
            return soak(folder, told.connections, told.soak)
        print(f"{rows:,} × 512, {os.cpu_count()} cores")
        by_vector(folder, told.connections, seconds)
        run = told.run
        if run is None:
            import sensorium

            run = sensorium.run("glyphs", out=folder / "text" / "glyphs", quiet=True).folder
        by_text(run, folder, told.connections, seconds)
    return None


if __name__ == "__main__":
    main()
