"""Load on ``sensorium serve`` with one worker and with two, in turn: requests a second, and the ratio.

    python -m bench.scaling.serve [--quick] [--rows 50000] [--connections 32] [--seconds 10] [--rounds 3]

Vectors (rows, 256) with an exact index, ten neighbours of one query a request, from a generator of load that is a
process of its own (bench/load.py). Rounds take turns. The generator competes with the workers where there are no more
cores than workers, so that the ratio is then a lower bound. cpu_ms: processor time of all processes of the server for a
request, which holds on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import psutil
from bench import serve

WIDTH = 256


def processor(pid: int) -> float:
    """Processor seconds of a process and its children so far."""
    whole = psutil.Process(pid)
    return sum(one.cpu_times().user + one.cpu_times().system for one in (whole, *whole.children(recursive=True)))


def measure(folder: Path, workers: int, connections: int, seconds: float) -> dict[str, float]:
    """One server, started for it: requests a second, 95th percentile or so in ms, processor ms a request."""
    port = serve.free_port()
    run = str(folder / "runs" / "exact")
    command = [sys.executable, "-m", "sensorium", "serve", run, "--port", str(port), "--workers", str(workers)]
    with serve.serving(command, port, "/readyz", OMP_NUM_THREADS="1") as pid:
        serve.load(port, folder / "ours.jsonl", connections, min(2.0, seconds))  # every worker is warm
        before = processor(pid)
        found = serve.load(port, folder / "ours.jsonl", connections, seconds)
        used = processor(pid) - before
    return {"workers": workers, "rate": round(found["rate"], 1), "p50_ms": round(found["p50"], 2),
            "p99_ms": round(found["p99"], 2), "cpu_ms": round(1000 * used / max(found["n"], 1), 3),
            "failed": found["failures"]}  # fmt: skip


def main() -> None:
    """Measure both in turn and print JSON lines, the medians last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="5,000 vectors, 2 s, one round")
    given = parser.parse_args()
    if given.quick:
        given.rows, given.seconds, given.rounds = 5_000, 2.0, 1
    os.environ.setdefault("SENSORIUM_LOG", "warning")
    ratios, found = [], {}
    with tempfile.TemporaryDirectory() as folder:
        serve.make(Path(folder), given.rows, WIDTH, kinds=("exact",))
        for _ in range(given.rounds):
            for workers in (1, 2):
                found[workers] = measure(Path(folder), workers, given.connections, given.seconds)
                print(json.dumps(found[workers]), flush=True)
            ratios.append(found[2]["rate"] / found[1]["rate"])
    said = {"ratio of two workers to one": round(statistics.median(ratios), 3), "rounds": given.rounds}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
