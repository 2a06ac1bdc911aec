"""Conditions on metadata columns: comparisons in the column's own type, exact for integers of 64 bits."""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from sensorium.errors import BadRecipe, nearest
from sensorium.table.columns import kind_of, missing
from sensorium.types import is_missing

Compare = Callable[[Any, Any], Any]
OPERATORS: Mapping[str, Compare] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
CONTAINS = "contains"  #: operator of text: the letters stand in the value, whatever their case
_FAR = Decimal(2) ** 80  # beyond every integer of 64 bits, in ticks of any unit
_ZONE = re.compile(r"(?<=\d)(Z|[+-]\d\d:?\d\d)$")


def holds(column: np.ndarray, condition: Any, name: str) -> np.ndarray:
    """Mask (n,) of the values that meet a condition.

    condition: a value (equal), a list, tuple, set or array (any of these), or a mapping of operators to a
    value or a list: ``==`` any of them, every other operator all of them; ``contains`` looks for text within the
    value, in letters of any case. None stands for "missing".
    Raises BadRecipe for an unknown operator, or a value that cannot be of the column's type.
    """
    if isinstance(condition, Mapping):
        mask = np.ones(len(column), bool)
        for sign, value in condition.items():
            if sign not in OPERATORS and sign != CONTAINS:
                raise BadRecipe(f"where: no operator '{sign}'; {nearest(str(sign), [*OPERATORS, CONTAINS])}")
            values = _several(value)
            if sign == CONTAINS:
                for one in [value] if values is None else values:
                    mask &= contains(column, one, name)
                continue
            if sign == "==" and values is not None:
                mask &= _any_of(column, values, name)
                continue
            for one in [value] if values is None else values:
                mask &= compare(column, sign, one, name)
        return mask
    values = _several(condition)
    return compare(column, "==", condition, name) if values is None else _any_of(column, values, name)


def compare(column: np.ndarray, sign: str, value: Any, name: str) -> np.ndarray:
    """Mask (n,) of ``column sign value``. A missing value is unequal to every value and not ordered.

    value: of the column's type, or text that says one: "3" for an integer, "2024-05-01" for a time.
    A list column equals a value that it contains.
    """
    gaps, kind = missing(column), kind_of(column)
    if is_missing(value):
        if sign not in ("==", "!="):
            raise BadRecipe(f"where: column '{name}' {sign} nothing; a missing value is only == or !=")
        return gaps if sign == "==" else ~gaps
    try:
        there = _COMPARED[kind](column[~gaps] if gaps.any() else column, sign, value)
    except (ValueError, KeyError, TypeError, InvalidOperation, OverflowError) as error:
        called = column.dtype if column.dtype.kind != "O" else kind
        raise BadRecipe(f"where: column '{name}' holds {called}, which {value!r} cannot be compared with") from error
    if not gaps.any():
        return np.asarray(there, bool)
    mask = np.full(len(column), sign == "!=")
    mask[~gaps] = there
    return mask


def contains(column: np.ndarray, value: Any, name: str) -> np.ndarray:
    """Mask (n,) of the texts, or lists with a text, in which ``value`` stands, in letters of any case.

    Numbers are read as they are written. Raises BadRecipe for a value that is no text.
    """
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise BadRecipe(f"where: column '{name}' contains {value!r}; expected text")
    part = str(value).casefold()
    if kind_of(column) == "list":
        there = (not is_missing(v) and any(part in str(one).casefold() for one in v) for v in column)
    else:
        there = (not is_missing(v) and part in str(v).casefold() for v in column.tolist())
    return np.fromiter(there, bool, len(column))


def a_tenth(ids: np.ndarray) -> dict[str, Any]:
    """A filter that a tenth of the items pass, at least 10 and at most 10,000, evenly spread: to measure with."""
    n = len(ids)
    rows = np.unique(np.linspace(0, max(n - 1, 0), min(n, max(10, min(n // 10, 10_000)))).astype(np.int64))
    return {"id": ids[rows].tolist()}


def _several(value: Any) -> list[Any] | None:
    """The values of a list; None for a single value."""
    if isinstance(value, np.ndarray):
        return value.tolist() if value.dtype.kind not in "Mm" else list(value)
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else None


def _any_of(column: np.ndarray, values: list[Any], name: str) -> np.ndarray:
    if kind_of(column) == "text" and not any(is_missing(v) for v in values):
        known = {str(v) for v in values}
        if column.dtype.kind == "U":
            return np.isin(column, np.array(sorted(v for v in known if not v.endswith("\0")), np.str_))
        return np.fromiter((v in known for v in column), bool, len(column))
    mask = np.zeros(len(column), bool)
    for value in values:
        mask |= compare(column, "==", value, name)
    return mask


def _text(column: np.ndarray, sign: str, value: Any) -> np.ndarray:
    text: Any = str(value)
    if text.endswith("\0"):  # which NumPy does not see in text of fixed width, of the column or the constant
        column, text = column.astype(object), np.array(text, object)
    return OPERATORS[sign](column, text)


def _boolean(column: np.ndarray, sign: str, value: Any) -> np.ndarray:
    truth = value if isinstance(value, (bool, np.bool_)) else {"true": True, "false": False}[str(value).lower()]
    return OPERATORS[sign](column.astype(bool), bool(truth))


def _number(column: np.ndarray, sign: str, value: Any) -> np.ndarray:
    """Floats against the constant's value in the column's own precision, as 0.1 is not the same in all."""
    constant = constant_of(column.dtype, value)
    return OPERATORS[sign](column.astype(constant.dtype, copy=False), constant)


def constant_of(dtype: np.dtype, value: Any) -> Any:
    """A number as a floating column of this type is compared with it: of that type, or float64 beyond its range.

    Raises ValueError or TypeError for what is no number.
    """
    if not isinstance(value, (str, int, float, np.integer, np.floating, Decimal)):
        raise TypeError(type(value))
    try:
        number = float(value)
    except OverflowError:  # an integer beyond every float
        number = np.inf if value > 0 else -np.inf
    with np.errstate(over="ignore"):
        constant = dtype.type(number)
    if np.isinf(constant) and np.isfinite(number):  # beyond the column's range, not equal to its infinity
        return np.float64(number)
    return constant


def limits(dtype: np.dtype, kind: str, value: Any) -> tuple[int, int]:
    """The integers at or below, and at or above, a value that an integer, time or duration column is compared with.

    kind: the column's. Of times and durations in ticks of the column's unit. Raises ValueError, TypeError,
    OverflowError or InvalidOperation for a value of another kind.
    """
    if kind == "time":
        return _tick_limits(dtype, _time_of(value))
    if kind == "duration":
        return _tick_limits(dtype, _duration_of(value))
    if not isinstance(value, (str, int, float, np.integer, np.floating, Decimal)):
        raise TypeError(type(value))
    return _around(value)


def _integer(column: np.ndarray, sign: str, value: Any) -> np.ndarray:
    return _whole(column, sign, *limits(column.dtype, "integer", value))


def _around(value: Any) -> tuple[int, int]:
    """The integers at or below, and at or above, a number of any form, exactly."""
    if isinstance(value, (int, np.integer)):
        return int(value), int(value)
    if isinstance(value, str):
        value = value.strip()
    number = Decimal(value if isinstance(value, (str, Decimal)) else float(value))
    if number.is_nan():
        raise ValueError("NaN")
    number = max(min(number, _FAR), -_FAR)
    return int(number.to_integral_value("ROUND_FLOOR")), int(number.to_integral_value("ROUND_CEILING"))


def _whole(column: np.ndarray, sign: str, low: int, high: int) -> np.ndarray:
    """Integers (any dtype, or objects) against a number between ``low`` and ``high``."""
    if sign in ("==", "!="):
        equal = column == low if low == high else np.zeros(len(column), bool)
        return np.asarray(equal if sign == "==" else ~np.asarray(equal, bool), bool)
    if sign in ("<", "<="):  # v < 2.5 where v <= 2
        return np.asarray(column < low if low == high and sign == "<" else column <= low, bool)
    return np.asarray(column > high if low == high and sign == ">" else column >= high, bool)


def _time(column: np.ndarray, sign: str, value: Any) -> np.ndarray:
    return _whole(_ticks(column), sign, *limits(column.dtype, "time", value))


def _time_of(value: Any) -> np.datetime64:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    shift = np.timedelta64(0, "m")
    if isinstance(value, str):
        zone = _ZONE.search(value) if "T" in value or " " in value.strip() else None
        if zone:
            value = value[: zone.start()]
            shift = _offset(zone[1].replace(":", ""))
        value = value.strip()
    elif not isinstance(value, (datetime.date, np.datetime64)):
        raise TypeError(type(value))
    return np.datetime64(value) - shift


def _offset(zone: str) -> np.timedelta64:
    """ "Z", "+0530" or "-08:00" without its colon, as what is to be taken off for UTC."""
    if zone == "Z":
        return np.timedelta64(0, "m")
    return np.timedelta64((1 if zone[0] == "+" else -1) * (60 * int(zone[1:3]) + int(zone[3:5])), "m")


def _duration(column: np.ndarray, sign: str, value: Any) -> np.ndarray:
    return _whole(_ticks(column), sign, *limits(column.dtype, "duration", value))


def _duration_of(value: Any) -> np.timedelta64:
    if not isinstance(value, (datetime.timedelta, np.timedelta64)):
        low, high = _around(Decimal(str(value)) * 1_000_000)  # seconds
        value = np.timedelta64(low, "us") if low == high else np.timedelta64(int(Decimal(str(value)) * 10**9), "ns")
    return np.timedelta64(value)


def _ticks(column: np.ndarray) -> np.ndarray:
    """Times or durations as integers of the unit that :func:`limits` counts in: NumPy's comparison may overflow."""
    coarse = np.datetime_data(column.dtype)[0] in ("Y", "M")
    return (column.astype(f"{column.dtype.kind}8[D]") if coarse else column).view(np.int64)


def _tick_limits(dtype: np.dtype, constant: Any) -> tuple[int, int]:
    if np.isnat(constant):
        raise ValueError("NaT")
    unit, count = np.datetime_data(dtype)
    size = _NANOSECONDS["D"] if unit in ("Y", "M") else _NANOSECONDS[unit] * count
    scale = Decimal(int(constant.view(np.int64))) * _NANOSECONDS[np.datetime_data(constant.dtype)[0]]
    return _around(scale / size)


_NANOSECONDS = {unit: Decimal(n) for unit, n in {
    "W": 604_800 * 10**9, "D": 86_400 * 10**9, "h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000,
    "ns": 1}.items()} | {"ps": Decimal("1e-3"), "fs": Decimal("1e-6"), "as": Decimal("1e-9")}  # fmt: skip


def _list(column: np.ndarray, sign: str, value: Any) -> np.ndarray:
    if sign not in ("==", "!="):
        raise TypeError("lists have no order")
    known = {type(one) for v in column for one in v}
    member = value
    if isinstance(value, str) and known and str not in known:
        member = {"true": True, "false": False}[value.lower()] if known == {bool} else float(value)
    contains = np.fromiter((member in v for v in column), bool, len(column))
    return contains if sign == "==" else ~contains


def _empty(column: np.ndarray, sign: str, value: Any) -> np.ndarray:
    return np.zeros(len(column), bool)


_COMPARED: Mapping[str, Callable[[np.ndarray, str, Any], Any]] = {
    "text": _text, "boolean": _boolean, "number": _number, "integer": _integer, "time": _time,
    "duration": _duration, "list": _list, "empty": _empty,
}  # fmt: skip
