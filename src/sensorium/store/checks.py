"""Checks of vectors before they are stored: type, byte order, finite, not zero, one width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.errors import BadData

DTYPES = ("float16", "float32", "float64")


def native(vectors: np.ndarray) -> np.ndarray:
    """Vectors in C order and native byte order; long doubles become float64. Raises BadData for masked arrays."""
    if isinstance(vectors, np.ma.MaskedArray) and np.ma.is_masked(vectors):
        raise BadData("vectors are a masked array with masked values; fill or drop these items")
    vectors = np.asarray(vectors)
    dtype = vectors.dtype.newbyteorder("=")
    if dtype.kind == "f" and dtype.itemsize > 8:
        dtype = np.dtype(np.float64)
    with np.errstate(over="ignore"):  # infinity is refused by check_vectors
        return np.ascontiguousarray(vectors, dtype)


def storable(vectors: np.ndarray) -> None:
    """Raise BadData unless a store's reader accepts vectors of this type: (n, d), native float16, 32 or 64."""
    if vectors.ndim != 2 or vectors.dtype.name not in DTYPES or not vectors.dtype.isnative:
        raise BadData(
            f"vectors are {vectors.dtype} of shape {vectors.shape}; expected (n, d) of float32, float16 or float64"
        )


def checked_offsets(offsets: Any, frames: int) -> np.ndarray:
    """Offsets (n + 1,) as int64. Raises BadData unless they rise from 0 to the number of frames."""
    array = np.asarray(offsets)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
        raise BadData(f"offsets are {array.dtype} of shape {array.shape}; expected integers (items + 1,)")
    array = array.astype(np.int64)
    if array[0] != 0 or array[-1] != frames or (np.diff(array) < 0).any():
        raise BadData(f"offsets do not rise from 0 to the {frames} frames; give where each item begins, and the end")
    return array


def check_vectors(vectors: np.ndarray, ids: Sequence[str], offsets: np.ndarray | None = None) -> None:
    """Raise BadData naming the ids whose vector holds NaN or infinity, or is zero throughout.

    vectors (n, d) for n ids, or (t, d) frames with offsets (n + 1,); an item of frames is
    zero only if all its frames are.
    """
    if vectors.dtype.kind != "f":
        raise BadData(f"vectors are {vectors.dtype}; expected float32, float16 or float64")
    if offsets is not None and (np.diff(offsets) < 1).any():
        empty = np.flatnonzero(np.diff(offsets) < 1)
        raise BadData(f"{_named(ids, empty)} without a single frame; leave such items out")
    # One pass accepts nearly every row: with a finite, positive sum of squares it is valid.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)
        doubtful = np.flatnonzero(~np.isfinite(squares) | (squares == 0))
    if not len(doubtful):
        return
    rows = vectors[doubtful]
    finite = np.isfinite(rows).all(axis=1)
    zero = doubtful[finite & ~(rows != 0).any(axis=1)]
    broken = doubtful[~finite]
    if offsets is not None:
        broken = np.unique(np.searchsorted(offsets, broken, side="right") - 1)
        counts = np.bincount(np.searchsorted(offsets, zero, side="right") - 1, minlength=len(ids))
        zero = np.flatnonzero(counts == np.diff(offsets))
    if len(broken):
        raise BadData(f"{_named(ids, broken)} with NaN or infinity; correct or drop these items")
    if len(zero):
        raise BadData(f"{_named(ids, zero)} with a zero vector, which has no direction; correct or drop these items")


def _named(ids: Sequence[str], rows: np.ndarray) -> str:
    some = ", ".join(repr(ids[i]) for i in rows[:3].tolist())
    return f"{len(rows)} of {len(ids)} items ({some}{', …' if len(rows) > 3 else ''})"


def joined(ids: Sequence[str], frames: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A list of (t_i, d) frames as (t, d) and offsets (n + 1,). Raises BadData on other shapes or widths."""
    frames = [np.asarray(f) for f in frames]
    for name, f in zip(ids, frames, strict=False):
        if f.ndim != 2 or f.shape[1] != frames[0].shape[1]:
            width = frames[0].shape[1] if frames[0].ndim == 2 else "d"
            raise BadData(f"item '{name}' has frames of shape {f.shape}; expected (frames, {width})")
    offsets = np.concatenate([[0], np.cumsum([len(f) for f in frames])]).astype(np.int64)
    return native(np.concatenate(frames)) if frames else np.zeros((0, 0), np.float32), offsets
