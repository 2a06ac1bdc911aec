"""Metadata columns as scalar fields of a Milvus collection, and conditions on them as Milvus expressions.

A column becomes one field: integers, times and durations (in ticks of their unit) and booleans as INT64, numbers as
DOUBLE, text as VARCHAR. Where values can be missing, a second field says whether one is there, so that no expression
depends on how a version of Milvus compares nulls. What no field can hold (lists, texts above 65,535 bytes, infinite
numbers) stays out of the database: conditions on such a column are evaluated from the index's own table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xxhash

from sensorium.table import Table
from sensorium.table.columns import kind_of, missing
from sensorium.table.where import CONTAINS, constant_of, holds, limits
from sensorium.types import is_missing

LONGEST_TEXT = 65_535  # bytes of a VARCHAR
KEY = "key"  # primary key: see :func:`key_of`
ALL, NONE = f'{KEY} != ""', f'{KEY} == ""'
_MOST_FIELDS = 60  # of columns; Milvus allows 64 fields in all
_MANY = 50  # comparisons that are joined by "or" at most
_INT64 = 2**63


@dataclass(frozen=True)
class Field:
    """A column's field. kind: of the column. dtype: NumPy's, of which times count the ticks. gaps: whether a second
    field, ``NAME_there``, says where a value is."""

    column: str
    name: str
    kind: str
    dtype: str
    gaps: bool

    @property
    def there(self) -> str:
        """The field that is 1 where a value is there."""
        return f"{self.name}_there"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def fields_of(columns: Mapping[str, np.ndarray]) -> list[Field]:
    """The fields for columns; none for those that no field can hold, and for those above a collection's limit."""
    found: list[Field] = []
    for i, (column, values) in enumerate(columns.items()):
        kind = kind_of(values)
        gaps = values.dtype.kind in "fOMm"
        field = Field(column, f"c{i}", kind, values.dtype.str, gaps)
        if kind in _TYPES and 2 * len(found) < _MOST_FIELDS and encode(field, values) is not None:
            found.append(field)
    return found


def type_of(field: Field) -> str:
    """Name of the field's Milvus type."""
    return _TYPES[field.kind]


_TYPES = {"integer": "INT64", "time": "INT64", "duration": "INT64", "boolean": "INT64", "number": "DOUBLE",
          "text": "VARCHAR"}  # fmt: skip


def encode(field: Field, values: np.ndarray) -> dict[str, list[Any]] | None:
    """Values (n,) of a column for its fields, by name; None where the field cannot hold one of them."""
    gaps, kind = missing(values), kind_of(values)
    if (gaps.any() and not field.gaps) or (kind not in (field.kind, "empty") and len(values)):
        return None
    stored = _stored(field, values, gaps)
    if stored is None:
        return None
    return {field.name: stored, **({field.there: (~gaps).astype(np.int64).tolist()} if field.gaps else {})}


def nothing(field: Field, n: int) -> dict[str, list[Any]]:
    """The fields of n rows that have no value which the field can hold."""
    empty = {"text": "", "number": 0.0}.get(field.kind, 0)
    return {field.name: [empty] * n, **({field.there: [0] * n} if field.gaps else {})}


def _stored(field: Field, values: np.ndarray, gaps: np.ndarray) -> list[Any] | None:
    if field.kind == "text":
        texts = ["" if v is None else v for v in values.tolist()]
        return None if any("\0" in v or len(v.encode("utf-8")) > LONGEST_TEXT for v in texts) else texts
    if field.kind == "number":
        numbers = np.where(gaps, 0.0, values.astype(np.float64))
        return numbers.tolist() if np.isfinite(numbers).all() else None
    if field.kind in ("time", "duration"):
        unit = _unit(field)
        if values.dtype.kind not in "Mm":
            values = np.full(len(values), "NaT", unit)
        ticks = values.astype(unit)
        exact = ticks.astype(values.dtype) == values
        return np.where(gaps, 0, ticks.view(np.int64)).tolist() if (exact | gaps).all() else None
    whole = [0 if v is None else int(v) for v in values.tolist()]
    return whole if all(-_INT64 < v < _INT64 for v in whole) else None


def _unit(field: Field) -> str:
    """The type whose ticks a time's field holds: that in which conditions count."""
    dtype = np.dtype(field.dtype)
    return f"{dtype.kind}8[D]" if np.datetime_data(dtype)[0] in ("Y", "M") else field.dtype


def key_of(ids: Sequence[str]) -> list[str]:
    """Primary keys: the xxh3-128 of each id, 32 hex digits. Of one length, and no id needs to be quoted."""
    return [xxhash.xxh3_128_hexdigest(id.encode("utf-8", "surrogatepass")) for id in ids]


def among(keys: Sequence[str]) -> str:
    """An expression that holds for these keys."""
    return f"{KEY} in [{', '.join(map(quoted_key, keys))}]" if keys else NONE


def quoted_key(key: str) -> str:
    """A key as a literal."""
    return f'"{key}"'


def expression(table: Table, fields: Mapping[str, Field], where: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Conditions as expressions, all of which must hold, and the conditions that have none: see ``Table.where``.

    Raises BadRecipe as ``Table.where`` does.
    """
    made, rest = [], {}
    for name, condition in where.items():
        text = None
        if name == "id":
            holds(table.ids[:1], condition, name)
            text = _of_ids(condition)
        else:
            column = table.column_name(name)
            holds(_probe(table.columns[column]), condition, name)
            field, values = fields.get(column), table.columns[column]
            if field is not None and kind_of(values) == field.kind:  # not of another kind since rows were added
                text = _condition(field, values.dtype, condition)
        if text is None:
            rest[name] = condition
        else:
            made.append(text)
    return made, rest


def _probe(column: np.ndarray) -> np.ndarray:
    """One value of a column that is there, if any: enough to refuse what its kind cannot be compared with."""
    if column.dtype.kind != "O":
        return column[:1]
    first = next((i for i, v in enumerate(column) if v is not None), 0)
    return column[first : first + 1]


def _of_ids(condition: Any) -> str | None:
    if isinstance(condition, Mapping):
        if set(condition) != {"=="}:
            return None
        condition = condition["=="]
    values = _several(condition)
    values = [condition] if values is None else values
    return None if any(is_missing(v) for v in values) else among(key_of([str(v) for v in values]))


def _condition(field: Field, dtype: np.dtype, condition: Any) -> str | None:
    """A condition on a field; None where it has no exact expression."""
    if not isinstance(condition, Mapping):
        condition = {"==": condition}
    parts: list[str | None] = []
    for sign, value in condition.items():
        if sign == CONTAINS:
            return None
        values = _several(value)
        if values is None:
            parts.append(_compare(field, dtype, sign, value))
        elif sign == "==":
            parts.append(_any_of(field, dtype, values))
        else:
            parts += [_compare(field, dtype, sign, one) for one in values]
    return None if None in parts else " and ".join(f"({part})" for part in parts if part) or ALL


def _any_of(field: Field, dtype: np.dtype, values: Sequence[Any]) -> str | None:
    if not values:
        return NONE
    literals = [_literal(field, value) for value in values]
    if all(one is not None for one in literals):
        return _where_there(field, "==", f"{field.name} in [{', '.join(map(str, literals))}]")
    made = [_compare(field, dtype, "==", value) for value in values]
    if len(made) > _MANY or None in made:
        return None
    return " or ".join(f"({one})" for one in made)


def _literal(field: Field, value: Any) -> str | None:
    """A text or an integer as a literal; None for what has none, or is none."""
    if is_missing(value):
        return None
    if field.kind == "text":
        return _quoted(str(value))
    if field.kind == "integer" and isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(int(value)) if -_INT64 < value < _INT64 else None
    return None


def _compare(field: Field, dtype: np.dtype, sign: str, value: Any) -> str | None:
    if is_missing(value):
        absent = f"{field.there} == 0" if field.gaps else NONE
        return absent if sign == "==" else f"{field.there} == 1" if field.gaps else ALL
    if field.kind == "text":
        literal = _quoted(str(value))
        return None if literal is None else _where_there(field, sign, f"{field.name} {sign} {literal}")
    if field.kind == "number":
        constant = float(constant_of(dtype, value))
        return _where_there(field, sign, f"{field.name} {sign} {constant!r}") if np.isfinite(constant) else None
    if field.kind == "boolean":
        truth = value if isinstance(value, (bool, np.bool_)) else str(value).lower() == "true"
        return _where_there(field, sign, f"{field.name} {sign} {int(truth)}")
    return _whole(field, sign, *limits(np.dtype(field.dtype), field.kind, value))


def _whole(field: Field, sign: str, low: int, high: int) -> str | None:
    """An integer field against a number between ``low`` and ``high``, as ``Table.where`` compares integers."""
    if sign in ("==", "!="):
        if low != high or not -_INT64 < low < _INT64:
            return NONE if sign == "==" else ALL
        return _where_there(field, sign, f"{field.name} {sign} {low}")
    below = sign in ("<", "<=")
    bound, strict = (low if below else high), (low == high and sign in ("<", ">"))
    if not -_INT64 < bound < _INT64:
        every = (bound > 0) == below
        return (f"{field.there} == 1" if field.gaps else ALL) if every else NONE
    return _where_there(field, sign, f"{field.name} {sign[0] if strict else sign[0] + '='} {bound}")


def _where_there(field: Field, sign: str, text: str) -> str:
    """A comparison that does not hold for missing values, but for ``!=``."""
    if not field.gaps:
        return text
    return f"{field.there} == 0 or {text}" if sign == "!=" else f"{field.there} == 1 and {text}"


def _quoted(text: str) -> str | None:
    """A text as a literal; None for control characters and what is no valid Unicode."""
    if not text.isprintable() or len(text) > LONGEST_TEXT:
        return None
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _several(value: Any) -> list[Any] | None:
    if isinstance(value, np.ndarray):
        return value.tolist() if value.dtype.kind not in "Mm" else list(value)
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else None
