"""A mini-XCEPTION (Arriaga et al. 2017, arXiv:1710.07557) by NumPy: float32, batch norms folded in, no torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

BLOCKS, _TOGETHER = 4, 4


class Network:
    """Two convolutions, four blocks of two separable ones beside a short cut, and the mean of the last maps.

    weights, as torch lays them out: ``first.weight`` (c, 1, 3, 3), ``second.weight``; of block i ``i.cut.weight``
    (out, in, 1, 1) and, for j = 0 and 1, ``i.j.depth.weight`` (in, 1, 3, 3) and ``i.j.point.weight`` (out, in, 1, 1);
    ``last.weight`` (7, c, 3, 3). Each has a ``bias`` but for ``depth``.
    """

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self._lines: dict[tuple[str, int], np.ndarray] = {}
        self._weights = {key: _laid_out(key, np.asarray(value, np.float32)) for key, value in weights.items()}

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Crops (n, h, w) float32 to scores (n, 7) before the softmax."""
        x = np.asarray(x, np.float32)[..., None]  # a few at a time stay in the processor's cache
        return np.concatenate([self._scores(x[i : i + _TOGETHER]) for i in range(0, max(len(x), 1), _TOGETHER)])

    def _scores(self, x: np.ndarray) -> np.ndarray:
        for name in ("first", "second"):
            x = _rectified(self._dense(x, name))
        for i in range(BLOCKS):
            short = self._add(x[:, ::2, ::2] @ self._weights[f"{i}.cut.weight"], f"{i}.cut")
            x = _rectified(self._separable(x, f"{i}.0"))
            x = _pooled(self._separable(x, f"{i}.1"))
            x += short
        return self._dense(_padded(x, 0), "last").mean((1, 2))

    def _dense(self, x: np.ndarray, name: str) -> np.ndarray:
        """A 3 x 3 convolution without a margin."""
        n, h, w, c = x.shape
        patches = np.empty((n, h - 2, w - 2, 9 * c), np.float32)
        for k in range(9):
            patches[..., k * c : (k + 1) * c] = _shifted(x, k)
        return self._add(patches @ self._weights[f"{name}.weight"], name)

    def _separable(self, x: np.ndarray, name: str) -> np.ndarray:
        """A 3 x 3 convolution of each channel with a margin of zeros, then one of 1 x 1."""
        padded, (n, h, w, c) = _padded(x, 0), x.shape
        kernel = self._line(f"{name}.depth.weight", w)
        y = _shifted(padded, 0).reshape(n, h, w * c) * kernel[0]
        part = np.empty_like(y)
        for k in range(1, 9):
            np.multiply(_shifted(padded, k).reshape(n, h, w * c), kernel[k], out=part)
            y += part
        return self._add(y.reshape(n, h, w, c) @ self._weights[f"{name}.point.weight"], f"{name}.point")

    def _add(self, y: np.ndarray, name: str) -> np.ndarray:
        n, h, w, c = y.shape
        lines = y.reshape(n * h, w * c)
        lines += self._line(f"{name}.bias", w)
        return y

    def _line(self, key: str, width: int) -> np.ndarray:
        """Weights of the channels repeated over a line of places: NumPy is fast on whole lines."""
        if (key, width) not in self._lines:
            self._lines[key, width] = np.tile(self._weights[key], width)
        return self._lines[key, width]


def _laid_out(key: str, array: np.ndarray) -> np.ndarray:
    """Kernels with the channels last: (9 c, out), (c, out), or (9, c) of a depthwise one."""
    if array.ndim == 1:
        return array
    if ".depth." in key:
        return np.ascontiguousarray(array.reshape(len(array), 9).T)
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0).reshape(-1, len(array)))


def _rectified(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0, out=x)


def _shifted(x: np.ndarray, k: int) -> np.ndarray:
    """Of maps (n, h, w, c) those that place k of a 3 x 3 kernel sees, (n, h - 2, w - 2, c)."""
    down, right = divmod(k, 3)
    return x[:, down : down + x.shape[1] - 2, right : right + x.shape[2] - 2]


def _padded(x: np.ndarray, value: float) -> np.ndarray:
    n, h, w, c = x.shape
    out = np.full((n, h + 2, w + 2, c), value, np.float32)
    out[:, 1:-1, 1:-1] = x
    return out


def _pooled(x: np.ndarray) -> np.ndarray:
    """The largest of 3 x 3 places, every second one, the margin as TensorFlow's "same" has it."""
    for axis in (1, 2):
        size = x.shape[axis]
        half = -(-size // 2)
        lead = max((half - 1) * 2 + 3 - size, 0) // 2
        shape = list(x.shape)
        shape[axis] = 2 * half + 1
        out = np.full(shape, -np.inf, np.float32)
        out[(slice(None),) * axis + (slice(lead, lead + size),)] = x
        take = lambda k, out=out, axis=axis, half=half: out[(slice(None),) * axis + (slice(k, k + 2 * half, 2),)]  # noqa: E731
        x = np.maximum(np.maximum(take(0), take(1)), np.asarray(take(2)))
    return x
