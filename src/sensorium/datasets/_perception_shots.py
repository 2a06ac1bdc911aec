"""Shots: rows of landmarks that are frames of one video, found by how little the face moves from row to row."""

from __future__ import annotations

import numpy as np

from sensorium.pairs.components import components
from sensorium.types import blocks

#: Distance of two shapes, the root mean square over their landmarks. Of 1,147 pictures of different people (FER2013)
#: less than 1% are nearer than NEAR to the one before; frames of one shot half a second apart are. Below SAME: copies.
NEAR, SAME = 0.08, 0.02
_TURNS = 3  # rounds in which shapes are turned to their mean
BEFORE = 3  # rows that a row is compared with, so that faces of one picture may alternate
MOST = 50_000  # rows among which copies are looked for everywhere


def shapes(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (n, k, 2 or 3) without place, size and roll, flattened to (n, 2 k or 3 k) float32.

    Each is centred, of RMS radius 1, and turned in the plane of the picture to fit the mean shape best (Procrustes).

    >>> shapes(np.array([[[0.0, 0], [2, 0]], [[5.0, 5], [5, 9]]])).astype(float).round(3).tolist()
    [[-0.707, -0.707, 0.707, 0.707], [-0.707, -0.707, 0.707, 0.707]]
    """
    found = np.asarray(landmarks, np.float32)
    found = found - found.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(found).sum(axis=2).mean(axis=1))
    found /= np.where(size > 0, size, 1)[:, None, None]
    flat = found[..., 0] + 1j * found[..., 1]
    for _ in range(_TURNS):
        turn = flat @ np.conj(flat.mean(axis=0))
        length = np.abs(turn)
        flat *= (np.conj(turn) / np.where(length > 0, length, 1))[:, None]
    found[..., 0], found[..., 1] = flat.real, flat.imag
    return found.reshape(len(found), -1)


def groups(landmarks: np.ndarray) -> np.ndarray:
    """The first row (n,) of each row's shot. landmarks: (n, k, d), rows in the order of their frames.

    A row joins the shot of one of the BEFORE rows above it when their shapes differ by less than NEAR, and that of any
    row, up to MOST rows, that differs by less than SAME: a copy.
    """
    x, points = shapes(landmarks), landmarks.shape[1]
    n, edges = len(x), [np.zeros((2, 0), np.int64)]
    for step in range(1, min(BEFORE, n - 1) + 1):
        moved = [np.square(x[at.start + step : at.stop + step] - x[at]).sum(1) for at in blocks(n - step, 4096)]
        first = np.flatnonzero(np.sqrt(np.concatenate(moved) / points) < NEAR)
        edges.append(np.stack([first, first + step]))
    a, b = np.concatenate(edges, axis=1)
    label = near(x, SAME * np.sqrt(points)) if n <= MOST else None
    return components(n, a, b, label)


def near(x: np.ndarray, reach: float) -> np.ndarray:
    """The first row (n,) of each row's component, where rows of x (n, d) less than ``reach`` apart are joined.

    Compared are rows whose first principal components allow it.
    """
    n = len(x)
    sample = x[:: max(1, n // 512)].astype(np.float64)
    axes = np.linalg.svd(sample - sample.mean(axis=0), full_matrices=False)[2][:8]
    place = x @ axes.T
    order = np.argsort(place[:, 0], kind="stable")
    place = np.asfortranarray(place[order])
    last = np.searchsorted(place[:, 0], place[:, 0] + reach, "right")
    found = [np.zeros((2, 0), np.int64)]
    for at in range(n):
        close = np.arange(at + 1, last[at])
        for axis in range(1, place.shape[1]):  # one after the other: few are left after the first
            if not len(close):
                break
            close = close[np.abs(place[close, axis] - place[at, axis]) < reach]
        rows = order[close]
        rows = rows[np.square(x[rows] - x[order[at]]).sum(axis=1) < reach**2] if len(rows) else rows
        found.append(np.stack([np.full(len(rows), order[at]), rows]))
    a, b = np.concatenate(found, axis=1)
    return components(n, a, b)
