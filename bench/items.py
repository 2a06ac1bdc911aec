"""Items added to a served run: one request for each, and streams of JSON lines, while nothing and while searches run.

    python -m bench.items [--quick] [--items 10000] [--width 384] [--rows 50000]

The run has ``--rows`` items of 384 numbers and a linear head; items are sent as vectors. Every answer means that its
items are on the disk. "One by one" sends POST /items over one kept connection; "stream" one request of all items;
"atomic" the same with all items or none. The server is a process of its own; memory is its resident set.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
from bench.serve import free_port, serving


def make(folder: Path, rows: int, width: int) -> Path:
    """A run of random vectors and a linear map of them."""
    from sensorium import pipeline

    random = np.random.default_rng(0)
    left = random.standard_normal((rows, width), np.float32)
    right = left + 0.1 * random.standard_normal((rows, width), np.float32)
    np.savez(folder / "pairs.npz", left=left, right=right, ids=np.array([f"r{i}" for i in range(rows)]))
    keys = [f"data.file={folder / 'pairs.npz'}", "data.left=left", "data.right=right", "data.ids=ids",
            "left.head=linear", "right.head=linear", "objective=procrustes"]  # fmt: skip
    pipeline.run("arrays", keys, out=folder / "runs" / "run", quiet=True, stages=("index",))
    return folder / "runs" / "run"


def lines(prefix: str, count: int, width: int) -> list[bytes]:
    """Items as JSON, one each."""
    vectors = np.random.default_rng(1).standard_normal((count, width)).round(5)
    return [
        json.dumps({"side": "right", "id": f"{prefix}{i}", "vector": v.tolist()}).encode()
        for i, v in enumerate(vectors)
    ]


def resident(pid: int) -> float:
    """MiB of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        told = dict(line.split(":", 1) for line in file)
    return int(told["VmRSS"].split()[0]) / 1024


class Searching:
    """A client that searches again and again; milliseconds of each search."""

    def __init__(self, url: str, width: int) -> None:
        self.url, self.ms, self._end = url, [], threading.Event()
        self._body = {"vector": np.ones(width).tolist(), "from": "left", "k": 10}
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Searching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while not self._end.is_set():
                begun = time.perf_counter()
                client.post("/search", json=self._body).raise_for_status()
                self.ms.append(1000 * (time.perf_counter() - begun))
                time.sleep(0.005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows and items")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--rows", type=int, default=50_000)
    told = parser.parse_args()
    rows, single = (5_000, 200) if told.quick else (told.rows, 1000)
    kind = {"content-type": "application/x-ndjson"}
    with tempfile.TemporaryDirectory() as folder:
        run, port = make(Path(folder), rows, told.width), free_port()
        command = [str(Path(sys.executable).with_name("sensorium")), "serve", str(run), "--port", str(port)]
        url = f"http://127.0.0.1:{port}"
        with serving(command, port, "/readyz") as pid, httpx.Client(base_url=url, timeout=600) as client:
            ones = lines("one", single, told.width)
            begun = time.perf_counter()
            for one in ones:
                client.post("/items", content=one, headers={"content-type": "application/json"}).raise_for_status()
            alone = single / (time.perf_counter() - begun)
            print(f"one by one      {alone:8,.0f} items/s")
            for name, query, searching in (("stream", {}, False), ("atomic", {"atomic": "true"}, False),
                                           ("stream, searched", {}, True)):  # fmt: skip
                body, before = b"\n".join(lines(name.replace(" ", ""), told.items, told.width)), resident(pid)
                with Searching(url, told.width) as searches:
                    if not searching:
                        searches._end.set()
                    else:
                        time.sleep(2)
                        quiet, searches.ms = searches.ms, []
                    begun = time.perf_counter()
                    answer = client.post("/items", content=body, headers=kind, params=query)
                    seconds = time.perf_counter() - begun
                    while_adding = list(searches.ms)
                answer.raise_for_status()
                assert answer.json()["added"] == told.items, answer.text
                rate = told.items / seconds
                print(f"{name:<16}{rate:8,.0f} items/s, {rate / alone:.1f} × one by one; body {len(body) / 2**20:.0f} "
                      f"MiB, memory {before:.0f} → {resident(pid):.0f} MiB")  # fmt: skip
                if searching:
                    p50, p95 = np.percentile(while_adding, (50, 95))
                    print(f"  {len(while_adding)} searches meanwhile: p50 {p50:.1f} ms, p95 {p95:.1f} ms; "
                          f"without: p50 {np.percentile(quiet, 50):.1f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
