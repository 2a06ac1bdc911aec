"""A column as ids: text or whole numbers, none missing."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.errors import BadData

_LONGEST = 1024  # characters of an id at most


def as_text_ids(column: np.ndarray, where: str) -> list[str]:
    """Ids (n,) as text; whole numbers become their decimals, so 7 and "7" are one id.

    Raises BadData, with a count, for missing ids, and for ids that are neither text nor whole numbers.
    """
    if column.ndim != 1:
        raise BadData(f"{where}: ids must be one-dimensional, got shape {column.shape}")
    if column.dtype.kind in "iu":
        return [str(value) for value in column.tolist()]
    if column.dtype.kind == "f" and not np.isnan(column).any():
        raise BadData(f"{where}: ids are floating-point numbers; convert them to integers or text first")
    values = column.tolist()
    missing = [row for row, value in enumerate(values) if value is None or value != value]
    if missing:
        raise BadData(f"{where}: {len(missing)} of {len(values)} ids are missing, such as in row {missing[0]}; "
                      "fill them in, or drop these rows")  # fmt: skip
    odd = [row for row, value in enumerate(values) if not _is_id(value)]
    if odd:
        raise BadData(f"{where}: {len(odd)} of {len(values)} ids are neither text nor whole numbers, such as "
                      f"{str(values[odd[0]])[:40]!r} in row {odd[0]}; convert them to text first")  # fmt: skip
    long = next((row for row, value in enumerate(values) if isinstance(value, str) and len(value) > _LONGEST), None)
    if long is not None:
        raise BadData(f"{where}: the id in row {long} has {len(values[long])} characters; expected {_LONGEST} at most")
    return [str(value) for value in values]


def _is_id(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)
