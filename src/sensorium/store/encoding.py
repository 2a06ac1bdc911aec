"""One call of an encoder, checked: as many vectors as items, of one width, finite, not zero."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sensorium.contracts import Encoder
from sensorium.errors import BadData
from sensorium.store.checks import check_vectors, joined, native


def encoded(encoder: Encoder, ids: Sequence[str], values: Sequence[Any], width: int, dtype: np.dtype | None) -> Any:
    """Vectors (b, d) of b values, or with ``encoder.frames`` a list of b arrays (t_i, d).

    width: that of the store. dtype: of the result, by default the encoder's own.
    Raises BadData, naming ids, for another number, another width, NaN, infinite and zero vectors.
    """
    found = encoder.encode([plain(value) for value in values])
    if len(found) != len(values):
        raise BadData(f"the encoder gave {len(found)} vectors for {len(values)} items, from '{ids[0]}' on")
    flat, offsets = joined(ids, found) if encoder.frames else (native(found), None)
    dtype = dtype or flat.dtype
    if flat.ndim != 2 or flat.shape[1] != width:
        raise BadData(
            f"the encoder gave shape {flat.shape} for {len(ids)} items, from '{ids[0]}' on; expected width {width}"
        )
    check_vectors(flat, ids, offsets)
    with np.errstate(over="ignore"):
        flat = flat.astype(dtype, copy=False)
    if dtype.itemsize < 4:  # what was finite may not fit into 16 bits
        check_vectors(flat, ids, offsets)
    return flat if offsets is None else [flat[a:b] for a, b in pairwise(offsets)]


def plain(value: Any) -> Any:
    """An item's value without NumPy's type of text."""
    return str(value) if isinstance(value, np.str_) else value
