"""Rows read in blocks as checked float32: the only door through which vectors come in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sensorium.errors import BadData
from sensorium.scores.similarity import LONGEST, lengths
from sensorium.types import Rows, blocks


class Source:
    """The chosen rows of a table, in memory or mapped from a file; nothing is read until asked for.

    table (n, d). rows (m,): which rows, in order; None for all. what: "queries" or "candidates",
    for messages. known (n,): lengths of all rows of a table that was checked before.
    """

    def __init__(
        self,
        table: Rows,
        rows: np.ndarray | None = None,
        what: str = "candidates",
        known: np.ndarray | None = None,
    ) -> None:
        self.table, self.what, self.known = table, what, known
        # Rows in sequence are read as slices, which memory maps serve without a gather.
        if rows is not None and len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all():
            self.rows, self.start, self.size = None, int(rows[0]), len(rows)
        else:
            self.rows, self.start, self.size = rows, 0, len(table) if rows is None else len(rows)
        self.width = int(table.shape[1]) if len(table.shape) == 2 else 0

    def __len__(self) -> int:
        return self.size

    def read(self, part: slice) -> tuple[np.ndarray, np.ndarray]:
        """Positions ``part`` as (b, d) float32 and their lengths (b,); BadData when a row is unusable."""
        if self.rows is None:
            return self._checked(slice(self.start + part.start, self.start + part.stop))
        return self._checked(self.rows[part])

    def take(self, positions: np.ndarray) -> np.ndarray:
        """The vectors at positions (b,), (b, d) float32, checked."""
        return self._checked(positions + self.start if self.rows is None else self.rows[positions])[0]

    def blocks(self, size: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """(positions, vectors, lengths) block by block."""
        for part in blocks(self.size, size):
            yield part, *self.read(part)

    def sample(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """About ``size`` vectors, evenly spread, and their lengths."""
        x = self.take(np.unique(np.linspace(0, self.size - 1, min(size, self.size)).astype(np.int64)))
        return x, lengths(x)

    def _checked(self, rows: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = np.require(self.table[rows], np.float32, "C")
        if self.known is not None:
            return x, self.known[rows]
        length = lengths(x)
        if not (length < LONGEST).all():
            i = int(np.flatnonzero(length >= LONGEST)[0])
            row = rows.start + i if isinstance(rows, slice) else int(rows[i])
            wrong = "is too long for float32" if np.isfinite(x[i]).all() else "holds NaN or infinity"
            raise BadData(f"{self.what}: row {row} {wrong}, so its scores are undefined; correct or drop that row")
        return x, length


def same_width(queries: Rows, candidates: Rows) -> None:
    """Raise BadData unless both tables are (n, d) with one d."""
    for what, table in (("queries", queries), ("candidates", candidates)):
        if len(table.shape) != 2:
            raise BadData(f"{what}: expected a table (n, d), got shape {tuple(table.shape)}")
    if queries.shape[1] != candidates.shape[1]:
        raise BadData(f"queries are {queries.shape[1]} wide, candidates {candidates.shape[1]}; both heads must agree")
