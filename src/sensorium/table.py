"""Ids and metadata columns side by side: filter, append, remove, save. Indexes keep one."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData, BadRecipe, nearest

_OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


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
        if len(self._known) > 2 * len(ids) + 1000:  # most of what it knows has been removed
            return RowLookup.of(ids)
        return RowLookup(ids, self._known, np.concatenate([self._serials, self._known.assign(new)]))

    def take(self, ids: np.ndarray, rows: np.ndarray) -> RowLookup:
        """The lookup of a table ``ids`` that has these rows (ascending positions, or a mask)."""
        return RowLookup(ids, self._known, self._serials[rows])


@dataclass(frozen=True)
class Table:
    """n rows: ids (n,) unique text, and columns of n values each."""

    ids: np.ndarray
    columns: Mapping[str, np.ndarray]
    _lookup: list[RowLookup] = field(default_factory=list, repr=False, compare=False)  # none, or the one

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> RowLookup:
        """The row of every id, as a mapping; built when first used."""
        if not self._lookup:
            self._lookup.append(RowLookup.of(self.ids))
        return self._lookup[0]

    def where(self, conditions: Mapping[str, Any]) -> np.ndarray:
        """Mask (n,) of the rows that meet every condition.

        A condition is a value (equal), a list (any of), or a mapping of operators such as
        ``{">=": 2000}``. Values are compared as the column's own type, so "2000" finds 2000.
        Raises BadRecipe for an unknown column (naming the nearest) or operator.
        """
        mask = np.ones(len(self), bool)
        for name, condition in conditions.items():
            if name != "id" and name not in self.columns:
                raise BadRecipe(f"where: no column '{name}'; {nearest(name, ['id', *self.columns])}")
            column = self.ids if name == "id" else self.columns[name]
            if isinstance(condition, Mapping):
                for sign, value in condition.items():
                    if sign not in _OPERATORS:
                        raise BadRecipe(f"where: no operator '{sign}'; {nearest(sign, _OPERATORS)}")
                    mask &= _OPERATORS[sign](column, _like(column, [value], name)[0])
            elif isinstance(condition, (list, tuple, set, np.ndarray)):
                mask &= np.isin(column, _like(column, list(condition), name))
            else:
                mask &= column == _like(column, [condition], name)[0]
        return mask

    def append(self, ids: np.ndarray, columns: Mapping[str, np.ndarray]) -> Table:
        """A table with more rows; raises BadData when an id is already there or columns differ."""
        if len(self) and set(columns) != set(self.columns):
            raise BadData(f"metadata columns {sorted(columns)} differ from the table's {sorted(self.columns)}")
        new, seen = ids.tolist(), set()
        again = [id for id in new if id in seen or seen.add(id) or id in self.rows]
        if again:
            raise BadData(f"ids already present or repeated, such as {again[:3]}; remove them first")
        merged = {
            name: np.concatenate([self.columns[name], c]) if len(self) else np.asarray(c) for name, c in columns.items()
        }
        merged_ids = np.concatenate([self.ids, ids]) if len(self) else np.asarray(ids)
        return Table(merged_ids, merged, [self.rows.append(merged_ids, new)])

    def take(self, rows: np.ndarray) -> Table:
        """The rows at ascending positions (or under a mask) ``rows``."""
        ids = self.ids[rows]
        known = [self._lookup[0].take(ids, rows)] if self._lookup else []
        return Table(ids, {name: c[rows] for name, c in self.columns.items()}, known)

    def metadata(self, row: int) -> dict[str, Any]:
        """The columns of one row as plain Python values."""
        return {name: c[row].item() if isinstance(c[row], np.generic) else c[row] for name, c in self.columns.items()}

    def save(self, path: Path) -> None:
        """Write as Parquet, atomically."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrays = {"id": pa.array(self.ids.tolist(), pa.string())}
        arrays |= {
            f"meta.{name}": pa.array(c.tolist(), pa.string()) if c.dtype.kind == "U" else pa.array(c)
            for name, c in self.columns.items()
        }
        io.write(path, lambda file: pq.write_table(pa.table(arrays), file, write_page_checksum=True))

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read what :meth:`save` wrote."""
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        columns = {name: _column(table[name]) for name in table.column_names}
        return cls(columns.pop("id").astype(np.str_), {name.removeprefix("meta."): c for name, c in columns.items()})


def _column(chunked: Any) -> np.ndarray:
    """An Arrow column as NumPy: text as unicode, the rest as itself."""
    import pyarrow as pa

    if pa.types.is_string(chunked.type) or pa.types.is_large_string(chunked.type):
        return (
            np.array(chunked.to_pylist(), dtype=np.str_)
            if chunked.null_count == 0
            else np.array(["" if v is None else v for v in chunked.to_pylist()], dtype=np.str_)
        )
    return chunked.to_numpy()


def _like(column: np.ndarray, values: Sequence[Any], name: str) -> np.ndarray:
    """Values as the column's type; text such as "3" is read as a number for a numeric column."""
    try:
        if column.dtype.kind == "U":
            return np.array([str(v) for v in values], dtype=np.str_)
        if column.dtype.kind == "b":
            return np.array(
                [v if isinstance(v, bool) else {"true": True, "false": False}[str(v).lower()] for v in values]
            )
        return np.array([float(v) if isinstance(v, str) else v for v in values])
    except (ValueError, KeyError) as error:
        raise BadRecipe(
            f"where: column '{name}' holds {column.dtype}, which {values!r} cannot be compared with"
        ) from error
