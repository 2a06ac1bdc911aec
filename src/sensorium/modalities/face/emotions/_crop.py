"""The aligned crop that a pixel classifier sees: 48 x 48 grey, eyes level, contrast normalised; NumPy alone.

Seven points that expressions hardly move (corners of the eyes, bridge, tip and base of the nose) are laid on a fixed
shape by the similarity of least squares (Umeyama 1991, IEEE PAMI 13, eq. 39-43). The shape is the mean of the training
faces of FER2013, so that a crop is framed like those pictures.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sensorium.errors import BadData

VERSION = 1  #: of the computation; another one gives another fingerprint
SIDE, INPUT = 48, 64  # of a crop, and of what the networks take
#: Landmarks: outer and inner corner of the right eye, inner and outer of the left, bridge, tip and base of the nose.
RIGID = (33, 133, 362, 263, 168, 1, 2)
#: Where they lie in a crop, as parts of its side.
SHAPE = np.array([[0.246, 0.375], [0.398, 0.386], [0.602, 0.386], [0.754, 0.375],
                  [0.500, 0.362], [0.500, 0.613], [0.500, 0.642]])  # fmt: skip
_SAMPLES = 2  # bilinear samples along each axis of a pixel of the crop
_FLAT = 1.0  # levels: a crop of a smaller deviation shows no face
FLAT = "a face shows one flat grey, or lies outside of the picture; leave it out"


def frame(landmarks: np.ndarray, width: int, height: int) -> np.ndarray:
    """The similarity (2, 3) from pixels of the crop to pixels of a picture (h, w), of landmarks (478, 3) in 0..1.

    Raises BadData for landmarks that are not finite or lie in one point.
    """
    points = np.asarray(landmarks, np.float64)[list(RIGID), :2] * (width, height)
    if not np.isfinite(points).all():
        raise BadData("a face has landmarks that are not finite numbers; leave it out")
    shape = SHAPE * SIDE
    a, b = points - points.mean(0), shape - shape.mean(0)
    cross, spread = a.T @ b, (b**2).sum()
    if np.abs(a).max() < 0.5:
        raise BadData("a face's landmarks lie within one pixel of the picture; leave it out")
    u, _, vt = np.linalg.svd(cross)
    turn = np.diag([1.0, np.sign(np.linalg.det(u @ vt))])  # no reflection
    linear = u @ turn @ vt
    linear *= np.trace(linear.T @ cross) / spread
    return np.column_stack([linear, points.mean(0) - linear @ shape.mean(0)])


def crops(rgb: np.ndarray, landmarks: np.ndarray, side: int = SIDE, colour: bool = False) -> np.ndarray:
    """The crops (n, side, side), in colour (n, side, side, 3), of n faces of a picture (h, w, 3) uint8.

    landmarks: (n, 478, 3) as a source gives them. Raises BadData, see :func:`frame`, and for a face without contrast.
    """
    height, width = rgb.shape[:2]
    found = [crop(rgb, frame(one, width, height), side, colour) for one in landmarks]
    out = np.array(found, np.float32).reshape(len(found), side, side, *(3,) * colour)
    if len(out) and out.reshape(len(out), -1).std(1).min() < _FLAT:
        raise BadData(FLAT)
    return out


def crop(rgb: np.ndarray, matrix: np.ndarray, side: int = SIDE, colour: bool = False) -> np.ndarray:
    """Levels 0..255 (side, side) float32, in colour (side, side, 3); what lies outside of the picture repeats its edge.

    rgb: uint8 (h, w, 3), or grey (h, w). matrix: of :func:`frame`. A large face is averaged before it is sampled,
    so that fine patterns do not alias.
    """
    height, width = rgb.shape[:2]
    matrix = matrix * np.array([SIDE / side, SIDE / side, 1.0])
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    block = max(1, int(scale / _SAMPLES))
    corners = matrix @ np.array([[0, side, 0, side], [0, 0, side, side], [1, 1, 1, 1]])
    low = np.clip(np.floor(corners.min(1)).astype(int) - 2 * block, 0, (width - 1, height - 1))
    high = np.clip(np.ceil(corners.max(1)).astype(int) + 2 * block, low + 1, (width, height))
    part = rgb[low[1] : high[1], low[0] : high[0]]
    part = _reduced(part.astype(np.float32) if colour else _grey(part), block)
    steps = (np.arange(side * _SAMPLES) + 0.5) / _SAMPLES
    x, y = np.meshgrid(steps, steps)
    at = np.stack([x, y, np.ones_like(x)], -1) @ matrix.T
    sampled = _bilinear(part, (at[..., 0] - low[0]) / block - 0.5, (at[..., 1] - low[1]) / block - 0.5)
    return sampled.reshape(side, _SAMPLES, side, _SAMPLES, *part.shape[2:]).mean((1, 3)).astype(np.float32)


def normalised(crops: np.ndarray) -> np.ndarray:
    """Crops (n, 48, 48) with mean 0 and deviation 1 each, cut off at 3. Raises BadData for one without contrast."""
    crops = np.asarray(crops, np.float32)
    mean, deviation = crops.mean((1, 2), keepdims=True), crops.std((1, 2), keepdims=True)
    if len(crops) and deviation.min() < _FLAT:
        raise BadData(FLAT)
    return np.clip((crops - mean) / deviation, -3, 3)


def enlarged(crops: np.ndarray) -> np.ndarray:
    """Normalised crops (n, 48, 48), halved, as networks take them: (n, 64, 64), bilinear."""
    lines = _lines()
    return (lines @ np.asarray(crops, np.float32) @ lines.T) / 2


@lru_cache
def _lines() -> np.ndarray:
    """(64, 48): how much of each pixel is in each of the enlarged crop; pixels are squares, not points."""
    at = np.clip((np.arange(INPUT) + 0.5) * SIDE / INPUT - 0.5, 0, SIDE - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(SIDE))).astype(np.float32)


def _grey(rgb: np.ndarray) -> np.ndarray:
    """Luma of ITU-R BT.601, float32 (h, w)."""
    if rgb.ndim == 2:
        return rgb.astype(np.float32)
    return rgb[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def _reduced(part: np.ndarray, block: int) -> np.ndarray:
    """Means of blocks of pixels; the edge is repeated where the last block is not full."""
    if block == 1:
        return part
    down, right = (-size % block for size in part.shape[:2])
    part = np.pad(part, ((0, down), (0, right), *((0, 0),) * (part.ndim - 2)), mode="edge")
    return part.reshape(part.shape[0] // block, block, -1, block, *part.shape[2:]).mean((1, 3))


def _bilinear(part: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values at places (x, y) in pixels, whose centres have whole numbers; places outside repeat the edge."""
    height, width = part.shape[:2]
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.minimum(x.astype(int), max(width - 2, 0)), np.minimum(y.astype(int), max(height - 2, 0))
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    fx, fy = (x - left).astype(np.float32), (y - top).astype(np.float32)
    if part.ndim == 3:
        fx, fy = fx[..., None], fy[..., None]
    upper = part[top, left] * (1 - fx) + part[top, right] * fx
    lower = part[below, left] * (1 - fx) + part[below, right] * fx
    return upper * (1 - fy) + lower * fy
