"""Row of an id: a lookup shared by successive tables, so that adding and removing rows rebuilds nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np


class _Serials(dict[str, int]):
    """Serial number of every id that a family of tables has or had; ``next`` is not used yet."""

    next = 0

    def assign(self, ids: Sequence[str]) -> np.ndarray:
        """New serial numbers (m,) for m ids."""
        first, self.next = self.next, self.next + len(ids)
        self.update(zip(ids, range(first, self.next), strict=True))
        return np.arange(first, self.next)


class RowLookup(Mapping[str, int]):
    """Row of every id of a table: built once, then handed from table to table as rows are added and removed.

    An id has a serial number; the serials of a table ascend with its rows, so a row is found by
    binary search and removing rows renumbers nothing. All tables that descend from one share the serials.
    """

    def __init__(self, ids: np.ndarray, known: _Serials, serials: np.ndarray) -> None:
        self._ids, self._known, self._serials = ids, known, serials

    @classmethod
    def of(cls, ids: np.ndarray) -> RowLookup:
        """A new lookup of the rows of unique ids (n,)."""
        known = _Serials()
        return cls(ids, known, known.assign(ids.tolist()))

    def row(self, id: Any) -> int:
        """Row of an id; -1 when it is not here."""
        serial = self._known.get(id)
        if serial is None:
            return -1
        row = int(np.searchsorted(self._serials, serial))
        if row < len(self._serials) and self._serials[row] == serial:
            return row
        # Removed here; or removed and added again in a later table, which gave it another serial.
        rows = np.flatnonzero(self._ids == id)
        return int(rows[0]) if len(rows) else -1

    def rows(self, ids: Iterable[Any]) -> np.ndarray:
        """Rows (m,) of m ids; -1 for those that are not here."""
        return np.array([self.row(id) for id in ids], np.int64)

    def __getitem__(self, id: str) -> int:
        row = self.row(id)
        if row < 0:
            raise KeyError(id)
        return row

    def __contains__(self, id: object) -> bool:
        return self.row(id) >= 0

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids.tolist())

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, ids: np.ndarray, new: Sequence[str]) -> RowLookup:
        """The lookup of a table ``ids`` (n + m,) whose last m rows are ``new``."""
        if len(self._known) > 2 * len(ids) + 1000:  # most of its entries have been removed
            return RowLookup.of(ids)
        return RowLookup(ids, self._known, np.concatenate([self._serials, self._known.assign(new)]))

    def take(self, ids: np.ndarray, rows: np.ndarray) -> RowLookup:
        """The lookup of a table ``ids`` that has these rows (ascending positions, or a mask)."""
        return RowLookup(ids, self._known, self._serials[rows])
