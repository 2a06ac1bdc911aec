"""Ragged rows as offsets and values (CSR): row i owns ``values[offsets[i]:offsets[i + 1]]``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sensorium.types import Rows, blocks

_NUMBERS = 1 << 15  # float64 numbers summed at once: 256 kB, which stay in the cache


class Ragged(NamedTuple):
    """n rows of unequal length: offsets (n + 1,) int64 from 0 on, and values (m,) in the order of the rows."""

    offsets: np.ndarray
    values: np.ndarray

    def take(self, rows: np.ndarray) -> Ragged:
        """The given rows, in that order; a row may be taken several times."""
        return Ragged(offsets_of(self.counts[rows]), self.values[rows_of(self.offsets, rows)])

    @property
    def counts(self) -> np.ndarray:
        """Length of each row, (n,)."""
        return np.diff(self.offsets)


def distinct(numbers: np.ndarray) -> np.ndarray:
    """``np.unique`` of integers (n,) by sorting: several times faster than by hashing where most are distinct.

    >>> distinct(np.array([5, 2, 5])).tolist()
    [2, 5]
    """
    ascending = np.sort(numbers, axis=None)
    return ascending[np.concatenate([[True], ascending[1:] != ascending[:-1]])] if len(ascending) else ascending


def offsets_of(counts: np.ndarray) -> np.ndarray:
    """Where rows of these lengths (n,) begin, and where the last ends: (n + 1,) int64.

    >>> offsets_of(np.array([2, 0, 3])).tolist()
    [0, 2, 2, 5]
    """
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def positions(counts: np.ndarray) -> np.ndarray:
    """Position of each value within its own row, for rows of these lengths laid end to end: (m,) int64.

    >>> positions(np.array([2, 0, 3])).tolist()
    [0, 1, 0, 1, 2]
    """
    return ranges(np.zeros(len(counts), np.int64), counts)


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``starts[i], starts[i] + 1, …`` of ``counts[i]`` numbers each, laid end to end: (m,) int64.

    >>> ranges(np.array([10, 5, 7]), np.array([2, 0, 3])).tolist()
    [10, 11, 7, 8, 9]
    """
    counts = np.asarray(counts, np.int64)
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(np.asarray(starts, np.int64) - ends + counts, counts)


def rows_of(offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Positions of the values of the given rows, row after row: (m,) int64."""
    rows = np.asarray(rows)
    return ranges(offsets[:-1][rows], np.diff(offsets)[rows])


def group(keys: np.ndarray, values: np.ndarray, n: int) -> Ragged:
    """Values (m,) gathered by their key (m,) in 0 … n - 1: row k holds those of key k, in the order given."""
    order = np.argsort(keys, kind="stable")
    return Ragged(offsets_of(np.bincount(keys, minlength=n)), values[order])


def means(x: Rows, rows: Ragged) -> np.ndarray:
    """Mean of the named rows of x (n, d) for each ragged row, none of them empty: (q, d) float32, summed in float64."""
    out = np.empty((len(rows.counts), x.shape[1]), np.float32)
    for some, total, count in _summed(x, rows):
        out[some] = total / count
    return out


def sums(x: Rows, rows: Ragged) -> np.ndarray:
    """Sum of the named rows of x (n, d) for each ragged row: (q, d) float64."""
    out = np.zeros((len(rows.counts), x.shape[1]))
    for some, total, _ in _summed(x, rows):
        out[some] = total
    return out


def _summed(x: Rows, rows: Ragged) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Some ragged rows of one length, the sums of what they name, and that length; until all are done."""
    order = np.argsort(rows.counts, kind="stable")
    ascending = rows.counts[order]
    for count in np.unique(ascending).tolist():
        alike = order[np.searchsorted(ascending, count) : np.searchsorted(ascending, count, "right")]
        for part in blocks(len(alike), max(1, _NUMBERS // max(1, x.shape[1]))):
            starts = rows.offsets[alike[part]]
            total = np.zeros((len(starts), x.shape[1]))
            for place in range(count):
                total += x[rows.values[starts + place]]
            yield alike[part], total, count
