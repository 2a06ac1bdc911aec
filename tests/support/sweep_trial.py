"""What workers can import: a trial, a bowl with its top at x = 3 and y = "good"; and a small data set."""

import contextlib
import fcntl
import os
import signal
import sys
from pathlib import Path

import numpy as np

from sensorium.errors import BadData, DiskFull
from sensorium.experiments.search_space import Choice, Range
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

SPACE = {"x": Range(-10.0, 10.0), "y": Choice(("good", "bad"))}


def bowl(overrides, folder, report):
    values = dict(text.split("=", 1) for text in overrides)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "began", "a") as file:
        file.write(f"{os.getpid()}\n")
    if values.get("y") == "impossible":
        raise BadData("y is impossible")
    if values.get("y") == "full":
        raise DiskFull("no room to write")
    if values.get("y") == "bug":
        raise ZeroDivisionError("a bug of ours")
    top = -((float(values["x"]) - 3.0) ** 2) - (0.0 if values.get("y", "good") == "good" else 5.0)
    for epoch in range(3):
        report(epoch, top - (2 - epoch))
        burn(folder.parent.parent / "kill_after")
    return top


def burn(fuse):
    """Count a report down, over all processes of the sweep; whoever comes to 0 is killed."""
    with contextlib.suppress(FileNotFoundError), open(fuse, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        left = int(file.read()) - 1
        file.seek(0)
        file.truncate()
        file.write(str(left))
        if left == 0:
            fuse.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


class Paired:
    """A data set of 300 pairs of vectors, learnable in a second."""

    def __init__(self, noise: float = 0.5):
        self.noise = noise

    def load(self):
        random = np.random.default_rng(0)
        left = random.normal(size=(300, 24)).astype(np.float32)
        right = left @ random.normal(size=(24, 16)) + self.noise * random.normal(size=(300, 16))
        ids, rows = np.arange(300).astype(str), np.arange(300)
        split = np.array(["train", "train", "train", "validation", "test"])[rows % 5]
        sides = (Items(ids, vectors.astype(np.float32), "vector") for vectors in (left, right))
        return Data(*sides, Pairs.of(rows, rows, split=split))


if __name__ == "__main__":
    import sweep_trial  # so that workers find the trial under its importable name

    from sensorium.experiments.sweep import search

    folder, trials, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    search(sweep_trial.bowl, SPACE, folder, {}, trials=trials, pruner="none", workers=workers)
