"""Cells of a table of texts: what type a column of them has, and their values."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.formats import _arrow, _text

#: Words that stand for a missing value among numbers, booleans, times and lists; among texts they are texts.
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "NaT", "<NA>", "#N/A")
_SAMPLE = 64  # cells that are looked at before the whole column is
_DAY = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
#: Type → what each of its cells matches, in the order in which they are tried.
PATTERNS = {
    "boolean": r"(?i:true|false)",
    "integer": r"-?(0|[1-9][0-9]{0,18})",
    "number": r"-?(0|[1-9][0-9]*|)(\.[0-9]*)?([eE][+-]?[0-9]+)?|-?[0-9]+\.|[+-]?(inf|Infinity|-inf)",
    "day": _DAY,
    "time": rf"{_DAY}[T ]{_CLOCK}",
    "zoned": rf"{_DAY}[T ]{_CLOCK}(Z|[+-][0-9]{{2}}:?[0-9]{{2}})",
    "list": r"(?s:\[.*\])",
}


def kind_of(texts: Any) -> str:
    """The type of a chunked Arrow array of texts: one of ``PATTERNS``, or "text"."""
    import pyarrow.compute as pc

    sample: list[str] = []
    for chunk in texts.chunks:
        sample += [v for v in chunk[: 4 * _SAMPLE].to_pylist() if v is not None and v not in MISSING]
        if len(sample) >= _SAMPLE:
            break
    for kind, pattern in PATTERNS.items():
        if not sample or not all(re.fullmatch(pattern, v) and v not in ("-", ".") for v in sample[:_SAMPLE]):
            continue
        there = _there(texts)
        if pc.all(pc.match_substring_regex(there, f"^({pattern})$")).as_py() and _converts(there, kind):
            return kind
    return "text"


def column(texts: Any, kind: str, where: str, exact: bool) -> np.ndarray:
    """The values of a column of this type. exact: as :meth:`Columns.exact`."""
    if kind == "text":
        return objects(texts)
    if kind == "list":
        return _lists(texts, where, exact)
    values = _values(_blanked(texts), kind)
    return _arrow.to_exact(values, where) if exact else _arrow.to_numpy(values, where)


def objects(texts: Any) -> np.ndarray:
    """Texts (n,) as objects, None where one is missing."""
    return texts.to_numpy().astype(object) if len(texts) else np.empty(0, object)


def times(values: list[Any]) -> Any:
    """Texts of which each is a day or a time (ISO 8601), None for missing ones, as Arrow times; None for others."""
    import pyarrow as pa

    there = [v for v in values if v is not None]
    if not there or not all(type(v) is str for v in there):
        return None
    texts = pa.chunked_array([pa.array(values, pa.string())])
    kind = kind_of(texts)
    missing = any(v in MISSING for v in there)
    return _values(texts, kind) if kind in ("day", "time", "zoned") and not missing else None


def _there(texts: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = texts.drop_null()
    return known.filter(pc.invert(pc.is_in(known, pa.array(MISSING))))


def _blanked(texts: Any) -> Any:
    """Texts with null for the words that say so."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.is_in(texts, pa.array(MISSING)), None, texts)


def _converts(there: Any, kind: str) -> bool:
    """Whether every value has a place in the type: an integer beyond 64 bits or a 30 February has none."""
    import pyarrow as pa

    try:
        return kind == "list" or len(_values(there, kind)) == len(there)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False


def _values(texts: Any, kind: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind == "boolean":
        return pc.equal(pc.utf8_lower(texts), "true")
    if kind in ("integer", "number"):
        return texts.cast({"integer": pa.int64(), "number": pa.float64()}[kind])
    if kind == "day":
        return texts.cast(pa.date32())
    fine = pc.any(pc.match_substring_regex(texts, r"\.[0-9]{7,}")).as_py()
    return texts.cast(pa.timestamp("ns" if fine else "us", tz="UTC" if kind == "zoned" else None))


def _lists(texts: Any, where: str, exact: bool) -> np.ndarray:
    """JSON lists; numbers of one length as [n, d], as in other formats. Cells that are no JSON stay texts."""
    import pyarrow as pa

    try:
        values = [None if v is None or v in MISSING else json.loads(v) for v in texts.to_pylist()]
    except (ValueError, RecursionError):
        return objects(texts)
    if exact:
        return _text.objects(values)
    try:
        return _arrow.to_numpy(pa.chunked_array([pa.array(values)]), where)
    except (pa.ArrowInvalid, pa.ArrowTypeError, BadData):
        return _text.objects(values)
