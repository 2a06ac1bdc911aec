"""Equal items under different names: rows with the same content or nearly the same vector.

Two rows are near-duplicates when their contents hash alike, or when the cosine of their vectors exceeds
0.9999 (0.8 degrees). Where a table is one narrow cone (raw landmarks, unscaled features: mean
cosine above 0.9), every cosine is near 1 and says nothing, so such tables are centred first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sensorium import scores
from sensorium.numerics import unit
from sensorium.pairs.components import components
from sensorium.types import Rows, blocks

COSINE = 0.9999
CONE = 0.9  # mean cosine between random rows, above which a table is centred before comparing
_CONE_ROWS = 16  # fewer rows that lie close together may just be copies of one item
_SAMPLE = 4096
_GLANCE = 4096  # bytes of a file's beginning and end


@dataclass(frozen=True)
class Unit:
    """Rows of a table, centred and scaled to unit length as they are read: (n, d) float32 Rows."""

    table: Rows
    rows: np.ndarray
    centre: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        return (len(self.rows), int(self.table.shape[1]))

    @property
    def dtype(self) -> np.dtype:
        """Always float32."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        return unit(np.asarray(self.table[self.rows[which]], np.float32) - self.centre)


def cone_centre(table: Rows, rows: np.ndarray) -> np.ndarray:
    """What to subtract before comparing, (d,): zero, or the mean row of a narrow cone."""
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(np.int64)]
    x = np.asarray(table[some], np.float64)
    mean_direction = unit(x).mean(axis=0)
    # The squared length of the mean direction is the mean cosine over all pairs of rows.
    narrow = mean_direction @ mean_direction > CONE and len(some) >= _CONE_ROWS
    return (x.mean(axis=0) if narrow else np.zeros(x.shape[1])).astype(np.float32)


def near(table: Rows, evaluated: np.ndarray, seen: np.ndarray, cosine: float = COSINE) -> tuple[np.ndarray, np.ndarray]:
    """Near-duplicates across two disjoint sets of rows, as edges (evaluated row, seen row), each (e,).

    Exact and blockwise. Each evaluated row is joined to its nearest seen row, and each seen row to
    its nearest evaluated row, where the cosine exceeds the threshold: every row that has a near-duplicate is
    in some edge, without the quadratic list that a table of many equal rows would give.
    """
    if not len(evaluated) or not len(seen):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    centre = cone_centre(table, seen)
    a, b = Unit(table, evaluated, centre), Unit(table, seen, centre)
    to_seen, score = (x[:, 0] for x in scores.topk(a, b, 1))
    to_evaluated, back = (x[:, 0] for x in scores.topk(b, a, 1))
    forth, back = score > cosine, back > cosine
    return (
        np.concatenate([evaluated[forth], evaluated[to_evaluated[back]]]),
        np.concatenate([seen[to_seen[forth]], seen[back]]),
    )


def classes(n: int, edges: tuple[np.ndarray, np.ndarray], content: np.ndarray | None) -> np.ndarray:
    """Code of each row's class of near-duplicates, (n,): rows joined by edges or equal content share one."""
    label = np.arange(n)
    if content is not None:
        _, first, code = np.unique(np.asarray(content), return_index=True, return_inverse=True)
        label = first[code]
    return components(n, *edges, label)


def content_hashes(values: object, kind: str) -> np.ndarray | None:
    """One xxh3 hash per item of a table, (n,) uint64; text is compared without case or spacing.

    A path counts as the bytes of its file. Returns None for values of any other sort, such as sounds
    in memory, and where a file cannot be read: what was not looked at is neither equal nor different.
    """
    if not len(values):
        return None
    if kind == "vector":
        out = np.empty(len(values), np.uint64)
        for rows in blocks(len(values), 8192):
            out[rows] = [_hash(np.ascontiguousarray(v)) for v in values[rows]]
        return out
    if kind == "text":
        hashes = (_hash(" ".join(str(v).split()).casefold().encode()) for v in values)
        return np.fromiter(hashes, np.uint64, len(values))
    if all(isinstance(v, np.ndarray) for v in values):
        return np.array([_hash(np.ascontiguousarray(v)) for v in values], np.uint64)
    if all(isinstance(v, (str, Path)) for v in values):
        return _of_files([Path(v) for v in values])
    return None


def _of_files(paths: Sequence[Path]) -> np.ndarray | None:
    """Hash of each file's size and some of its bytes, and of all bytes where two files agree in these."""
    try:
        some = np.array([_glance(path) for path in paths], np.uint64)
        _, code, count = np.unique(some, return_inverse=True, return_counts=True)
        return np.array(
            [_hash(path.read_bytes()) if count[c] > 1 else s for path, s, c in zip(paths, some, code, strict=True)],
            np.uint64,
        )
    except OSError:
        return None


def _glance(path: Path) -> int:
    """Hash of a file's size, beginning and end."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        begins = file.read(_GLANCE)
        file.seek(max(0, size - _GLANCE))
        return _hash(size.to_bytes(8, "little") + begins + file.read(_GLANCE))


def _hash(content: bytes | np.ndarray) -> int:
    import xxhash

    return xxhash.xxh3_64_intdigest(content)
