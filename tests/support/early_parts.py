"""A data set and an encoder that stops a run as soon as anything is embedded: what is wrong must be said before."""

import numpy as np

from sensorium.contracts import Dataset, Encoder
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

N = 60


class Embedded(BaseException):
    """An item was embedded: all checks are through."""


class Few(Dataset):
    """60 texts on either side, paired by row (or each with one of three class names), 40 of them to train on.

    unseen: so many classes have no training pair. table: both sides are one table.
    """

    def __init__(self, kind: str = "text", classes: bool = False, unseen: int = 0, table: bool = False,
                 unrelated: bool = False, train: int = 40) -> None:  # fmt: skip
        self.kind, self.classes, self.unseen, self.table = kind, classes, unseen, table
        self.unrelated, self.train = unrelated, train

    def load(self) -> Data:
        ids = np.array([f"n{i}" for i in range(N)])
        split = np.array(["train"] * self.train + ["validation"] * ((N - self.train) // 2)
                         + ["test"] * (N - self.train - (N - self.train) // 2))  # fmt: skip
        names = ["red", "green", "blue"] if self.classes else [f"word {i}" for i in range(N)]
        row = np.arange(N) % len(names)
        if self.unseen:
            row[: self.train] = np.arange(self.train) % (len(names) - self.unseen)
        values = [str(i) for i in range(N)]
        if self.kind == "vector":
            values = np.random.default_rng(0).standard_normal((N, 12)).astype(np.float32)
        left = Items(ids, values, self.kind, {"colour": np.array(["a", "b"] * (N // 2))})
        right = Items(np.array(names), names, "text")
        pairs = Pairs.of(np.arange(N), row, split=split)
        if self.table:
            return Data(left, None, Pairs.of(np.arange(N), (np.arange(N) + 1) % N, split=split, same_table=True))
        if self.unrelated:
            label = np.ones(N, int)
            label[:9] = 0
            pairs = Pairs.of(np.arange(N), row, label=label, split=split)
        return Data(left, right, pairs)


class Stops(Encoder):
    """Vectors of 12 numbers, or frames of them, that are never computed."""

    takes, fingerprint = "text", {"name": "stops"}

    def __init__(self, takes: str = "text", dim: int = 12, frames: bool = False) -> None:
        self.takes, self.dim, self.frames = takes, dim, frames

    def encode(self, values):
        raise Embedded("embedded")
