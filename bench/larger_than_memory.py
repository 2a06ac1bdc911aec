"""A store larger than the memory that a process may have: embedded, fitted both ways, evaluated, indexed and searched.

    python bench/larger_than_memory.py                             4 GB under a limit of 1 GB
    python bench/larger_than_memory.py --items 50000 --limit 512   a tenth of it
    python bench/larger_than_memory.py --ways ridge                outputs as wide as the vectors: indexes of 4 GB

The store has two sides of so many items each, of 1,024 numbers. Each way of fitting is a process of its own, and so
is the search by ``sensorium search``. They run in a memory control group (cgroup) where one can be made, as root: it
bounds all memory, with the pages of files, which the kernel gives up for others. Elsewhere the limit is RLIMIT_DATA, of
private memory; RLIMIT_AS would count the mapped store itself. A line a way says for each stage the largest resident
memory that is no mapped file, sampled every 5 ms from outside: known too where the limit ended it.
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
from sensorium.search import making

WAYS = {
    "cca": ["objective=cca"],
    "ridge": ["objective=ridge"],
    "infonce": ["objective=infonce", "train.steps=200", "train.batch=512"],
}
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


class Watched:
    """A process with the largest memory of each of its stages: ``peaks``, and ``stage``, the last one seen.

    building: the folder that the run is built in, where its stage is written.
    """

    def __init__(self, command: list[str], building: Path | None, within: str, limit: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment,
                                        preexec_fn=lambda: bound(within, limit))  # fmt: skip
        self.building, self.peaks, self.stage = building, {"": 0}, ""
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    def _watch(self) -> None:
        while self.process.poll() is None:
            self.stage = self._stage() or self.stage
            self.peaks[self.stage] = max(self.peaks.get(self.stage, 0), memory(self.process.pid) >> 20)
            time.sleep(0.005)

    def _stage(self) -> str:
        if self.building is None:
            return ""
        if self.building.is_dir():
            return str(making.read(self.building).get("stage", "")) or ("load" if not self.stage else "")
        return STAGES[-1] if self.stage and self.building.with_name(self.building.stem[1:]).is_dir() else ""

    def ended(self) -> tuple[int, dict[str, Any]]:
        """Status, and the last line of JSON that it printed."""
        said = self.process.stdout.read() if self.process.stdout else ""
        self._watching.join()
        lines = [line for line in said.splitlines() if line.startswith("{")]
        return self.process.wait(), json.loads(lines[0]) if lines else {}


def child(way: str, folder: Path, width: int) -> None:
    """One run, in a process that is bounded already; prints a line of JSON."""
    import sensorium

    run = sensorium.run(recipe_of(folder, width), WAYS[way], out=folder / "runs" / way, quiet=True)
    started = time.perf_counter()
    hits = [run.search(text=f"text number {i}", side="left", k=10)[0]["id"] for i in range(QUERIES)]
    seconds = {**run.metrics["seconds"], STAGES[-1]: round(time.perf_counter() - started, 1)}
    value = next(one["value"] for one in run.metrics["results"] if one["measure"] == "MRR")
    found = sum(id == f"i{i}" for i, id in enumerate(hits))
    print(json.dumps({"seconds": seconds, "mrr": round(value, 4), "found": found}), flush=True)


def fit(way: str, folder: Path, width: int, within: str, limit: int) -> int:
    """One way of fitting in a process of its own, with a printed line; its status."""
    command = [sys.executable, __file__, "--child", way, "--folder", str(folder), "--width", str(width)]
    watched = Watched(command, folder / "runs" / f".{way}.building", within, limit)
    status, said = watched.ended()
    ended = {} if not status else {"ended_in": watched.stage, "status": status}
    print(json.dumps({"way": way, "peak_mb": watched.peaks, **said, **ended}), flush=True)
    return status


def search(run: Path, within: str, limit: int) -> int:
    """``sensorium search`` of a run, in a process of its own under the limit, with a printed line; its status."""
    started = time.perf_counter()
    asked = ["--text", "text number 7", "--from", "text", "-k", "3", "--json", "--trust"]
    command = [sys.executable, "-m", "sensorium", "search", str(run), *asked]
    watched = Watched(command, None, within, limit)
    status, first = watched.ended()
    print(json.dumps({"search_command_mb": watched.peaks[""], "seconds": round(time.perf_counter() - started, 1),
                      "first": first.get("id"), "status": status}), flush=True)  # fmt: skip
    return status


def main() -> None:
    """Make the data, run each way, delete all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=500_000, help="of each side")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--limit", type=int, default=1024, help="MB")
    parser.add_argument("--by", choices=("cgroup", "data"), default="cgroup", help="data: RLIMIT_DATA")
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=["cca", "infonce"])
    parser.add_argument("--folder", type=Path, help="where the data go for the time of the measurement")
    parser.add_argument("--keep", type=Path, help="a folder where they stay, and from which they are taken next time")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.folder, given.width)
        return
    folder = given.keep or Path(tempfile.mkdtemp(prefix="larger-", dir=given.folder))
    folder.mkdir(parents=True, exist_ok=True)
    made = group() if given.by == "cgroup" else None
    within, limit = str(made or ""), given.limit << 20
    try:
        if not (folder / "items.csv").is_file():
            make(folder, given.items)
        print(json.dumps({"items": given.items, "sides": 2, "width": given.width, "limit_mb": given.limit,
                          "store_mb": 2 * given.items * given.width * 4 >> 20,
                          "by": "cgroup" if made else "RLIMIT_DATA"}), flush=True)  # fmt: skip
        for way in given.ways:
            if fit(way, folder, given.width, within, limit) or search(folder / "runs" / way, within, limit):
                sys.exit(f"{way} did not end under {given.limit} MB")
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
        if made is not None:
            made.rmdir()


if __name__ == "__main__":
    main()
