"""Embedding on a local Ray against the local way, the same job on a real encoder; and one worker against two.

    python -m bench.scale_ray [--items 3000] [--rounds 3] [--folder FOLDER]

Text by all-MiniLM-L6-v2 (captions made of words, 5 to 25 of them), float32, one thread a worker. Measured are whole
commands, from the first line to the end of the process, and what is left when the start of Python and of Ray, measured
on one item, is taken away: that is the rate of a job of hours. The ways take turns in each round, so that what else the
machine does meets all of them. Overhead: one worker on Ray against one thread without it. Efficiency: two workers
against twice one worker.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = "a dog runs over wet grass while two people watch the old red train leave under grey clouds"
SCRIPT = """
import sys, numpy as np
sys.path.insert(0, {root!r})
from contextlib import nullcontext
from sensorium import parts, store
from sensorium.types import Items
n, folder, workers = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
words = {words!r}.split()
random = np.random.default_rng(0)
texts = [" ".join(random.choice(words, random.integers(5, 26))) + f" {{k}}" for k in range(n)]
items = Items(np.array([f"i{{k}}" for k in range(n)]), texts, "text")
if workers:
    from sensorium.scale.on import on
with on("ray", workers) if workers else nullcontext():
    store.embed(items, parts.make("encoders", "minilm"), folder, progress=False)
"""


def seconds(n: int, workers: int, folder: Path) -> float:
    """Wall seconds of a process that embeds n texts; workers 0: without Ray."""
    code = SCRIPT.format(root=str(Path(__file__).resolve().parents[1] / "src"), words=WORDS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, str(n), str(folder), str(workers)], check=True, env=environment)
    return time.perf_counter() - start


def main() -> None:
    """Print one line a way, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    ways = {"local, 1 thread": 0, "ray, 1 worker": 1, "ray, 2 workers": 2}
    whole: dict[str, list[float]] = {way: [] for way in ways}
    start: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for number in range(given.rounds):
            for way, workers in ways.items():
                start[way].append(seconds(1, workers, Path(folder) / f"{number}-{workers}-one"))
                whole[way].append(seconds(given.items, workers, Path(folder) / f"{number}-{workers}"))
                print(f"{way:16} {whole[way][-1]:7.1f} s, of which start {start[way][-1]:5.1f} s", flush=True)
    work = {way: [a - b for a, b in zip(whole[way], start[way], strict=True)] for way in ways}
    local, one, two = (work[way] for way in ways)
    overhead = statistics.median(b / a - 1 for a, b in zip(local, one, strict=True))
    efficient = statistics.median(a / (2 * b) for a, b in zip(one, two, strict=True))
    print(f"{given.items} texts, {given.rounds} rounds, medians of the ratios of a round")
    print(f"overhead of Ray, one worker against one thread   {100 * overhead:5.1f}%")
    print(f"efficiency from one to two workers               {100 * efficient:5.1f}%")
    print(f"start of a local Ray and its workers             {statistics.median(start['ray, 1 worker']):5.1f} s, "
          f"of Python and the encoder alone {statistics.median(start['local, 1 thread']):.1f} s")  # fmt: skip


if __name__ == "__main__":
    main()
