"""A store larger than the memory that a process may have: embedded, fitted both ways, evaluated, indexed and searched.

    python bench/larger_than_memory.py                             4 GB under a limit of 1 GB
    python bench/larger_than_memory.py --items 50000 --limit 512   a tenth of it

The store has two sides of so many items each, of 1,024 numbers. Each way of fitting is a process of its own, and so
is the search by ``sensorium search``. They run in a memory control group (cgroup) where one can be made, as root: it
bounds all memory, with the pages of files, which the kernel gives up for others. Elsewhere the limit is RLIMIT_DATA, of
private memory; RLIMIT_AS would count the mapped store itself. A line a stage says the largest resident memory that is
no mapped file, sampled every 20 ms, beside what the process held after its imports.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium.contracts import Encoder

WAYS = {"ridge": ["objective=ridge"], "infonce": ["objective=infonce", "train.steps=200", "train.batch=512"]}
HELD_OUT = 1000  # items of the validation split, and of the test split
CAUSES = 16
QUERIES = 20
STAGES = ("load", "embed", "fit", "evaluate", "index", "open, search")


class Wide(Encoder):
    """Vectors of any width without a model: a few numbers drawn from the text, mapped at random, with noise.

    takes: texts. dim: width. seed: of the map.
    """

    takes = "text"
    batch: ClassVar[int] = 1024

    def __init__(self, dim: int = 1024, seed: int = 0) -> None:
        self.dim, self.seed = dim, seed
        dice = np.random.default_rng(seed)
        self.map = dice.standard_normal((CAUSES, dim), np.float32)
        self.noise = dice.standard_normal((1 << 16) + dim, np.float32)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors."""
        return {"name": "wide", "dim": self.dim, "seed": self.seed}

    def encode(self, values: Any) -> np.ndarray:
        """Vectors (n, dim)."""
        found = np.empty((len(values), self.dim), np.float32)
        for i, text in enumerate(values):
            key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
            cause = np.random.default_rng(key).standard_normal(CAUSES, np.float32)
            found[i] = cause @ self.map + self.noise[key % (1 << 16) :][: self.dim]
        return found


def make(folder: Path, items: int) -> None:
    """The table: so many texts, each paired with itself."""
    with open(folder / "items.csv", "w", encoding="utf-8") as file:
        file.write("id,text,copy,split\n")
        for i in range(items):
            split = "test" if i < HELD_OUT else "dev" if i < 2 * HELD_OUT else "train"
            file.write(f"i{i},text number {i},text number {i},{split}\n")


def recipe_of(folder: Path, width: int) -> dict[str, Any]:
    """The table's recipe: both sides of one width, by encoders that differ."""
    side = {"head": {"name": "linear", "dim": 64}}
    encoder = {"name": f"{__file__}:Wide", "dim": width}
    return {
        "name": "wide",
        "data": {"name": "table", "file": str(folder / "items.csv"), "left": "text", "right": "copy", "ids": "id",
                 "split": "split"},
        "left": {"encoder": encoder, **side},
        "right": {"encoder": {**encoder, "seed": 1}, **side},
        "evaluate": {"resamples": 200},
    }  # fmt: skip


def memory(process: str | int = "self") -> int:
    """Bytes of a process's resident memory that are no mapped file; 0 when it is gone."""
    try:
        with open(f"/proc/{process}/status", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("RssAnon:")) << 10
    except (OSError, StopIteration):
        return 0


def group() -> Path | None:
    """A new memory cgroup, of version 1 or 2; None where none can be made."""
    for above in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        made = above / f"larger-than-memory-{os.getpid()}"
        try:
            made.mkdir()
        except OSError:
            continue
        if any((made / name).exists() for name in ("memory.limit_in_bytes", "memory.max")):
            return made
        made.rmdir()
    return None


def bound(within: str, limit: int) -> None:
    """Bound the memory of this process and its children: in a cgroup, or by RLIMIT_DATA where ``within`` is none."""
    if not within:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        return
    made = Path(within)
    name = next(name for name in ("memory.limit_in_bytes", "memory.max") if (made / name).exists())
    (made / name).write_text(str(limit))
    (made / "cgroup.procs").write_text(str(os.getpid()))


def child(way: str, folder: Path, width: int) -> None:
    """One run, in a process that is bounded already; prints a line of JSON."""
    import torch  # noqa: F401  counted before, as part of what any process holds

    import sensorium
    from sensorium.search import making

    base, peaks, over = memory(), {}, threading.Event()
    building = folder / "runs" / f".{way}.building"

    def look() -> None:
        while not over.wait(0.02):
            stage = making.read(building).get("stage", "load" if building.is_dir() else STAGES[-1])
            peaks[stage] = max(peaks.get(stage, 0), memory())

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    failed = ""
    seconds: dict[str, float] = {}
    about: dict[str, Any] = {}
    try:
        run = sensorium.run(recipe_of(folder, width), WAYS[way], out=folder / "runs" / way, quiet=True)
        started = time.perf_counter()
        hits = [run.search(text=f"text number {i}", side="left", k=10)[0]["id"] for i in range(QUERIES)]
        seconds = {**run.metrics["seconds"], STAGES[-1]: round(time.perf_counter() - started, 1)}
        value = next(one["value"] for one in run.metrics["results"] if one["measure"] == "MRR")
        about = {"mrr": round(value, 4), "found": sum(id == f"i{i}" for i, id in enumerate(hits))}
    except (MemoryError, RuntimeError) as error:
        failed = f"{type(error).__name__}: {error}"
    over.set()
    watching.join()
    print(json.dumps({
        "way": way, "imports_mb": base >> 20, "peak_mb": {stage: peak >> 20 for stage, peak in peaks.items()},
        "seconds": seconds, **about, **({"failed": failed} if failed else {}),
    }), flush=True)  # fmt: skip
    sys.exit(1 if failed else 0)


def search(run: Path, within: str, limit: int, environment: dict[str, str]) -> dict[str, Any]:
    """``sensorium search`` of a run, in a process of its own under the limit; its time and largest memory."""
    started, peak = time.perf_counter(), 0
    command = [sys.executable, "-m", "sensorium", "search", str(run), "--text", "text number 7", "-k", "3", "--json",
               "--trust"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment,
                               preexec_fn=lambda: bound(within, limit))  # fmt: skip
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(0.02)
    first = json.loads(process.stdout.readline() or "{}") if process.stdout else {}
    return {"search_command_mb": peak >> 20, "seconds": round(time.perf_counter() - started, 1),
            "first": first.get("id"), "status": process.returncode}  # fmt: skip


def main() -> None:
    """Make the data, run each way, delete all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=500_000, help="of each side")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--limit", type=int, default=1024, help="MB")
    parser.add_argument("--by", choices=("cgroup", "data"), default="cgroup", help="data: RLIMIT_DATA")
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=list(WAYS))
    parser.add_argument("--folder", type=Path, help="where the data go for the time of the measurement")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.folder, given.width)
        return
    folder = Path(tempfile.mkdtemp(prefix="larger-", dir=given.folder))
    made = group() if given.by == "cgroup" else None
    within, limit = str(made or ""), given.limit << 20
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        make(folder, given.items)
        print(json.dumps({"items": given.items, "sides": 2, "width": given.width, "limit_mb": given.limit,
                          "store_mb": 2 * given.items * given.width * 4 >> 20,
                          "by": "cgroup" if made else "RLIMIT_DATA"}), flush=True)  # fmt: skip
        for way in given.ways:
            command = [sys.executable, __file__, "--child", way, "--folder", str(folder), "--width", str(given.width)]
            done = subprocess.run(command, check=False, env=environment, preexec_fn=lambda: bound(within, limit))
            if done.returncode:
                sys.exit(f"{way} failed with status {done.returncode}" + (" (killed)" * (done.returncode == -9)))
            print(json.dumps(search(folder / "runs" / way, within, limit, environment)), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if made is not None:
            made.rmdir()


if __name__ == "__main__":
    main()
