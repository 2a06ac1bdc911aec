"""A million clips of 768 numbers: recall, milliseconds a query, memory and build time of the index that a search uses.

    python -m bench.million_clips [--clips 1000000] [--factory IVF1024,SQ8] [--nprobe 4 8 …] [--queries 200] [--quick]

Clips are made: x = centre + causes A + noise, at unit length, with 2,000 random centres (speakers and styles), 32
causes of each clip through one random map A, and noise of all 768 numbers, of lengths 1 : SPREAD : NOISE. Queries are
further ones made alike, which are not in the index.

Each query is asked alone, as `sensorium search` and the page ask it, through the index part ``faiss``: candidates by
inner product of the quantised vectors, ordered by their exact scores. recall@10: share of the 10 exact neighbours.
flat: the peer, FAISS's exact search by inner product, in the same process and on the same queries. Memory: of the
process after the build, beside that before it, with the exact float32 vectors that the part keeps.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

DIM, CENTRES, CAUSES = 768, 2000, 32
SPREAD, NOISE = 0.5, 0.4
BLOCK = 20_000


def made(n: int, seed: int) -> np.ndarray:
    """Clips (n, 768) float32 at unit length; the centres and the map are the same ones for every seed."""
    fixed, random = np.random.default_rng(0), np.random.default_rng(seed)
    centres = fixed.standard_normal((CENTRES, DIM), dtype=np.float32) / np.float32(DIM**0.5)
    mixing = fixed.standard_normal((CAUSES, DIM), dtype=np.float32) / np.float32((CAUSES * DIM) ** 0.5)
    out = np.empty((n, DIM), np.float32)
    for start in range(0, n, BLOCK):
        rows = out[start : start + BLOCK]
        noise = random.standard_normal(rows.shape, dtype=np.float32)
        rows[:] = centres[random.integers(0, CENTRES, len(rows))] + np.float32(NOISE / DIM**0.5) * noise
        rows += np.float32(SPREAD) * random.standard_normal((len(rows), CAUSES), dtype=np.float32) @ mixing
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return out


def memory() -> float:
    """Gigabytes that the process holds now."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1e6


def timed(search, queries: np.ndarray) -> tuple[list[set[int]], np.ndarray]:
    """Rows found for each query, asked one by one, and the milliseconds of each."""
    search(queries[:1])
    found, spent = [], []
    for i in range(len(queries)):
        started = time.perf_counter()
        rows = search(queries[i : i + 1])
        spent.append(1e3 * (time.perf_counter() - started))
        found.append(set(np.asarray(rows).ravel().tolist()))
    return found, np.array(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--factory", default="IVF1024,SQ8")
    parser.add_argument("--nprobe", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="20,000 clips, 64 cells")
    args = parser.parse_args()
    if args.quick:
        args.clips, args.factory, args.queries = 20_000, "IVF64,SQ8", 50
    import faiss

    from sensorium import parts

    clips, queries = made(args.clips, 1), made(args.queries, 2)
    started, before = time.perf_counter(), memory()
    index = parts.make("indexes", {"name": "faiss", "factory": args.factory})
    index.add(np.arange(len(clips)).astype(str), clips)
    del clips  # the index keeps its own
    index.search(queries[:1], 10)
    build, held = time.perf_counter() - started, memory()
    size = faiss.serialize_index(index._built()).nbytes / 1e9
    metric = "inner product" if index._built().metric_type == faiss.METRIC_INNER_PRODUCT else "L2"
    print(f"{args.clips:,} clips, {args.factory}, {metric}, {faiss.omp_get_max_threads()} threads: built in "
          f"{build:.0f} s; {held:.1f} GB held, {before:.1f} before (the clips themselves), FAISS's own part {size:.2f}",
          flush=True)  # fmt: skip
    rows = index.vectors()
    exact, slow = timed(lambda q: faiss.knn(q, rows, 10, metric=faiss.METRIC_INNER_PRODUCT)[1], queries)
    print(f"  flat (exact)   {np.median(slow):8.2f} ms a query, 95% within {np.quantile(slow, 0.95):.2f}", flush=True)
    points = []
    for nprobe in args.nprobe:
        index.nprobe = nprobe
        found, spent = timed(lambda q: index.search(q, 10).rows, queries)
        recall = float(np.mean([len(a & b) / 10 for a, b in zip(exact, found, strict=True)]))
        points.append((nprobe, recall, np.median(spent), np.quantile(spent, 0.95)))
        _, recall, median, most = points[-1]
        print(f"  nprobe={nprobe:<4}    {median:8.2f} ms a query, 95% within {most:.2f}, recall@10 {recall:.3f}",
              flush=True)  # fmt: skip
    good = [row for row in points if row[1] >= 0.95]
    if good:
        nprobe, recall, ms, _ = min(good, key=lambda row: row[2])
        print(f"| a million clips | {args.factory}, nprobe {nprobe} | recall@10 {recall:.3f} | {ms:.2f} ms a query | "
              f"{np.median(slow) / ms:.0f}x flat | {held:.1f} GB | built in {build:.0f} s |")  # fmt: skip


if __name__ == "__main__":
    main()
