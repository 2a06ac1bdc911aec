"""Text columns: object arrays of str, never as wide as the longest text in every row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.types import blocks

_BLOCK = 4096


def to_objects(array: np.ndarray, where: str) -> np.ndarray:
    """An array of dtype U or S, of any byte order, as an object array of str, block by block.

    Raises BadData, naming the row, for bytes that are no UTF-8 and text that UTF-8 cannot hold.
    """
    flat = array.reshape(-1)
    out = np.empty(len(flat), object)
    for block in blocks(len(flat), _BLOCK):
        values = flat[block].tolist()
        if array.dtype.kind == "S":
            values = [_decoded(value, where, block.start + i) for i, value in enumerate(values)]
        _check(values, where, block.start)
        out[block] = values
    return out.reshape(array.shape)


def objects(values: Sequence[Any]) -> np.ndarray:
    """Python values as an object array (n,), whatever they are."""
    out = np.empty(len(values), object)
    for row, value in enumerate(values):  # one by one: NumPy would spread lists over more dimensions
        out[row] = value
    return out


def check(array: np.ndarray, where: str) -> None:
    """Raise BadData, naming the row, for text that UTF-8 cannot hold."""
    flat = array.reshape(-1)
    for block in blocks(len(flat), _BLOCK):
        _check([v if isinstance(v, str) else "" for v in flat[block].tolist()], where, block.start)


def _decoded(value: bytes, where: str, row: int) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadData(
            f"{where}: row {row} is bytes that are not UTF-8 ({value[:20]!r}, {error.reason}); save it as text, such "
            "as np.char.decode(array, 'latin-1')"
        ) from None


def _check(values: Sequence[str], where: str, start: int) -> None:
    try:
        "".join(values).encode("utf-8")
    except UnicodeEncodeError:
        for row, value in enumerate(values):
            if any("\ud800" <= letter <= "\udfff" for letter in value):
                raise BadData(
                    f"{where}: row {start + row} holds half a surrogate pair ({value[:20]!r}), which is not valid "
                    "text; correct it"
                ) from None
