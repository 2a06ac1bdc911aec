"""Metadata columns of a store: permitted types, values where a shard lacks a column, NumPy to Arrow and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.table.columns import as_column, from_arrow, json_value, kind_of, missing, value_of

PREFIX = "meta."
_KINDS = {"U": "text", "O": "text", "i": "integer", "u": "integer", "f": "number", "b": "boolean"}
_TEXT = ("U", "O")
_EXACT = 1 << 53  # the largest integer up to which float64 holds every integer


def clean(meta: Mapping[str, Any] | None, n: int) -> dict[str, np.ndarray]:
    """Columns as (n,) arrays of text, integers, numbers or booleans; long text as objects, see ``table.as_column``.

    Missing text becomes "", a missing integer or boolean makes the column numbers with NaN.
    Raises BadData, naming the column, for other types, other shapes or another length.
    """
    found = {}
    for name, values in (meta or {}).items():
        shape = np.shape(values) if isinstance(values, np.ndarray) else (len(values),)
        column = as_column(values, name) if len(shape) == 1 else np.asarray(values)
        if len(shape) != 1 or kind_of(column) not in (*_KINDS.values(), "empty"):
            raise BadData(
                f"metadata column '{name}' holds {column.dtype} of shape {shape}; expected one text, "
                "integer, number or boolean an item: convert it to text, or leave it out"
            )
        if len(column) != n:
            raise BadData(f"metadata column '{name}' has {len(column)} values for {n} items")
        found[str(name)] = _without_missing(column, name) if column.dtype.kind == "O" else column
    return found


def as_stored(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of items as a store takes them: times as ISO 8601 and lists as JSON, both of them text."""
    found = {}
    for name, values in meta.items():
        column = as_column(values, name) if np.ndim(values) == 1 or isinstance(values, list) else values
        kind = kind_of(column) if isinstance(column, np.ndarray) and column.ndim == 1 else ""
        if kind in ("time", "duration", "list"):
            plain = [None if gap else json_value(value_of(v)) for v, gap in zip(column, missing(column), strict=True)]
            column = [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in plain]
        found[name] = column
    return found


def _without_missing(column: np.ndarray, name: str) -> np.ndarray:
    """A column of objects without None."""
    gaps = missing(column)
    if kind_of(column) in ("text", "empty"):
        return np.where(gaps, "", column) if gaps.any() else column
    if any(abs(v) > _EXACT for v in column[~gaps]):
        raise BadData(
            f"metadata column '{name}' misses {gaps.sum()} values and holds integers beyond ±2^53, which numbers "
            "with NaN cannot; fill the gaps, or convert it to text"
        )
    return np.where(gaps, np.nan, column).astype(np.float64)


def kinds(columns: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Type of each column: "text", "integer", "number" or "boolean"."""
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

    return {PREFIX + n: pa.array(c) if c.dtype.kind not in _TEXT else pa.array(c.tolist(), pa.string())
            for n, c in columns.items()}  # fmt: skip


def to_numpy(column: Any) -> np.ndarray:
    """An Arrow column (chunked or not) without nulls as NumPy; text of fixed width while it is short, else objects."""
    return from_arrow(column)


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
    """Metadata columns of the live rows, each read at first access."""

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
    """Mask (n,) of the rows whose new metadata differs from what is stored; NaN equals NaN."""
    changed = np.zeros(n, bool)
    for name, column in new.items():
        if name not in old or (old[name].dtype.kind in _TEXT) != (column.dtype.kind in _TEXT):
            changed |= True
        else:
            unequal = old[name] != column
            if old[name].dtype.kind == column.dtype.kind == "f":
                unequal &= ~(np.isnan(old[name]) & np.isnan(column))
            changed |= unequal
    return changed
