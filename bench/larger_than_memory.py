"""A store larger than the memory that a process may have: embedded, fitted both ways, evaluated, indexed and searched.

    python bench/larger_than_memory.py                             4 GB under a limit of 1 GB
    python bench/larger_than_memory.py --items 50000 --limit 400   a tenth of it

Each way of fitting is a process of its own in a memory cgroup, where one can be made (as root), which bounds all memory
with the pages of its files; elsewhere nothing is bounded. What is printed is the largest resident memory that is no
mapped file, by stage, beside what the process held before it began.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
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


class Wide(Encoder):
    """Vectors of any width without a model: a few numbers drawn from the text, mapped at random, with noise.

    takes: texts. dim: width. seed: of the map.
    """

    takes = "text"
    batch: ClassVar[int] = 1024

    def __init__(self, dim: int = 2048, seed: int = 0) -> None:
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


def memory() -> int:
    """Bytes of resident memory that are no mapped file."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon:")) << 10


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


def bounded(limit: int) -> str:
    """Bound the memory of this process; returns by what."""
    made = Path(os.environ["LARGER_GROUP"]) if os.environ.get("LARGER_GROUP") else None
    if made is None:
        return "nothing"
    name = next(name for name in ("memory.limit_in_bytes", "memory.max") if (made / name).exists())
    (made / name).write_text(str(limit))
    (made / "cgroup.procs").write_text(str(os.getpid()))
    return "cgroup"


def child(way: str, folder: Path, width: int, limit: int) -> None:
    """One run under the limit; prints a line of JSON."""
    by = bounded(limit << 20)
    import torch  # noqa: F401  counted before, as part of what any process holds

    import sensorium
    from sensorium.search import making

    base, peaks, over, started = memory(), {}, threading.Event(), time.perf_counter()
    building = folder / "runs" / f".{way}.building"

    def look() -> None:
        while not over.wait(0.02):
            stage = making.read(building).get("stage", "before" if building.is_dir() else "search")
            peaks[stage] = max(peaks.get(stage, 0), memory())

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    recipe = {
        "name": "wide",
        "data": {"name": "table", "file": str(folder / "items.csv"), "left": "text", "right": "copy", "ids": "id",
                 "split": "split"},
        "left": {"encoder": {"name": f"{__file__}:Wide", "dim": width}, "head": {"name": "linear", "dim": 64}},
        "right": {"encoder": {"name": f"{__file__}:Wide", "dim": 64, "seed": 1}, "head": {"name": "linear", "dim": 64}},
        "evaluate": {"resamples": 200},
    }  # fmt: skip
    try:
        run = sensorium.run(recipe, WAYS[way], out=folder / "runs" / way, quiet=True)
    except MemoryError:
        print(json.dumps({"way": way, "before_mb": base >> 20, **{name: size >> 20 for name, size in peaks.items()}}))
        raise
    hits = [run.search(text=f"text number {i}", side="left", k=10)[0]["id"] for i in range(20)]
    over.set()
    watching.join()
    value = next(one["value"] for one in run.metrics["results"] if one["measure"] == "MRR")
    print(json.dumps({
        "way": way, "limit_mb": limit, "by": by, "before_mb": base >> 20, "mrr": round(value, 4),
        "found": sum(id == f"i{i}" for i, id in enumerate(hits)), "seconds": round(time.perf_counter() - started, 1),
        "peak_mb": {stage: peak >> 20 for stage, peak in peaks.items()}, "most_mb": max(peaks.values()) >> 20,
    }))  # fmt: skip


def main() -> None:
    """Make the data, run each way, delete all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--limit", type=int, default=1024, help="MB")
    parser.add_argument("--folder", type=Path, help="where the data go for the time of the measurement")
    parser.add_argument("--child")
    given = parser.parse_args()
    if given.child:
        child(given.child, given.folder, given.width, given.limit)
        return
    folder = Path(tempfile.mkdtemp(prefix="larger-", dir=given.folder))
    try:
        make(folder, given.items)
        print(json.dumps({"items": given.items, "width": given.width, "store_mb": given.items * given.width * 4 >> 20}))
        for way in WAYS:
            command = [sys.executable, __file__, "--child", way, "--folder", str(folder), "--width", str(given.width),
                       "--limit", str(given.limit)]  # fmt: skip
            within = group()
            done = subprocess.run(command, check=False, env={
                **os.environ, "OMP_NUM_THREADS": "1", "LARGER_GROUP": str(within or "")})  # fmt: skip
            if within is not None:
                within.rmdir()
            if done.returncode:
                sys.exit(f"{way} failed with status {done.returncode}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
