"""A few runs of tiny vectors for the page of runs: two that can be compared, one of few groups, a mixture, one being made."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import sensorium
from sensorium import integrity
from sensorium.search import making

#: What objective=auto notes of its members, and a class table's confusion counts.
MIXTURE = {
    "mixture": [
        {"member": "cca", "weight": 0.6, "validation": 0.34, "brings": 0.012, "low": 0.005, "high": 0.018},
        {"member": "infonce (mlp, 512)", "weight": 0.4, "validation": 0.33, "brings": 0.001, "low": -0.005, "high": 0.008},
        {"member": "ridge", "weight": 0.0, "validation": 0.32},
    ],
    "monitor": "MRR",
    "said": "a mixture of 2 of 3 members",
}  # fmt: skip
CLASSES = {"names": ["bark", "rain", "siren"], "confusion": [[8, 1, 1], [0, 9, 1], [4, 0, 6]]}


def vectors(path: Path, groups: int) -> Path:
    """Pairs of vectors of 8 numbers, six of each group, with ``groups`` groups in each split."""
    row = np.arange(6 * groups * 3)
    x = np.random.default_rng(0).normal(size=(len(row), 8)).astype(np.float32)
    which = row % (3 * groups)
    splits = np.array(["test", "train", "validation"])[which // groups]
    np.savez(path, a=x, b=x[:, ::-1] ** 3, split=splits, group=which.astype(str))
    return path


def make(folder: Path) -> list[Path]:
    """The runs "ridge", "trained", "few" (2 groups) and "mixture"."""
    many, few = vectors(folder / "many.npz", 12), vectors(folder / "few.npz", 2)
    runs = folder / "runs"
    plans = {"ridge": (many, ["objective=ridge"]), "few": (few, ["objective=ridge"]),
             "trained": (many, ["objective=infonce", "left.head=mlp", "right.head=mlp", "train.epochs=4",
                                'evaluate.baselines=["ridge"]'])}  # fmt: skip
    for name, (file, keys) in plans.items():
        keys = [f"data.file={file}", "data.left=a", "data.right=b", "data.split=split", "data.group=group",
                "evaluate.baselines=[]", "evaluate.resamples=50", "evaluate.plots=false", *keys]  # fmt: skip
        sensorium.run("arrays", keys, out=runs / name, quiet=True)
    shutil.copytree(runs / "ridge", runs / "mixture")
    path = runs / "mixture" / "metrics.json"
    metrics = json.loads(path.read_text())
    path.write_text(json.dumps({**metrics, "fit": MIXTURE, "classes": CLASSES}))
    integrity.write(runs / "mixture")
    return [runs / name for name in ("ridge", "trained", "few", "mixture")]


@contextlib.contextmanager
def in_the_making(run: Path) -> Iterator[Path]:
    """A first run that this process makes: it has embedded 30 of 120 items in 10 seconds."""
    building = run.parent / f".{run.name}.building"
    building.mkdir(parents=True)
    (building / "recipe.toml").write_text(f'name = "{run.name}"\n[data]\nname = "glyphs"\n')
    now = time.time()
    state = {"stage": "embed", "began": now, "what": "embedding image", "done": 30, "total": 120, "first": 0,
             "since": now - 10, "now": now}  # fmt: skip
    (building / making.FILE).write_text(json.dumps(state))
    with open(building / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield building
