"""Append and read rate of a store against raw np.save and np.load and against the disk, in the same run.

    python -m bench.store [--quick] [--rows 400000] [--dim 512] [--shards 8]

Everything is durable before the clock stops: the peers are followed by fsync, as our own files are.
"disk" writes the same number of bytes to one file in 4 MB pieces and fsyncs it. Reads come from the
page cache (it is asked to drop the files before the "cold" rows). A gather is 4,096 rows drawn at
random without order from all shards. Peak is the memory a fresh process needs to read every block
of the store in order, over what its imports took (RssAnon: pages of mapped files count for nobody).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sensorium import store
from sensorium.types import blocks

GATHER = 4096
MADE_BY = {"name": "bench"}
READER = """
import re, sys
from sensorium import store
import pyarrow.parquet
from sensorium.types import blocks
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
before = anonymous()
vectors = store.open(sys.argv[1], full=False).vectors
peak = total = 0
for block in blocks(len(vectors), 8192):
    total += float(vectors[block].sum())
    peak = max(peak, anonymous() - before)
print(peak)
"""


def timed(work: Callable[[], object], repeats: int = 3, before: Callable[[], object] | None = None) -> float:
    """Median seconds."""
    seconds = []
    for _ in range(repeats):
        if before:
            before()
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def durable_save(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def raw_write(path: Path, size: int) -> None:
    piece = os.urandom(1 << 22)
    with open(path, "wb", buffering=0) as file:
        for start in range(0, size, len(piece)):
            file.write(piece[: min(len(piece), size - start)])
        os.fsync(file.fileno())


def append_all(folder: Path, ids: np.ndarray, vectors: np.ndarray, shards: int) -> None:
    """One store of ``shards`` shards, committed one by one, as embedding does."""
    for rows in blocks(len(ids), -(-len(ids) // shards)):
        store.append(folder, ids[rows], vectors[rows], MADE_BY)


def drop_cache(folder: Path) -> None:
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def scan(rows: object) -> float:
    """Touch every row, block by block."""
    return sum(float(np.asarray(rows[block])[:, ::16].sum()) for block in blocks(len(rows), 8192))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=400_000)
    options.add_argument("--dim", type=int, default=512)
    options.add_argument("--shards", type=int, default=8)
    options.add_argument("--folder", help="where to write, by default the system's temporary folder")
    options.add_argument("--quick", action="store_true")
    chosen = options.parse_args()
    n, d = (20_000, 128) if chosen.quick else (chosen.rows, chosen.dim)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n, d), np.float32)
    ids = np.array([f"clip{i:08d}" for i in range(n)])
    megabytes = vectors.nbytes / 1e6
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        rows = measure(Path(name), ids, vectors, chosen.shards, rng)
    print(f"{n:,} × {d} float32, {megabytes:,.0f} MB, {chosen.shards} shards\n")
    print("| what | store | np.save / np.load | ratio | disk |\n|---|---|---|---|---|")
    for what, ours, peer, disk, unit in rows:
        rate = (lambda s: f"{megabytes / s:,.0f} MB/s") if unit == "rate" else (lambda s: f"{1000 * s:.1f} ms")
        against = "" if disk is None else f"{rate(disk)} (ratio {disk / ours:.2f})"
        print(f"| {what} | {rate(ours)} | {rate(peer)} | {peer / ours:.2f} | {against} |")


def measure(
    folder: Path, ids: np.ndarray, vectors: np.ndarray, shards: int, rng: np.random.Generator
) -> list[tuple[str, float, float, float | None, str]]:
    ours, many, peer, raw = folder / "store", folder / "many", folder / "peer.npy", folder / "raw"
    results = []
    disk = timed(lambda: raw_write(raw, vectors.nbytes))
    saved = timed(lambda: durable_save(peer, vectors))
    once = timed(lambda: store.append(ours, ids, vectors, MADE_BY), before=lambda: shutil.rmtree(ours, True))
    several = timed(lambda: append_all(many, ids, vectors, shards), before=lambda: shutil.rmtree(many, True))
    results.append(("append, one call", once, saved, disk, "rate"))
    results.append((f"append, {shards} calls", several, saved, disk, "rate"))
    raw.unlink()
    cold_ours = timed(lambda: scan(store.open(many, full=False).vectors), before=lambda: drop_cache(many))
    cold_peer = timed(lambda: scan(np.load(peer, mmap_mode="r")), before=lambda: drop_cache(folder))
    results.append(("open and read in order, cold", cold_ours, cold_peer, None, "rate"))
    loaded, opened = np.load(peer, mmap_mode="r"), store.open(many, full=False).vectors
    results.append(("read in order, cached", timed(lambda: scan(opened)), timed(lambda: scan(loaded)), None, "rate"))
    picks = [rng.integers(0, len(ids), GATHER) for _ in range(21)]
    results.append((f"gather {GATHER:,} rows", statistics.median(timed(lambda p=p: opened[p], 1) for p in picks),
                    statistics.median(timed(lambda p=p: loaded[p], 1) for p in picks), None, "time"))  # fmt: skip
    results.append(("open", timed(lambda: store.open(many, full=False), 5),
                    timed(lambda: np.load(peer, mmap_mode="r"), 5), None, "time"))  # fmt: skip
    peak = subprocess.run([sys.executable, "-c", READER, many], capture_output=True, text=True, check=True).stdout
    print(f"peak of reading it all in a fresh process: {float(peak):.0f} MB anonymous, "
          f"of {vectors.nbytes / 1e6:,.0f} MB of vectors; every checksum verified in "
          f"{timed(lambda: store.verify(many), 1):.2f} s")  # fmt: skip
    return results


if __name__ == "__main__":
    main()
