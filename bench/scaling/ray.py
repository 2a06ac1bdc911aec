"""Embedding on a local Ray against the local way, the same job on a real encoder; and one worker against two.

    python -m bench.scaling.ray [--quick] [--items 3000] [--rounds 3] [--folder FOLDER]

Text by all-MiniLM-L6-v2 (captions made of words, 5 to 25 of them), float32, one thread a worker. Measured are whole
commands, from the first line to the end of the process, and what is left when the start of Python and of Ray, measured
on one item, is taken away: that is the rate of a job of hours. The ways take turns in each round, so that what else the
machine does meets all of them. Overhead: one worker on Ray against one thread without it. Efficiency: two workers
against twice one worker. Processor seconds of the command and of all that it started, less those of the start, stand
beside: they hold on a busy machine too, and say what Ray costs apart from waiting.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
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
import json, psutil, time
def used():
    every = [psutil.Process()] + psutil.Process().children(recursive=True)
    times = [one.cpu_times() for one in every]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)
with on("ray", workers) if workers else nullcontext():
    store.embed(items, parts.make("encoders", "minilm"), folder, progress=False)
    print("cpu", used())  # here, as the processes of Ray end with the block
"""


def seconds(n: int, workers: int, folder: Path) -> tuple[float, float]:
    """Wall and processor seconds of a process that embeds n texts, and of what it starts; workers 0: without Ray."""
    code = SCRIPT.format(root=str(Path(__file__).resolve().parents[2] / "src"), words=WORDS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    start = time.perf_counter()
    command = [sys.executable, "-c", code, str(n), str(folder), str(workers)]
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - start, float(done.stdout.split("cpu ")[1])


def main() -> None:
    """Print one line a way and round, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="100 texts, one round")
    given = parser.parse_args()
    if given.quick:
        given.items, given.rounds = 100, 1
    if importlib.util.find_spec("ray") is None:
        print("needs Ray; type: pip install 'sensorium[scale]'")
        return
    ways = {"local, 1 thread": 0, "ray, 1 worker": 1, "ray, 2 workers": 2}
    work: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    start: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for number in range(given.rounds):
            for way, workers in ways.items():
                one = seconds(1, workers, Path(folder) / f"{number}-{workers}-one")
                all_ = seconds(given.items, workers, Path(folder) / f"{number}-{workers}")
                start[way].append(one[0])
                work[way].append((all_[0] - one[0], all_[1] - one[1]))
                wall, used = work[way][-1]
                said = {"way": way, "items": given.items, "start_seconds": round(one[0], 1)}
                said |= {"work_seconds": round(wall, 2), "work_cpu_seconds": round(used, 2)}
                print(json.dumps(said), flush=True)
    if given.quick:
        print(json.dumps({"compared": "nothing, as 100 texts take less time than starts differ by"}))
        return
    local, one_, two = (work[way] for way in ways)
    for at, kind in enumerate(("wall", "processor")):
        overhead = statistics.median(b[at] / a[at] - 1 for a, b in zip(local, one_, strict=True))
        share = 2 if at == 0 else 1  # processor time of two workers is that of one where nothing is lost
        efficient = statistics.median(a[at] / (share * b[at]) for a, b in zip(one_, two, strict=True))
        said = {"time": kind, "overhead_percent": round(100 * overhead, 1)}
        said |= {"efficiency_1_to_2_percent": round(100 * efficient, 1), "rounds": given.rounds}
        print(json.dumps(said), flush=True)
    names = {"start of Ray and its workers": "ray, 1 worker", "start of Python and the encoder": "local, 1 thread"}
    print(json.dumps({name: round(statistics.median(start[way]), 1) for name, way in names.items()}), flush=True)


if __name__ == "__main__":
    main()
