"""Ids and metadata columns side by side: filter, append, remove, save. Indexes keep one."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Table:
    """n rows: ids (n,) unique text, and columns of n values each."""

    ids: np.ndarray
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)

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
        again = np.isin(ids, self.ids)
        if again.any() or len(np.unique(ids)) != len(ids):
            some = ids[again][:3].tolist() if again.any() else ids[:3].tolist()
            raise BadData(f"ids already present or repeated, such as {some}; remove them first")
        merged = {
            name: np.concatenate([self.columns[name], c]) if len(self) else np.asarray(c) for name, c in columns.items()
        }
        return Table(np.concatenate([self.ids, ids]) if len(self) else np.asarray(ids), merged)

    def take(self, rows: np.ndarray) -> Table:
        """The rows at positions (or under a mask) ``rows``."""
        return Table(self.ids[rows], {name: c[rows] for name, c in self.columns.items()})

    def row(self, i: int) -> dict[str, Any]:
        """One row as plain Python values, id first."""
        return {
            "id": str(self.ids[i]),
            **{name: c[i].item() if hasattr(c[i], "item") else c[i] for name, c in self.columns.items()},
        }

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
