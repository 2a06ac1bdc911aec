"""Metadata columns: what may be kept, what a column is where a shard lacks it, NumPy to Arrow and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.errors import BadData

PREFIX = "meta."
_KINDS = {"U": "text", "i": "integer", "u": "integer", "f": "number", "b": "boolean"}


def clean(meta: Mapping[str, Any] | None, n: int) -> dict[str, np.ndarray]:
    """Columns as (n,) arrays of text, integers, numbers or booleans.

    Raises BadData, naming the column, for other types, other shapes or another length.
    """
    found = {}
    for name, values in (meta or {}).items():
        column = np.asarray(values)
        if column.dtype.kind == "O":
            texts = [("" if v is None else v) for v in column.tolist()]
            column = np.array(texts, np.str_) if all(isinstance(v, str) for v in texts) else np.asarray(texts)
        if column.dtype.kind not in _KINDS or column.ndim != 1:
            raise BadData(
                f"metadata column '{name}' holds {column.dtype} of shape {column.shape}; expected one text, "
                "integer, number or boolean an item: convert it to text, or leave it out"
            )
        if len(column) != n:
            raise BadData(f"metadata column '{name}' has {len(column)} values for {n} items")
        found[str(name)] = column
    return found


def kinds(columns: Mapping[str, np.ndarray]) -> dict[str, str]:
    """What each column holds: "text", "integer", "number" or "boolean"."""
    return {name: _KINDS[column.dtype.kind] for name, column in columns.items()}


def merge(known: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """The columns of both; integers widen to numbers. Raises BadData where text meets anything else."""
    merged = dict(known)
    for name, kind in more.items():
        before = merged.setdefault(name, kind)
        if before != kind:
            if "text" in (before, kind):
                raise BadData(
                    f"metadata column '{name}' holds {kind} here but {before} in the store; "
                    "convert it, or give the column another name"
                )
            merged[name] = "number"
    return merged


def to_arrow(columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Columns as Arrow arrays, under their names in the Parquet file."""
    import pyarrow as pa

    return {PREFIX + n: pa.array(c.tolist(), pa.string()) if c.dtype.kind == "U" else pa.array(c)
            for n, c in columns.items()}  # fmt: skip


def to_numpy(column: Any) -> np.ndarray:
    """An Arrow column (chunked or not) without nulls as NumPy; text becomes unicode."""
    import pyarrow as pa

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=np.str_)
    return column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)


def gather(tables: Sequence[Any], name: str, kind: str) -> np.ndarray:
    """One column over several shards' tables; where a shard lacks it, text is "" and numbers are NaN."""
    pieces = []
    for table in tables:
        if PREFIX + name in table.column_names:
            pieces.append(to_numpy(table[PREFIX + name]))
        elif table.num_rows:
            fill = np.full(table.num_rows, "", np.str_) if kind == "text" else np.full(table.num_rows, np.nan)
            pieces.append(fill)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.str_ if kind == "text" else np.float64)


class LazyColumns(Mapping[str, np.ndarray]):
    """Metadata columns of the live rows, each made when it is first asked for."""

    def __init__(self, tables: Sequence[Any], known: Mapping[str, str], rows: np.ndarray | None) -> None:
        self._tables, self._known, self._rows = tables, known, rows
        self._made: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._made:
            column = gather(self._tables, name, self._known[name])
            self._made[name] = column if self._rows is None else column[self._rows]
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def differ(old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], n: int) -> np.ndarray:
    """Mask (n,) of the rows whose given metadata is not what is stored; NaN equals NaN."""
    changed = np.zeros(n, bool)
    for name, column in new.items():
        if name not in old or (old[name].dtype.kind == "U") != (column.dtype.kind == "U"):
            changed |= True
        else:
            unequal = old[name] != column
            if old[name].dtype.kind == column.dtype.kind == "f":
                unequal &= ~(np.isnan(old[name]) & np.isnan(column))
            changed |= unequal
    return changed
