"""Resizing of square planes as ``torch.nn.functional.interpolate`` does it, as one matrix for rows and columns."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

NEAREST = ("nearest", "nearest-exact")  # modes that copy values and blend none
MODES = (*NEAREST, "bilinear", "bicubic", "area")
_CUBIC = -0.75  # the parameter a of Keys 1981, as torch and OpenCV have it


def resize(image: np.ndarray, size: int, mode: str) -> np.ndarray:
    """Planes (…, side, side) float32 resized to (…, size, size) float32, in double precision where values blend."""
    side = image.shape[-1]
    if mode in NEAREST:
        at = places(side, size, mode)
        return image[..., at[:, None], at]
    blend = matrix(side, size, mode)
    return (blend @ image.astype(np.float64) @ blend.T).astype(np.float32)


@lru_cache(maxsize=64)
def places(side: int, size: int, mode: str) -> np.ndarray:
    """Which of ``side`` values each of ``size`` pixels copies, for a mode of nearest neighbours: (size,) int64."""
    if mode == "nearest-exact":
        at = np.maximum(_source(side, size), 0) + np.float32(0.5)
    else:
        at = np.arange(size, dtype=np.float32) * (np.float32(side) / np.float32(size))
    return _frozen(np.minimum(np.floor(at).astype(np.int64), side - 1))


@lru_cache(maxsize=64)
def first_places(side: int, size: int, mode: str) -> np.ndarray:
    """The first pixel that copies each of ``side`` values, (side,) int64; size is ``side`` or more."""
    at = places(side, size, mode) if mode in NEAREST else np.arange(size)
    return _frozen(np.searchsorted(at, np.arange(side)))


@lru_cache(maxsize=64)
def matrix(side: int, size: int, mode: str) -> np.ndarray:
    """Weights (size, side) float64 with which each pixel of a line blends the values of a line."""
    out = np.zeros((size, side))
    pixel = np.arange(size)
    if mode in NEAREST:
        out[pixel, places(side, size, mode)] = 1
    elif mode == "area":
        for i in range(size):
            begin, end = i * side // size, -(-(i + 1) * side // size)
            out[i, begin:end] = 1 / (end - begin)
    else:
        at = _source(side, size)
        at = np.maximum(at, 0) if mode == "bilinear" else at
        begin = np.floor(at).astype(np.int64)
        share = (at - begin.astype(np.float32)).astype(np.float64)
        taps = (1 - share, share) if mode == "bilinear" else _cubic(share)
        for k, weight in enumerate(taps, 0 if mode == "bilinear" else -1):
            np.add.at(out, (pixel, np.clip(begin + k, 0, side - 1)), weight)
    return _frozen(out)


def _source(side: int, size: int) -> np.ndarray:
    """Where the centres of pixels lie among the values of a line, (size,) float32: (i + ½) side/size - ½, rounded once.

    torch computes it in single precision by one fused multiply-add; in double precision a different neighbour or
    weight would come out where a pixel falls between two values.
    """
    scale = np.float32(side) / np.float32(size)
    return ((np.arange(size) + 0.5) * float(scale) - 0.5).astype(np.float32)


def _cubic(t: np.ndarray) -> tuple[np.ndarray, ...]:
    """Weights of the four neighbours of a point at t (0 to 1) between the middle two: Keys 1981, equation 15."""

    def near(x: np.ndarray) -> np.ndarray:
        return ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1

    def far(x: np.ndarray) -> np.ndarray:
        return ((x - 5) * x + 8) * x * _CUBIC - 4 * _CUBIC

    return far(t + 1), near(t), near(1 - t), far(2 - t)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)  # one array serves all callers
    return array
