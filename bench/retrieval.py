"""Retrieval evaluation of 50,000 × 50,000 × 256: exact ranks against the ways it is usually done.

    python -m bench.retrieval [--quick] [--rows 50000] [--full]

Every line is a fresh process that opens the same two .npy files by memory map: unit vectors of
planted pairs, noise chosen so that hit@1 is about 0.5 (and, for ranks alone, also a head that
knows nothing). Peers that would take hours are given fewer queries, always against all
candidates, and their time is multiplied up; the table says how many they had. Peak is anonymous
memory (RssAnon, sampled every 5 ms) over what imports took. "Product" is the bare float32
matrix product in blocks, by whichever of NumPy and torch is faster, with nothing done to its output.
``--full`` adds 1,000,000 queries × 100,000 candidates × 256 from a memory map, and takes a while.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

WIDTH = 256
NOISE = {"half right": 4.0, "knows nothing": None}
BLOCK = 8192


def make(folder: Path, name: str, queries: int, candidates: int, noise: float | None) -> None:
    """Query i belongs to candidate i (mod candidates)."""
    random = np.random.default_rng(0)
    c = np.lib.format.open_memmap(folder / f"{name}-c.npy", "w+", np.float32, (candidates, WIDTH))
    q = np.lib.format.open_memmap(folder / f"{name}-q.npy", "w+", np.float32, (queries, WIDTH))
    for start in range(0, candidates, BLOCK):
        c[start : start + BLOCK] = unit(random.standard_normal((min(BLOCK, candidates - start), WIDTH), np.float32))
    for start in range(0, queries, BLOCK):
        rows = np.arange(start, min(start + BLOCK, queries))
        fresh = random.standard_normal((len(rows), WIDTH), np.float32)
        q[rows] = unit(fresh if noise is None else c[rows % candidates] + noise / np.sqrt(WIDTH) * fresh)
    c.flush()
    q.flush()


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def ours_ranks(q, c):
    from sensorium import scores
    from sensorium.pairs import Relevance

    n = np.arange(len(q))
    relevance = Relevance(n, np.arange(len(c)), np.arange(len(q) + 1), n % len(c), n, np.full(len(q), -1))
    return float(np.mean(scores.ranks(q, c, relevance) == 1))


def ours_evaluate(q, c):
    """Ranks, eight measures and their intervals from 1,000 resamples; one direction."""
    from sensorium.evaluate import evaluate
    from sensorium.pairs import Pairs

    n = np.arange(len(q))
    pairs = Pairs.of(n, n % len(c), split=np.full(len(q), "test"))
    return evaluate(q, c, pairs, directions=["left->right"])[0]["value"]


def product(q, c):
    import torch

    best = np.inf
    for multiply in (lambda a, b: a @ b.T, lambda a, b: torch.from_numpy(a) @ torch.from_numpy(b).T):
        multiply(q[:512], c[:512])
        start = time.perf_counter()
        for i in range(0, len(q), 1024):
            for j in range(0, len(c), 4096):
                multiply(np.ascontiguousarray(q[i : i + 1024]), c[j : j + 4096])
        best = min(best, time.perf_counter() - start)
    return {"seconds": best}


def naive_argsort(q, c):
    first = 0
    for i in range(0, len(q), 128):
        order = np.argsort(-(q[i : i + 128] @ c.T), axis=1)
        wanted = np.arange(i, min(i + 128, len(q)))[:, None]
        first += int(np.count_nonzero(np.argmax(order == wanted, axis=1) == 0))
    return first / len(q)


def torchmetrics_style(q, c):
    import torch
    from torchmetrics.retrieval import RetrievalHitRate, RetrievalMRR

    scores = torch.from_numpy(q @ c.T)
    target = torch.zeros(scores.shape, dtype=torch.bool)
    target[torch.arange(len(q)), torch.arange(len(q))] = True
    index = torch.arange(len(q))[:, None].expand_as(scores).reshape(-1)
    values = [
        m(scores.reshape(-1), target.reshape(-1), indexes=index) for m in (RetrievalHitRate(top_k=1), RetrievalMRR())
    ]
    return float(values[0])


def ir_measures_style(q, c):
    import ir_measures as ir

    s = q @ c.T
    names = [f"d{j}" for j in range(len(c))]
    run = {f"q{i}": dict(zip(names, row.tolist(), strict=True)) for i, row in enumerate(s)}
    qrels = {f"q{i}": {f"d{i}": 1} for i in range(len(q))}
    measures = [ir.Success @ 1, ir.Success @ 10, ir.RR, ir.nDCG @ 10, ir.AP]
    return float(ir.calc_aggregate(measures, qrels, run)[ir.Success @ 1])


def sentence_transformers_style(q, c):
    import torch
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import dot_score

    class Model:
        def encode_query(self, sentences, **kwargs):
            return torch.from_numpy(q)

        def encode_document(self, sentences, **kwargs):
            return torch.from_numpy(np.ascontiguousarray(c[[int(s) for s in sentences]]))

    evaluator = InformationRetrievalEvaluator(
        {f"q{i}": str(i) for i in range(len(q))},
        {f"d{j}": str(j) for j in range(len(c))},
        {f"q{i}": {f"d{i}"} for i in range(len(q))},
        corpus_chunk_size=5000,
        score_functions={"dot": dot_score},
    )
    return evaluator.compute_all_metrics(Model())["dot"]["accuracy@k"][1]


# What runs, and with how many of the queries.
METHODS = {
    "float32 product": (product, 50_000),
    "ours: exact ranks": (ours_ranks, 50_000),
    "ours: measures and intervals": (ours_evaluate, 50_000),
    "argsort, 128 rows at a time": (naive_argsort, 2_000),
    "sentence-transformers, top 100": (sentence_transformers_style, 5_000),
    "torchmetrics, hit rate and MRR": (torchmetrics_style, 200),
    "ir-measures": (ir_measures_style, 200),
}


def anonymous() -> int:
    """Anonymous resident memory of this process, bytes."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon")), 0)


def one(method: str, folder: Path, name: str, queries: int) -> None:
    """Run one method in this process; print what it took as JSON."""
    from sensorium.scores import cpu_features

    call = METHODS[method][0]
    q, c = (np.load(folder / f"{name}-{side}.npy", mmap_mode="r") for side in "qc")
    float(q.max()), float(c.max())  # the files are in the page cache for everybody
    cpu_features.measure()  # imports torch, for everybody
    call(np.array(q[:600]), np.array(c[:600]))
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous())

    base = anonymous()
    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    said = call(q[:queries], c)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    told = said if isinstance(said, dict) else {"hit@1": said}
    print(json.dumps({"seconds": seconds, "peak": max(0, peak[0] - base) / 1e6, **told}))


def run(method: str, folder: Path, name: str, queries: int) -> dict:
    command = [sys.executable, "-W", "ignore", "-m", "bench.retrieval", "--one", method, "--in", str(folder)]
    command += ["--name", name, "--queries", str(queries)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["killed"])[-1][:60]}
    return json.loads(done.stdout.splitlines()[-1])


def table(folder: Path, name: str, rows: int, methods: list[str], share: float) -> None:
    print(f"\n### {name}: {rows:,} × {rows:,} × {WIDTH}\n")
    print("| method | queries | seconds (all queries) | times the product | peak MB | hit@1 |")
    print("|---|---|---|---|---|---|")
    base = None
    for method in methods:
        queries = max(50, min(rows, int(METHODS[method][1] * share)))
        told = run(method, folder, name, queries)
        if "error" in told:
            print(f"| {method} | {queries:,} | {told['error']} | | | |")
            continue
        seconds = told["seconds"] * rows / queries
        base = base or seconds
        hit = f"{told['hit@1']:.3f}" if "hit@1" in told else ""
        print(
            f"| {method} | {queries:,} | {seconds:.2f} | {seconds / base:.2f} | {told['peak']:.0f} | {hit} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3,000 rows: a smoke test, no claim")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--full", action="store_true", help="also 1,000,000 × 100,000")
    for hidden in ("--one", "--in", "--name"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--queries", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, Path(vars(options)["in"]), options.name, options.queries)
        return
    rows = 3_000 if options.quick else options.rows
    share = 0.05 if options.quick else rows / 50_000
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, noise in NOISE.items():
            make(folder, name, rows, rows, noise)
            table(folder, name, rows, list(METHODS) if noise else list(METHODS)[:2], share)
        if options.full or options.quick:
            q, c = (1_000_000, 100_000) if options.full else (6_000, 2_000)
            make(folder, "large", q, c, NOISE["half right"])
            told = run("ours: exact ranks", folder, "large", q)
            print(f"\n{q:,} × {c:,} × {WIDTH} from a memory map: {told}")


if __name__ == "__main__":
    main()
