"""Ids and metadata columns side by side: look up, filter, append, remove, save. Every index has one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData, BadRecipe, Corrupt, SensoriumError, nearest
from sensorium.table.codes import Codes
from sensorium.table.columns import as_column, from_arrow, join, json_value, to_arrow, value_of
from sensorium.table.lookup import RowLookup
from sensorium.table.where import holds
from sensorium.types import as_ids

__all__ = ["RowLookup", "Table", "as_column", "json_value"]
_MASK_BYTES = 32 << 20  # of masks that a table keeps
_LONGEST_KEY = 200  # characters of a condition whose mask is kept
_METADATA = "metadata."  # before a column's name in a filter, where the name alone means the item's id


@dataclass(frozen=True)
class Table:
    """n rows: ids (n,) unique text, and columns of n values each (see :mod:`sensorium.table.columns`)."""

    ids: np.ndarray
    columns: Mapping[str, np.ndarray]
    _lookup: list[RowLookup] = field(default_factory=list, repr=False, compare=False)  # none, or the one
    _coded: dict[str, Codes] = field(default_factory=dict, repr=False, compare=False)  # by column, when first used
    _masks: dict[tuple[str, str], np.ndarray] = field(default_factory=dict, repr=False, compare=False)  # of conditions

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

        A condition is a value (equal), a list (any of), or a mapping of operators such as ``{">=": 2000}``.
        Values are compared as the column's own type: "2000" finds 2000, 0.1 finds float32(0.1), and
        integers are compared exactly. None finds what is missing; a list column equals what it contains.
        "id" is the item's id; a column of that name is "metadata.id".
        Raises BadRecipe for an unknown column (naming the nearest) or operator, or a value of another type.
        """
        mask = np.ones(len(self), bool)
        for name, condition in conditions.items():
            mask &= self.holds(name, condition)
        return mask

    def holds(self, name: str, condition: Any) -> np.ndarray:
        """Mask (n,) of the rows that meet one condition of :meth:`where`; not to be changed.

        The masks of the last short conditions are kept: a server is asked with the same filters again and again.
        """
        key = _key(condition)
        if key is None:
            return self._holds(name, condition)
        mask = self._masks.get((name, key))
        if mask is None:
            mask = self._holds(name, condition)
            mask.flags.writeable = False
            if len(self._masks) * len(self) >= _MASK_BYTES:
                self._masks.clear()
            self._masks[name, key] = mask
        return mask

    def _holds(self, name: str, condition: Any) -> np.ndarray:
        if name != "id" and (known := self._coded.get(self.column_name(name))) is not None:
            return known.holds(condition, name)
        return holds(self.ids if name == "id" else self.columns[self.column_name(name)], condition, name)

    def column_name(self, name: str, what: str = "where") -> str:
        """A column by its name or as "metadata.NAME"; "id" of itself. Raises BadRecipe, naming the nearest."""
        if name == "id" or name in self.columns:
            return name
        if name.removeprefix(_METADATA) in self.columns:
            return name.removeprefix(_METADATA)
        raise BadRecipe(f"{what}: no column '{name}'; {nearest(name, ['id', *self.columns])}")

    def codes(self, name: str, what: str) -> Codes:
        """A column, dictionary-encoded; once for this table and those made of it by adding and removing rows.

        Raises BadRecipe for an unknown column, and for the ids, which have as many values as rows. what: who asks.
        """
        known = self.column_name(name, what)
        if known == "id":
            raise BadRecipe(f"{what}: every item has an id of its own; expected a column: {', '.join(self.columns)}")
        if known not in self._coded:
            self._coded[known] = Codes.of(self.columns[known])
        return self._coded[known]

    def append(self, ids: np.ndarray, columns: Mapping[str, Any]) -> Table:
        """A table with more rows; raises BadData when an id is already there, or columns or their kinds differ."""
        if len(self) and set(columns) != set(self.columns):
            raise BadData(f"metadata columns {sorted(columns)} differ from the table's {sorted(self.columns)}")
        if not len(self) and not _repeat(ids):  # the rows of the first ids are looked up when first needed
            return Table(np.asarray(ids), {name: as_column(column, name) for name, column in columns.items()})
        new, seen = ids.tolist(), set()
        again = [id for id in new if id in seen or seen.add(id) or id in self.rows]  # type: ignore[func-returns-value]
        if again:
            raise BadData(f"ids already present or repeated, such as {again[:3]}; remove them first")
        more = {name: as_column(column, name) for name, column in columns.items()}
        merged = {
            name: join(self.columns[name], column, name) if len(self) else column for name, column in more.items()
        }
        merged_ids = np.concatenate([self.ids, ids]) if len(self) else np.asarray(ids)
        n, known = len(self), self._coded.copy()  # another thread may be counting
        coded = {name: made for name, one in known.items() if (made := one.append(merged[name], n)) is not None}
        return Table(merged_ids, merged, [self.rows.append(merged_ids, new)], coded)

    def take(self, rows: np.ndarray) -> Table:
        """The rows at ascending positions (or under a mask) ``rows``."""
        ids = self.ids[rows]
        known = [self._lookup[0].take(ids, rows)] if self._lookup else []
        columns = {name: c[rows] for name, c in self.columns.items()}
        return Table(
            ids, columns, known, {name: one.take(columns[name], rows) for name, one in self._coded.copy().items()}
        )

    def metadata(self, row: int) -> dict[str, Any]:
        """The columns of one row as plain Python values; None where a text, integer, boolean or time is missing."""
        return {name: value_of(c[row]) for name, c in self.columns.items()}

    def save(self, path: Path) -> None:
        """Write as Parquet, atomically."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrays = {"id": to_arrow(self.ids)}
        arrays |= {f"meta.{name}": to_arrow(as_column(column, name)) for name, column in self.columns.items()}
        io.write(path, lambda file: pq.write_table(pa.table(arrays), file, write_page_checksum=True))

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read what :meth:`save` wrote. Raises Corrupt, naming the file, when it is damaged or missing."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path, page_checksum_verification=True)
            columns = {name: from_arrow(table[name], name) for name in table.column_names}
            ids = as_ids(columns.pop("id"))
        except FileNotFoundError:
            raise Corrupt(f"{path} is missing; restore it, or make it anew") from None
        except (pa.ArrowException, OSError, ValueError, KeyError, SensoriumError) as error:
            raise Corrupt(f"{path} is damaged ({error}); restore it, or make it anew") from error
        return cls(ids, {name.removeprefix("meta."): column for name, column in columns.items()})


def _repeat(ids: np.ndarray) -> bool:
    """Whether an id stands there twice; without a mapping of them, which takes more memory than they do."""
    ordered = np.sort(ids)
    return bool((ordered[1:] == ordered[:-1]).any())


def _key(condition: Any) -> str | None:
    """A short condition as text, equal for equal ones; None for a long one and for values that JSON has no word for."""
    if isinstance(condition, (list, tuple)) and len(condition) > _LONGEST_KEY:
        return None
    try:
        text = json.dumps(condition)
    except (TypeError, ValueError):
        return None
    return text if len(text) <= _LONGEST_KEY else None
