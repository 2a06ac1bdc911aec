"""A run of looks made in seconds: 120 garments of four categories as vectors, both sides one table."""

from pathlib import Path

import numpy as np

import sensorium
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

CATEGORIES = ("Topwear", "Bottomwear", "Shoes", "Bags")
DIM = 12


def data(seed: int = 0, n: int = 120) -> Data:
    """Garments whose style makes looks; ids with leading zeros. Columns category, price and colour."""
    random = np.random.default_rng(seed)
    style = random.integers(0, 6, n)
    kind = np.arange(n) % len(CATEGORIES)
    centres = random.standard_normal((6, DIM))
    x = centres[style] + 0.5 * random.standard_normal((n, DIM)) + np.eye(len(CATEGORIES), DIM)[kind]
    ids = np.array([f"{i:04d}" for i in range(n)])
    meta = {"category": np.array(CATEGORIES)[kind], "price": random.integers(5, 90, n),
            "colour": np.array(["red", "blue"])[random.integers(0, 2, n)]}  # fmt: skip
    a, b = np.array([(i, j) for i in range(n) for j in range(i) if style[i] == style[j] and kind[i] != kind[j]]).T
    keep = random.permutation(len(a))[:600]
    pairs = Pairs.of(a[keep], b[keep], group=keep % 60, same_table=True)
    return Data(Items(ids, x.astype(np.float32), "vector", meta), None, pairs, {})


def make(folder: Path, *overrides: str):
    """The run in ``folder``, opened; the vectors lie among its own files."""
    recipe = {
        "name": "looks",
        "data": {"name": "memory", "test": 0.2, "validation": 0.2},
        "left": {"head": {"name": "linear", "dim": 6}},
        "objective": "infonce",
        "train": {"epochs": 2, "precision": "fp32"},
        "evaluate": {"resamples": 20, "plots": False, "baselines": []},
    }
    return sensorium.run(recipe, overrides, out=folder, quiet=True, data=data())
