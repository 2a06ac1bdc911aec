"""Records of JSON as columns: values of one type each, times where every text is one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.formats import _arrow, _cells, _text
from sensorium.formats._columns import Column


def parsed(text: str | bytes, where: str) -> Any:
    """A JSON value. Raises BadData for what is none."""

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadData(f"{where} is not valid JSON ({error}); correct it") from None


def check_first(text: str, where: str) -> None:
    """Raise BadData when the first object of a JSON text has two keys of one name, of which only one would be read."""

    def pairs(items: list[tuple[str, Any]]) -> None:
        _arrow.check_repeated([name for name, _ in items], where)

    start = text.find("{")
    if start >= 0:
        json.JSONDecoder(object_pairs_hook=pairs).raw_decode(text, start)


def columns(rows: Sequence[Any], where: object, first: int = 1) -> dict[str, Column]:
    """One column for each key of any row; None where a row lacks it. Raises BadData for rows that are no objects."""
    if odd := [row for row, value in enumerate(rows) if not isinstance(value, dict)]:
        raise BadData(f"{where}: {len(odd)} of {len(rows)} rows are no objects, such as row {odd[0] + first}; "
                      'expected {"column": value, …}')  # fmt: skip
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: column([row.get(name) for row in rows], f"{where}:{name}") for name in names}


def column(values: Sequence[Any], where: str) -> Column:
    """Values as a column: see :class:`sensorium.formats.Columns`; mixed ones as they are."""
    return Column((len(values),), lambda: _load(values, where, False), lambda: _load(values, where, True),
                  lambda: _texts(values))  # fmt: skip


def _load(values: Sequence[Any], where: str, exact: bool) -> np.ndarray:
    import pyarrow as pa

    first = next((v for v in values if v is not None), None)
    if isinstance(first, str) and (found := _cells.times(list(values))) is not None:
        return _arrow.to_exact(found, where) if exact else _arrow.to_numpy(found, where)
    kinds = {type(v) for v in values if v is not None}
    if not (kinds <= {int, float} or kinds in ({bool}, {str}, {list})):
        return _text.objects(values)  # mixed, objects, or nothing: whoever needs one type says so
    try:
        made = pa.chunked_array([pa.array(values)])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return _text.objects(values)
    if kinds == {str} or (kinds == {list} and exact):
        return _text.objects(values)
    return _arrow.to_exact(made, where) if exact else _arrow.to_numpy(made, where)


def _texts(values: Sequence[Any]) -> np.ndarray:
    return _text.objects([v if type(v) is str else None if v is None else json.dumps(v, ensure_ascii=False)
                          for v in values])  # fmt: skip
