"""The nouns: Items before any model, Embeddings after one, Hits out of a search.

Letters in shapes always mean the same: n m items, p pairs, b batch, d width, t frames,
q queries, k neighbours, c classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from sensorium.errors import BadData


@runtime_checkable
class Rows(Protocol):
    """A (n, d) matrix read by rows: a NumPy array, a memory map or a sharded store.

    Indexing with a slice or an int64 array returns a fresh or viewed ``np.ndarray``.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of one number."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any) -> np.ndarray: ...


def blocks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` rows that cover ``range(n)`` in order."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def as_ids(ids: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Ids as a (n,) unicode array; integers become their decimal text, so 7 and "7" are one id."""
    array = np.asarray(ids)
    if array.ndim != 1:
        raise BadData(f"ids must be one-dimensional, got shape {array.shape}")
    if not array.size:
        return np.zeros(0, np.str_)
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    if array.dtype.kind in "iubU":
        return array.astype(np.str_)
    if array.dtype.kind == "f":
        raise BadData("ids are floating-point numbers; convert them to integers or text first")
    return np.array([str(x) for x in array.tolist()], dtype=np.str_)


def check_unique(ids: np.ndarray, what: str) -> None:
    """Raise :class:`BadData` with the count and three examples when ids repeat."""
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) != len(ids):
        repeated = unique[counts > 1]
        raise BadData(
            f"{what}: {len(ids) - len(unique)} duplicate ids, such as "
            f"{', '.join(map(repr, repeated[:3].tolist()))}; every id must be unique"
        )


@dataclass(frozen=True)
class Items:
    """Raw things before any model.

    ids: (n,) unique text. values: n things of one ``kind``. meta: columns of n values each.
    kind: "text", "image", "audio", "face" or "vector" (already encoded: values is (n, d) Rows).
    source: for kind "vector", what made the vectors (becomes their fingerprint).
    searchable: (n,) bool, False for items that are there to train on only, such as augmented copies; None is all.
    """

    ids: np.ndarray
    values: Any
    kind: str
    meta: Mapping[str, np.ndarray] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    searchable: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_unique(self.ids, f"{self.kind} items")
        for name, column in [("values", self.values), *self.meta.items(), ("searchable", self.searchable)]:
            if column is not None and len(column) != len(self.ids):
                raise BadData(f"{name}: {len(column)} values for {len(self.ids)} ids")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Embeddings:
    """Vectors as the encoder gave them, with ids, metadata and the maker's fingerprint.

    vectors: (n, d) Rows; or, when ``offsets`` (n + 1,) is given, (t, d) frames of which item i
    owns ``vectors[offsets[i]:offsets[i + 1]]``.
    """

    ids: np.ndarray
    vectors: Rows
    fingerprint: Mapping[str, Any]
    meta: Mapping[str, np.ndarray] = field(default_factory=dict)
    offsets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Width d of one vector."""
        return int(self.vectors.shape[1])


class Hits(NamedTuple):
    """The nearest of q queries: rows (q, k) int64 and scores (q, k) float32, best first, higher is nearer.

    rows count the rows of the index's ``table``. Where fewer than k match, the row is -1 and the score -inf.
    """

    rows: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Affine:
    """z = x @ weight + bias: what every closed form solves for. weight (d_in, d_out), float64."""

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Map (n, d_in) to (n, d_out)."""
        return x @ self.weight + self.bias


class Solution(NamedTuple):
    """What a closed form settles: a map for each side, None meaning identity; notes for the report."""

    left: Affine | None
    right: Affine | None
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class Data:
    """What a dataset gives: items of both sides, their pairs, and what was dropped and why.

    right is None when both sides are the same table under one tied head.
    """

    left: Items
    right: Items | None
    pairs: Any  # sensorium.pairs.Pairs
    notes: Mapping[str, Any] = field(default_factory=dict)
