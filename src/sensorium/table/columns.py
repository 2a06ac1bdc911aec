"""Metadata columns: one value for each item, of one type, as a NumPy array.

| kind | array | a missing value |
|---|---|---|
| integer | int and uint of any width; objects where some are missing | None |
| number | float16, float32, float64 | NaN |
| boolean | bool; objects where some are missing | None |
| text | fixed width while all are short; else objects, which cost what each text is long | None |
| time, duration | datetime64 (UTC), timedelta64 | NaT |
| list | objects: lists of text, numbers or booleans | None |
"""

from __future__ import annotations

import contextlib
import datetime
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.types import blocks, is_missing

_BLOCK = 1 << 16  # texts checked at a time
SHORT = 64  # characters up to which a text column has fixed width
_ITEMS = (bool, int, float, str)  # what a list may hold


def missing(column: np.ndarray) -> np.ndarray:
    """Mask (n,) of the missing values of a column."""
    if column.dtype.kind == "f":
        return np.isnan(column)
    if column.dtype.kind in "Mm":
        return np.isnat(column)
    if column.dtype.kind == "O":
        return np.fromiter((v is None for v in column), bool, len(column))
    return np.zeros(len(column), bool)


def kind_of(column: np.ndarray) -> str:
    """integer, number, boolean, text, time, duration or list; "empty" when every value is missing."""
    known = {"i": "integer", "u": "integer", "f": "number", "b": "boolean", "U": "text", "M": "time", "m": "duration"}
    if column.dtype.kind != "O":
        return known[column.dtype.kind]
    first = next((v for v in column if v is not None), None)
    if isinstance(first, bool):
        return "boolean"
    return {int: "integer", str: "text", list: "list"}.get(type(first), "empty")


def as_column(values: Any, name: str = "column") -> np.ndarray:
    """Values (n,) as a column: of a NumPy array, a list, or anything that turns into an array, such as pandas'.

    Categories become their values, bytes become text where they are UTF-8, times with a zone become UTC.
    Raises BadData, naming the column, for what has no kind: mixed types, mappings, matrices, complex numbers.
    """
    if isinstance(values, np.ma.MaskedArray):
        values = values.tolist() if np.any(values.mask) else values.data  # masked ones as None
    if isinstance(values, (list, tuple)):
        return _of_objects(values, name)
    array = np.asarray(values)
    if array.ndim != 1:
        raise BadData(f"column '{name}' has shape {array.shape}; expected one value for each item: drop or split it")
    kind = array.dtype.kind
    if kind in "OTS":  # objects, text of variable width, bytes
        return _of_objects(array.astype(object).tolist(), name)
    if kind == "U" and array.dtype.itemsize > 4 * SHORT:
        return _text(array.tolist(), name)
    if kind == "U":
        if not all(_encodes("".join(array[part].tolist())) for part in blocks(len(array), _BLOCK)):
            _valid_text(array.tolist(), name)
    elif kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    elif kind not in "iufbMm" or (kind in "Mm" and np.datetime_data(array.dtype)[0] == "generic"):
        raise BadData(f"column '{name}' holds {array.dtype}, which metadata cannot; convert it to numbers or text")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def join(old: np.ndarray, new: np.ndarray, name: str) -> np.ndarray:
    """Two columns one after the other. Raises BadData when their kinds differ."""
    kinds = {kind_of(old), kind_of(new)} - {"empty"}
    if len(kinds) > 1 and kinds != {"integer", "number"} and len(old) and len(new):
        raise BadData(f"column '{name}' holds {kind_of(old)}, the new values are {kind_of(new)}; convert them")
    if not len(old) or not len(new):
        return new if not len(old) else old
    mixed = old.dtype.kind != new.dtype.kind and {old.dtype.kind, new.dtype.kind} != {"U", "O"}
    if mixed or (old.dtype.kind == "O" and kinds == {"integer"}):
        return as_column([*old.tolist(), *new.tolist()], name)
    return np.concatenate([old, new])


def value_of(value: Any) -> Any:
    """One value of a column as plain Python: times as datetime (nanoseconds stay NumPy's), what is missing as None."""
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            return None
        plain = value.item()
        if isinstance(plain, int):  # finer than microseconds
            coarse = value.astype("M8[us]")
            return coarse.item() if coarse == value else value
        return plain
    if isinstance(value, np.timedelta64):
        if np.isnat(value):
            return None
        coarse = value.astype("m8[us]")
        return coarse.item() if coarse == value else value
    return value.item() if isinstance(value, np.generic) else value


def json_value(value: Any) -> Any:
    """A column's value as JSON can carry it: NaN and infinities as null, times as ISO 8601, valid Unicode."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [json_value(one) for one in value]
    if isinstance(value, dict):
        return {str(key): json_value(one) for key, one in value.items()}
    return json_value(value.item()) if isinstance(value, np.generic) and value.dtype.kind not in "Mm" else str(value)


def to_arrow(column: np.ndarray) -> Any:
    """A column as an Arrow array of its type."""
    import pyarrow as pa

    kind = kind_of(column)
    if column.dtype.kind not in "UO":
        return pa.array(column)
    if column.dtype.kind == "U" and len(column) * column.dtype.itemsize <= 1 << 31:  # without an object for each
        return pa.array(column, pa.string())
    values = column.tolist()
    if kind == "text":
        long = sum(map(len, filter(None, values))) > 1 << 29  # 32-bit offsets end at 2 GB of UTF-8
        return pa.array(values, pa.large_string() if long else pa.string())
    return pa.array(values)


def from_arrow(column: Any, name: str = "column") -> np.ndarray:
    """An Arrow array or chunked array as a column. Raises BadData, naming it, for a type that has no kind."""
    import pyarrow as pa

    type_ = column.type
    if pa.types.is_dictionary(type_):
        return from_arrow(column.cast(type_.value_type), name)
    whole = pa.types.is_boolean(type_) or pa.types.is_integer(type_)
    timed = pa.types.is_timestamp(type_) or pa.types.is_date(type_) or pa.types.is_duration(type_)
    if (whole and not column.null_count) or timed or pa.types.is_floating(type_):
        how = {} if isinstance(column, pa.ChunkedArray) else {"zero_copy_only": False}
        return as_column(column.to_numpy(**how), name)
    if not len(column) and (pa.types.is_string(type_) or pa.types.is_large_string(type_)):
        return np.zeros(0, np.str_)
    return _of_objects(column.to_pylist(), name)


def _objects(values: Sequence[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _of_objects(values: Sequence[Any], name: str) -> np.ndarray:
    """Python values as a column; their types say of which kind."""
    plain = {type(v) for v in values} - {type(None)}
    if len(plain) == 1 and plain <= {str, bool, int}:  # at once: what files mostly hold
        (kind,) = plain
        if kind is str:
            return _text(list(values), name)
        if kind is int:
            return _integers(list(values), name)
        return _objects(values) if None in values else np.array(values, bool)
    there = [v for v in values if not is_missing(v) or isinstance(v, (float, np.floating))]
    kinds = {_python_kind(v) for v in there}
    if kinds == {"number"} and all(is_missing(v) for v in there):
        return np.full(len(values), np.nan)  # NaN alone: numbers that are all missing
    kinds = {_python_kind(v) for v in there if not is_missing(v)}
    gaps = any(is_missing(v) for v in values)
    if not kinds:
        return _objects([None] * len(values))
    if kinds == {"integer", "number"} or kinds == {"number"}:
        return np.array([np.nan if is_missing(v) else float(v) for v in values])
    if len(kinds) > 1 or "?" in kinds:
        raise BadData(f"column '{name}' {_mixed(there)}; convert it to one type, or drop it")
    (kind,) = kinds
    if kind == "text":
        return _text([None if is_missing(v) else v if type(v) is str else str(v) for v in values], name)
    if kind == "bytes":
        try:
            return _text([None if is_missing(v) else v.decode("utf-8") for v in values], name)
        except UnicodeDecodeError:
            raise BadData(f"column '{name}' holds bytes that are not UTF-8 text; decode or drop it") from None
    if kind == "boolean":
        plain = [None if is_missing(v) else bool(v) for v in values]
        return _objects(plain) if gaps else np.array(plain, bool)
    if kind == "integer":
        return _integers([None if is_missing(v) else int(v) for v in values], name)
    if kind == "time":
        return _times(values, name)
    if kind == "duration":
        return np.array([np.timedelta64("NaT") if is_missing(v) else np.timedelta64(v) for v in values])
    lists = [None if is_missing(v) else v.tolist() if isinstance(v, np.ndarray) else list(v) for v in values]
    for value in filter(None, lists):
        if not all(one is None or isinstance(one, _ITEMS) for one in value):
            raise BadData(
                f"column '{name}' holds lists of {type(value[0]).__name__}; expected text, numbers or booleans"
            )
        _valid_text((one for one in value if isinstance(one, str)), name)
    return _objects(lists)


def _python_kind(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "boolean"
    if isinstance(value, (int, np.integer)) and not isinstance(value, np.timedelta64):
        return "integer"
    if isinstance(value, (float, np.floating)):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, (datetime.date, np.datetime64)):
        return "time"
    if isinstance(value, (datetime.timedelta, np.timedelta64)):
        return "duration"
    if isinstance(value, (list, tuple, set, frozenset)) or (isinstance(value, np.ndarray) and value.ndim == 1):
        return "list"
    return "?"


def _mixed(values: Sequence[Any]) -> str:
    examples = {type(v).__name__: v for v in reversed(values)}
    if len(examples) == 1:
        return f"holds {next(iter(examples))}, which metadata cannot"
    return "mixes " + " and ".join(f"{name} ({str(v)[:40]!r})" for name, v in sorted(examples.items())[:3])


def _integers(values: list[int | None], name: str) -> np.ndarray:
    there = [v for v in values if v is not None]
    if min(there) < -(2**63) or max(there) >= 2**64 or (min(there) < 0 and max(there) >= 2**63):
        raise BadData(
            f"column '{name}' holds integers beyond 64 bits, such as {max(there, key=abs)}; convert it to text"
        )
    if len(there) < len(values):
        return _objects(values)
    return np.array(values, np.int64 if max(there) < 2**63 else np.uint64)


def _times(values: Sequence[Any], name: str) -> np.ndarray:
    """Dates and times as datetime64; those with a zone in UTC."""
    made = []
    for value in values:
        if is_missing(value):
            made.append(np.datetime64("NaT"))
        elif isinstance(value, datetime.datetime) and value.tzinfo is not None:
            made.append(np.datetime64(value.astimezone(datetime.UTC).replace(tzinfo=None)))
        else:
            made.append(np.datetime64(value))
    return np.array(made)


def _text(values: list[str | None], name: str) -> np.ndarray:
    """Text as a fixed-width column when every value is short and there; else as objects."""
    _valid_text((v for v in values if v is not None), name)
    short = all(v is not None and len(v) <= SHORT and not v.endswith("\0") for v in values)
    return np.array(values, np.str_) if short else _objects(values)


def _valid_text(values: Iterable[str], name: str) -> None:
    values = list(values)
    if _encodes("".join(values)):
        return
    bad = [v for v in values if not _encodes(v)]
    if bad:
        shown = bad[0].encode("utf-8", "backslashreplace").decode("utf-8")[:40]
        raise BadData(
            f"column '{name}': {len(bad)} texts are not valid Unicode (lone surrogates), such as '{shown}'; fix them"
        )


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def sortable(column: np.ndarray) -> np.ndarray:
    """A column as numbers, booleans or text that NumPy can sort and count; a missing text is empty text."""
    kind = kind_of(column)
    if column.dtype.kind in "Mm":
        times = map(value_of, column)
        return np.array(["" if value is None else str(json_value(value)) for value in times], object)
    if column.dtype.kind != "O":
        return column
    joined = ["" if v is None else ", ".join(map(str, v)) if kind == "list" else str(v) for v in column]
    return np.array(joined, object)


def like(values: Sequence[Any], column: np.ndarray, name: str) -> np.ndarray:
    """Values as a column of another's kind.

    A value that is missing or cannot be of it is empty text, 0, false, NaN, NaT or, among objects, None.
    """
    kind = kind_of(column)
    if kind == "text":
        return as_column(["" if is_missing(v) else str(v) for v in values], name)
    if column.dtype.kind in "Mm":
        one = np.datetime64 if column.dtype.kind == "M" else np.timedelta64
        return np.array([_cast(v, one, one("NaT")) for v in values], column.dtype)
    if column.dtype.kind == "O":
        cast = {"integer": int, "boolean": bool, "list": _as_list}.get(kind, lambda v: v)
        return _objects([_cast(v, cast, None) for v in values])
    cast, empty = {"i": (int, 0), "u": (int, 0), "f": (float, np.nan), "b": (bool, False)}[column.dtype.kind]
    made = np.full(len(values), empty, column.dtype)
    for i, value in enumerate(values):
        with contextlib.suppress(OverflowError):  # beyond the column's range
            made[i] = _cast(value, cast, empty)
    return made


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _cast(value: Any, cast: Any, empty: Any) -> Any:
    try:
        return empty if is_missing(value) else cast(value)
    except (TypeError, ValueError, OverflowError):
        return empty
