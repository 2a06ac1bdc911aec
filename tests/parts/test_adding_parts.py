"""Adding a part touches one file: a data set, encoder, head, objective and index from outside run a recipe."""

import numpy as np
import pytest

import sensorium

DATASET = '''"""Numbers and their names: a toy data set."""
import numpy as np
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

class Numbers:
    """n random points; each one's "name" is a turned copy of it, written as text."""
    def __init__(self, n: int = 120):
        self.n = n
    def load(self):
        points = np.random.default_rng(0).standard_normal((self.n, 6)).round(4)
        turned = points[:, ::-1] * 2
        ids = np.array([f"n{i}" for i in range(self.n)])
        texts = [" ".join(map(str, row)) for row in turned.tolist()]
        left = Items(ids, [" ".join(map(str, row)) for row in points.tolist()], "text", {"first": points[:, 0]})
        return Data(left, Items(ids, texts, "text"), Pairs.of(np.arange(self.n), np.arange(self.n)))
'''
ENCODER = '''"""Reads numbers out of text."""
import numpy as np

class Reader:
    """Text of d numbers as their vector."""
    takes = "text"
    def __init__(self, width: int = 6):
        self.dim = width
    @property
    def fingerprint(self):
        return {"name": "reader", "width": self.dim}
    def encode(self, values):
        return np.array([[float(x) for x in v.split()] for v in values], np.float32)
'''
HEAD = '''"""Scales every coordinate."""
import torch

class Scale(torch.nn.Module):
    """z = x * weight, to unit length."""
    def __init__(self, start: float = 1.0):
        super().__init__()
        self.arguments = {"start": start}
    def build(self, dim_in, stats, like=None):
        self.dim_in = self.dim = dim_in
        self.weight = torch.nn.Parameter(torch.full((dim_in,), self.arguments["start"]))
    def forward(self, x):
        return torch.nn.functional.normalize(x * self.weight, dim=-1)
'''
INDEX = '''"""Brute force in three lines."""
import json
import numpy as np
from sensorium.table import Table
from sensorium.types import Hits

class Brute:
    """Keeps everything, compares everything."""
    def __init__(self):
        self.table, self._vectors = Table(np.zeros(0, "<U1"), {}), np.zeros((0, 0), np.float32)
    def add(self, ids, vectors, columns):
        self._vectors = vectors if not len(self.table) else np.vstack([self._vectors, vectors])
        self.table = self.table.append(ids, columns)
    def remove(self, ids):
        keep = ~np.isin(self.table.ids, ids)
        self.table, self._vectors = self.table.take(keep), self._vectors[keep]
        return int((~keep).sum())
    def vectors(self, rows):
        return self._vectors[rows]
    def search(self, queries, k, where=None, exclude=None):
        scores = queries @ self._vectors.T
        scores[:, ~self.table.where(where or {})] = -np.inf
        if exclude is not None:
            scores[:, np.isin(self.table.ids, exclude)] = -np.inf
        order = np.argsort(-scores, axis=1)[:, :k]
        best = np.take_along_axis(scores, order, 1)
        return Hits(np.where(best > -np.inf, order, -1), best)
    def report(self, vectors):
        return {}
    def save(self, folder):
        np.save(folder / "vectors.npy", self._vectors)
        self.table.save(folder / "items.parquet")
    @classmethod
    def load(cls, folder):
        index = cls()
        index.table, index._vectors = Table.load(folder / "items.parquet"), np.load(folder / "vectors.npy")
        return index
    def __len__(self):
        return len(self.table)
'''


@pytest.mark.parametrize("by", ["dotted path", "file"])
def test_five_parts_from_outside(tmp_path, monkeypatch, by):
    names = {}
    for stem, text, part in (
        ("numbers_data", DATASET, "Numbers"),
        ("reader_encoder", ENCODER, "Reader"),
        ("scale_head", HEAD, "Scale"),
        ("brute_index", INDEX, "Brute"),
    ):
        (tmp_path / f"{stem}.py").write_text(text)
        names[part] = f"{stem}:{part}" if by == "dotted path" else f"{tmp_path / stem}.py:{part}"
    if by == "dotted path":
        monkeypatch.syspath_prepend(tmp_path)
    recipe = {
        "name": "numbers",
        "data": {"name": names["Numbers"], "test": 0.25, "validation": 0.2},
        "left": {"encoder": {"name": names["Reader"], "width": 6}, "head": names["Scale"]},
        "right": {"encoder": names["Reader"], "head": {"name": "linear", "dim": 6}},
        "objective": "infonce",
        "train": {"epochs": 60, "batch": 32, "lr": 0.05, "precision": "fp32"},
        "index": names["Brute"],
        "evaluate": {"resamples": 200, "plots": False},
    }
    run = sensorium.run(recipe, out=tmp_path / "runs" / "numbers", quiet=True)
    hit = {r["direction"]: r["value"] for r in run.metrics["results"] if r["measure"] == "hit@1"}
    assert min(hit.values()) > 0.9, "a turn and a scale are within these heads' reach"

    again = sensorium.open(run.folder)
    points = np.random.default_rng(0).standard_normal((120, 6)).round(4)
    found = again.search(text=" ".join(map(str, points[7].tolist())), side="left", k=3)
    assert found[0]["id"] == "n7" and found[0]["rank"] == 1
    assert found[0]["text"] == " ".join(map(str, (points[7, ::-1] * 2).tolist()))
    assert again.search(id="n3", side="left", to="left", k=1)[0]["id"] != "n3"
