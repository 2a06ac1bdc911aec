"""Vectors scaled to unit length, so that inner products are cosines."""

from __future__ import annotations

from typing import Any

import numpy as np


def unit(x: Any) -> np.ndarray:
    """Vectors along the last axis (…, d) divided by their Euclidean length; a zero vector stays zero.

    float64 stays float64, everything else becomes float32. Lengths are computed in float64, so that no
    square of a finite float32 number overflows or vanishes.
    """
    x = np.asarray(x)
    x = x if x.dtype == np.float64 else x.astype(np.float32, copy=False)
    length = np.sqrt(np.einsum("...i,...i->...", x, x, dtype=np.float64))[..., None]
    return np.divide(x, np.where(length > 0, length, 1.0), out=np.empty_like(x), casting="same_kind")
