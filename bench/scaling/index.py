"""Millions of vectors on one machine: faiss on disk, and milvus-lite: build, recall, latency and memory.

    python -m bench.scaling.index [--n 10000000] [--engine faiss_disk|milvus] [--folder FOLDER [--reuse]] [--nprobe 16]

Vectors (n, 256) are made in blocks and kept as float16: √n clusters, 16 causes of each vector through one random map,
noise, unit length. Queries are further ones made alike. recall@10: share of the 10 exact neighbours of 200 queries.
Latency: p95 of 2,000 queries, by one client, and by 32 at once whose queries are answered together, as a served run
does. flat: the peer, an exact scan of the same file in blocks, in the same process and on the same queries.
cpu_ms_query: processor time of the process a query, with 32 clients; unlike the latency it holds on a busy machine too.
With --reuse, what an earlier call left in the folder is used: the vectors, the right rows, the index.
Memory: the largest anonymous (private) memory of the process that /proc says, sampled, while building and searching;
pages of memory-mapped files are the kernel's to drop. Without --reuse, what is built
is deleted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np

from sensorium import io, parts

DIM, CAUSES, BLOCK = 256, 16, 100_000


def made(n: int, seed: int, clusters: int) -> np.ndarray:
    fixed, random = np.random.default_rng(0), np.random.default_rng(seed)
    centres = fixed.standard_normal((clusters, DIM), dtype=np.float32) / np.float32(DIM**0.5)
    mixing = fixed.standard_normal((CAUSES, DIM), dtype=np.float32) / np.float32((CAUSES * DIM) ** 0.5)
    rows = centres[random.integers(0, clusters, n)]
    rows += np.float32(0.5) * random.standard_normal((n, CAUSES), dtype=np.float32) @ mixing
    rows += np.float32(0.3 / DIM**0.5) * random.standard_normal((n, DIM), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Memory:
    """The largest anonymous memory of the process, in MB, since the last reset."""

    def __init__(self) -> None:
        self.most = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    self.most = max(self.most, int(line.split()[1]) / 1024)
            time.sleep(0.05)

    def reset(self) -> float:
        most, self.most = self.most, 0.0
        return most


def exact(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """The k nearest (q, k) of all queries, and seconds a query of a scan for one query alone."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.zeros((len(queries), k), np.int64)
    for start in range(0, len(vectors), BLOCK):
        some = queries @ np.asarray(vectors[start : start + BLOCK], np.float32).T
        at = np.argpartition(-some, k, axis=1)[:, :k]
        value = np.concatenate([best, np.take_along_axis(some, at, 1)], axis=1)
        both = np.concatenate([rows, at + start], axis=1)
        order = np.argsort(-value, axis=1)[:, :k]
        best, rows = np.take_along_axis(value, order, 1), np.take_along_axis(both, order, 1)
    start_time = time.perf_counter()
    for start in range(0, len(vectors), BLOCK):
        np.asarray(vectors[start : start + BLOCK], np.float32) @ queries[0]
    return rows, time.perf_counter() - start_time


def clients(index: object, queries: np.ndarray, count: int, each: int) -> tuple[float, float]:
    """p95 in ms of queries by some clients at once, and processor ms of the process a query.

    Those that wait at the same time are answered together.
    """
    used = time.process_time()
    waiting: SimpleQueue = SimpleQueue()
    taken: list[float] = []
    left = threading.Semaphore(0)

    def serve() -> None:
        while True:
            batch = [waiting.get()]
            while len(batch) < 64:
                try:
                    batch.append(waiting.get_nowait())
                except Empty:
                    break
            if batch[0] is None:
                return
            index.search(np.stack([one[0] for one in batch]), 10)
            for _, done in batch:
                done.set()

    def ask(seed: int) -> None:
        for i in range(each):
            done, start = threading.Event(), time.perf_counter()
            waiting.put((queries[(seed * each + i) % len(queries)], done))
            done.wait()
            taken.append(time.perf_counter() - start)
        left.release()

    server = threading.Thread(target=serve)
    server.start()
    for seed in range(count):
        threading.Thread(target=ask, args=(seed,)).start()
    for _ in range(count):
        left.acquire()
    waiting.put(None)
    server.join()
    return float(np.percentile(taken, 95) * 1000), (time.process_time() - used) * 1000 / len(taken)


def vectors_of(args: argparse.Namespace) -> tuple[np.ndarray, float]:
    """Make the vectors' file where it is not there, and what is right for 200 queries; the right rows, and seconds of a
    scan for one query."""
    clusters, truth = int(args.n**0.5), args.folder / "truth.npy"
    if args.reuse and truth.is_file():
        return np.load(truth), json.loads((args.folder / "scan.json").read_text())
    vectors = np.lib.format.open_memmap(args.folder / "made.npy", "w+", np.float16, (args.n, DIM))
    for i, start in enumerate(range(0, args.n, BLOCK)):
        stop = min(start + BLOCK, args.n)
        vectors[start:stop] = made(stop - start, i + 1, clusters)
    right, scan = exact(vectors, made(args.queries, 10**6, clusters)[:200], 10)
    (args.folder / "scan.json").write_text(json.dumps(scan))
    np.save(truth, right)
    return right, scan


def build(args: argparse.Namespace, memory: Memory) -> dict[str, object]:
    """Build and save the index; what that took."""
    vectors = np.load(args.folder / "made.npy", mmap_mode="r")
    memory.reset()
    setting = {"precision": "float16"} if args.engine == "faiss_disk" else {}
    index = parts.make("indexes", {"name": args.engine, **setting})
    start, used = time.perf_counter(), time.process_time()
    step = args.n if args.engine == "faiss_disk" else BLOCK
    wide = f"<U{len(str(args.n))}"
    for at in range(0, args.n, step):
        stop = min(at + step, args.n)
        index.add(np.arange(at, stop).astype(wide), vectors[at:stop])
    with io.publish(args.folder / "index") as building:
        index.save(building)
    size = sum(p.stat().st_size for p in (args.folder / "index").rglob("*") if p.is_file())
    return {"engine": args.engine, "n": args.n, "build_seconds": round(time.perf_counter() - start, 1),
            "build_cpu_seconds": round(time.process_time() - used, 1), "build_MB": round(memory.reset()),
            "index_GB": round(size / 1e9, 2)}  # fmt: skip


def measure(args: argparse.Namespace, memory: Memory, truth: np.ndarray, scan: float) -> list[dict[str, object]]:
    """Recall, latency by one client and by 32, processor time of a query, and memory, of a saved index."""
    queries = made(args.queries, 10**6, int(args.n**0.5))
    index = parts.find("indexes", args.engine).load(args.folder / "index")
    found = []
    for breadth in args.nprobe if args.engine == "faiss_disk" else [128]:
        if args.engine == "faiss_disk":
            index.nprobe = breadth
        rows = index.search(queries[:200], 10).rows
        recall = float(np.mean((truth[:, :, None] == rows[:, None, :]).any(axis=2)))
        clients(index, queries, 1, 200)
        memory.reset()
        one, _ = clients(index, queries, 1, len(queries))
        many, used = clients(index, queries, 32, max(1, len(queries) // 32))
        found.append({"breadth": breadth, "recall@10": round(recall, 4), "p95_ms_1": round(one, 2),
                      "p95_ms_32": round(many, 2), "cpu_ms_query": round(used, 3), "flat_ms": round(1000 * scan, 1),
                      "search_MB": round(memory.reset())})  # fmt: skip
        print(json.dumps(found[-1]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--engine", choices=("faiss_disk", "milvus"), default="faiss_disk")
    parser.add_argument("--folder", type=Path, default=Path("scale-index"))
    parser.add_argument("--nprobe", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--reuse", action="store_true", help="use what the folder holds, and leave it there")
    parser.add_argument("--quick", action="store_true", help="20,000 vectors")
    args = parser.parse_args()
    if args.quick:
        args.n, args.queries = 20_000, 300
    args.folder.mkdir(parents=True, exist_ok=True)
    memory = Memory()
    truth, scan = vectors_of(args)
    if not (args.reuse and (args.folder / "index").is_dir()):
        print(json.dumps(build(args, memory)), flush=True)
        (args.folder / "made.npy").unlink()  # the index has a file of its own
    measure(args, memory, truth, scan)
    if not args.reuse:
        shutil.rmtree(args.folder)


if __name__ == "__main__":
    main()
