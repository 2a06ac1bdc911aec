"""Dictionary encoding of a metadata column: each distinct value once, and a small integer for each row.

Counting, grouping and comparing then work on integers: a condition is decided once for each distinct value.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from sensorium.table.columns import as_column, kind_of, missing, value_of
from sensorium.table.where import holds

_MISSING = np.array([None], object)


class Codes:
    """A column of n rows as codes into its distinct values.

    codes (n,) int32: -1 where the value is missing. Of a list column codes are (e,), one for each distinct value in
    each list, and ``rows`` (e,) says whose; ``gaps`` counts its missing lists. Tables that descend from one another
    share the distinct values, so adding rows encodes only these rows.
    """

    def __init__(
        self, column: np.ndarray, keys: list[Any], known: dict[Any, int], codes: np.ndarray, rows: np.ndarray | None
    ) -> None:
        self.kind, self.dtype, self.n = kind_of(column), column.dtype, len(column)
        self.codes, self.rows = codes, rows
        self._column, self._keys, self._known = column, keys, known
        self._size = len(keys)  # later tables append to the shared keys

    @classmethod
    def of(cls, column: np.ndarray) -> Codes:
        """The codes of a column (n,)."""
        keys: list[Any] = []
        known: dict[Any, int] = {}
        return cls(column, keys, known, *_encode(column, kind_of(column), keys, known))

    def __len__(self) -> int:
        return self._size

    @cached_property
    def gaps(self) -> int:
        """How many rows have no value."""
        return int(np.count_nonzero(missing(self._column) if self.rows is not None else self.codes < 0))

    @cached_property
    def values(self) -> np.ndarray:
        """The distinct values (v,), in the order of their codes, as a column."""
        keys = self._keys[: self._size]
        if self.dtype.kind in "Mm":
            return np.array(keys, np.int64).view(self.dtype)
        if self.dtype.kind in "iufb":
            return np.array(keys, self.dtype)
        return as_column(keys) if self.kind == "integer" else _objects(keys)

    def value(self, code: int) -> Any:
        """One distinct value as plain Python; None for code -1."""
        return None if code < 0 else value_of(self.values[code])

    def counts(self, mask: np.ndarray | None = None) -> tuple[np.ndarray, int]:
        """Rows of each value (v,) int64, and rows without one, among those of ``mask`` (n,); None is all."""
        if mask is None:
            return self._totals
        if self.rows is not None:
            gaps = int(np.count_nonzero(missing(self._column) & mask)) if self.gaps else 0
            return np.bincount(self.codes[mask[self.rows]], minlength=self._size), gaps
        found = np.bincount(self.codes[mask] + 1, minlength=self._size + 1)
        return found[1:], int(found[0])

    @cached_property
    def _totals(self) -> tuple[np.ndarray, int]:
        return self.counts(np.ones(self.n, bool))

    def holds(self, condition: Any, name: str) -> np.ndarray:
        """Mask (n,) of the rows that meet a condition: as :func:`sensorium.table.where.holds` of the column."""
        if self.rows is not None:
            return holds(self._column, condition, name)
        met = np.append(holds(self.values, condition, name), holds(_MISSING, condition, name))
        return met[self.codes]  # -1 is the last

    def append(self, column: np.ndarray, start: int) -> Codes | None:
        """The codes of a longer column, whose rows from ``start`` on are new; None where its type has changed."""
        if kind_of(column) != self.kind or (column.dtype != self.dtype and self.kind != "text"):
            return None
        if not self._known:
            self._known.update(zip(self._keys, range(len(self._keys)), strict=True))
        codes, rows = _encode(column[start:], self.kind, self._keys, self._known)
        joined = np.concatenate([self.codes, codes])
        return Codes(
            column, self._keys, self._known, joined,
            None if rows is None or self.rows is None else np.concatenate([self.rows, rows + start]),
        )  # fmt: skip

    def take(self, column: np.ndarray, rows: np.ndarray) -> Codes:
        """The codes of the rows at ascending positions (or under a mask) ``rows``, whose column is given."""
        if self.rows is None:
            return Codes(column, self._keys, self._known, self.codes[rows], None)
        place = np.full(self.n, -1, np.int64)
        place[rows] = np.arange(len(column))
        kept = place[self.rows]
        return Codes(column, self._keys, self._known, self.codes[kept >= 0], kept[kept >= 0])


def _encode(
    column: np.ndarray, kind: str, keys: list[Any], known: dict[Any, int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Codes of a column, and their rows where it holds lists; new values are appended to ``keys``."""
    if kind == "list":
        lists = [set() if one is None else {v for v in one if v is not None} for one in column]
        rows = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
        return _coded((value for one in lists for value in one), keys, known), rows
    there = ~missing(column)
    codes = np.full(len(column), -1, np.int32)
    if column.dtype.kind in "OU":
        codes[there] = _coded(column[there].tolist(), keys, known)
        return codes, None
    ticks = column.dtype.kind in "Mm"
    distinct, inverse = np.unique(column[there].view(np.int64) if ticks else column[there], return_inverse=True)
    if not keys:  # a whole column: the values need no dictionary yet
        keys.extend(distinct.tolist())
        codes[there] = inverse
    else:
        codes[there] = _coded(distinct.tolist(), keys, known)[inverse]
    return codes, None


def _coded(values: Iterable[Hashable], keys: list[Any], known: dict[Any, int]) -> np.ndarray:
    """The code of each value; a new one gets the next number."""
    before = len(known)
    codes = np.array([known.setdefault(value, len(known)) for value in values], np.int32)
    keys.extend(reversed([*islice(reversed(known), len(known) - before)]))
    return codes


def _objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array
