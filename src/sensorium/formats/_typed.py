"""Columns as JSON values with the name of their type, and back, as JSON and CSV alone lose it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.formats._text import objects

_NUMBER = re.compile(r"(int|uint|float)(8|16|32|64)")
_DATE = re.compile(r"(datetime64|timedelta64)\[(Y|M|W|D|h|m|s|ms|us|ns)\]")


def type_of(column: np.ndarray, name: str, format: str) -> str:
    """The word for a column's type: a NumPy dtype, or "text".

    Raises BadData for a column of other values, naming it.
    """
    if column.dtype.kind in "iufb" or _DATE.fullmatch(column.dtype.name):
        return column.dtype.name
    if column.dtype.kind == "U" or all(isinstance(v, (str, type(None))) for v in column.tolist()):
        return "text"
    raise BadData(
        f"column '{name}' holds {column.dtype} values other than text, numbers, booleans and dates, which '{format}' "
        "has no room for; type: sensorium export parquet STORE --out FOLDER"
    )


def to_json(column: np.ndarray) -> list[Any]:
    """Values that JSON can hold: NaN, NaT and missing text become null, infinities "inf" and "-inf"."""
    if column.dtype.kind in "mM":
        return [None if np.isnat(v) else _date_text(v) for v in column]
    if column.dtype.kind == "f":
        return [v if abs(v) < np.inf else None if v != v else str(v) for v in column.tolist()]
    return column.tolist()


def from_json(values: Sequence[Any], kind: str | None, where: str) -> np.ndarray:
    """The column of values and type; without a type, as the values are. Raises BadData where they do not fit."""
    try:
        return _inferred(values) if kind is None else _typed(values, kind)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadData(f"{where} does not hold {kind} values ({error}); correct it, or move it away") from None


def from_text(values: Sequence[str | None], kind: str, where: str) -> np.ndarray:
    """As :func:`from_json`, of the texts in a CSV file."""
    if kind == "bool":
        words = {"true": True, "false": False}
        values = [words.get(v.lower(), v) if v is not None else None for v in values]
    return from_json([None if v in ("", None) and kind != "text" else v for v in values], kind, where)


def to_text(column: np.ndarray) -> list[str]:
    """Values as texts for a CSV file; NaN, NaT and missing text become ""."""
    return ["" if v is None else str(v).lower() if isinstance(v, bool) else str(v) for v in to_json(column)]


def _typed(values: Sequence[Any], kind: str) -> np.ndarray:
    if kind == "text":
        if not all(isinstance(v, (str, type(None))) for v in values):
            raise ValueError("some are no text")
        return objects(values)
    if kind == "bool":
        if not all(isinstance(v, bool) or v is None for v in values):
            raise ValueError("some are neither true nor false")
        return objects(values) if None in values else np.array(values, bool)
    if _DATE.fullmatch(kind):
        if kind.startswith("timedelta"):
            unit = _DATE.fullmatch(kind)[2]
            return np.array(["NaT" if v is None else np.timedelta64(int(v), unit) for v in values], kind)
        return np.array(["NaT" if v is None else v for v in values], kind)
    if not _NUMBER.fullmatch(kind):
        raise ValueError("an unknown type")
    if kind.startswith("float"):
        return np.array([np.nan if v is None else float(v) for v in values], np.dtype(kind))
    if None in values:  # an integer is missing: exact as a number, or as it is
        return objects([None if v is None else int(v) for v in values])
    return np.array([int(v) for v in values], np.dtype(kind))


def _inferred(values: Sequence[Any]) -> np.ndarray:
    there = [v for v in values if v is not None]
    if there and all(isinstance(v, bool) for v in there):
        return _typed(values, "bool")
    if there and all(type(v) is int and -(1 << 63) <= v < 1 << 63 for v in there) and len(there) == len(values):
        return np.array(values, np.int64)
    if there and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in there):
        numbers = np.array([np.nan if v is None else float(v) for v in values])
        exact = all(isinstance(v, float) or int(float(v)) == v for v in there)
        return numbers if exact else objects(values)
    return objects(values)


def _date_text(value: Any) -> str:
    return str(value.astype(np.int64)) if isinstance(value, np.timedelta64) else str(value)
