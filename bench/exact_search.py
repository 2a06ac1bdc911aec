"""Exact search among 100,000 × 512 against FAISS IndexFlatIP: the same hits, in less time.

    python -m bench.exact_search [--quick] [--rows 100000] [--width 512]

Both indexes hold the same unit vectors and answer the same queries for k = 10, each on all cores,
in turns of ten calls in one process; the time is the median call. Threads wait passively, since
the two libraries bring a thread pool each, which would otherwise spin in each other's way. Half of
the vectors lie in 200 clusters and half anywhere, and queries are noisy copies, as head outputs
are. "Same" is the share of hits with the id that FAISS gives; where it is not 1, float32 rounding
has swapped two neighbours in FAISS, and the last column says by how much scores differ at most
(ours are float64 sums rounded once, see sensorium.scores).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

BATCHES = (1, 8, 32, 256)
K = 10


def data(n: int, d: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (n, d) and queries near some of them."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((200, d), np.float32)
    vectors = random.standard_normal((n, d), np.float32)
    vectors[::2] = vectors[::2] * 0.7 + centres[random.integers(0, 200, len(vectors[::2]))]
    asked = vectors[random.integers(0, n, queries)] + 0.7 * random.standard_normal((queries, d), np.float32)
    return tuple(x / np.linalg.norm(x, axis=1, keepdims=True) for x in (vectors, asked))


def turn_by_turn(calls: list[Callable[[], object]], seconds: float) -> list[float]:
    """Median time of each call, in turns of ten, until each has had its seconds (at least two turns)."""
    taken: list[list[float]] = [[] for _ in calls]
    while len(taken[0]) < 20 or sum(taken[0]) < seconds:
        for times, call in zip(taken, calls, strict=True):
            for _ in range(10):
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)
    return [float(np.median(times)) for times in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10,000 rows: a smoke test, no claim")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    options = parser.parse_args()
    rows = 10_000 if options.quick else options.rows

    import faiss

    from sensorium.indexes.exact import Exact
    from sensorium.scores import cpu_features

    vectors, queries = data(rows, options.width, max(BATCHES))
    ids = np.arange(rows)
    flat = faiss.IndexFlatIP(options.width)
    flat.add(vectors)
    index = Exact()
    index.add(ids, vectors)
    use = cpu_features.measure()
    start = time.perf_counter()
    index.search(queries[:1], K)
    print(f"{rows:,} × {options.width}, k = {K}; int8 products: {use.int8}; first search, which codes the vectors:")
    print(f"{time.perf_counter() - start:.2f} s\n")
    print("| queries | ours ms | FAISS ms | ours queries/s | times faster | same | scores differ by |")
    print("|---|---|---|---|---|---|---|")
    for batch in BATCHES:
        q = queries[:batch]
        hits = index.search(q, K)
        theirs_scores, theirs = flat.search(q, K)
        same = float(np.mean(hits.rows == theirs))
        apart = float(np.max(np.abs(hits.scores - theirs_scores)))
        calls = [lambda q=q: index.search(q, K), lambda q=q: flat.search(q, K)]
        ours, other = turn_by_turn(calls, 0.1 if options.quick else 2)
        cells = (f"{batch}", f"{ours * 1e3:.2f}", f"{other * 1e3:.2f}", f"{batch / ours:,.0f}", f"{other / ours:.2f}")
        print(f"| {' | '.join(cells)} | {same:.4f} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
