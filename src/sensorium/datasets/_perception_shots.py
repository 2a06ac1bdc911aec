"""Shots: rows of landmarks that are frames of one video, found by how little the face moves from row to row."""

from __future__ import annotations

import numpy as np

from sensorium.pairs.components import components
from sensorium.types import blocks

#: Mean distance of corresponding landmarks of two shapes, each centred and of RMS radius 1. Frames of one shot 1/8 s
#: apart stay below NEAR, at most 1% of consecutive pictures of different people do; below SAME are copies.
NEAR, SAME = 0.1, 0.02
BEFORE = 3  # rows that a row is compared with, so that faces of one picture may alternate
MOST = 50_000  # rows among which copies are looked for everywhere


def shapes(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (n, k, d), centred and of RMS radius 1, flattened to (n, k d) float32: where and how large is gone.

    >>> shapes(np.array([[[0.0, 0], [2, 0]], [[5.0, 5], [9, 5]]])).tolist()
    [[-1.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 1.0, 0.0]]
    """
    found = np.asarray(landmarks, np.float32)
    found = found - found.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(found).sum(axis=2).mean(axis=1))
    return (found / np.where(size > 0, size, 1)[:, None, None]).reshape(len(found), -1)


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
    place = place[order]
    last = np.searchsorted(place[:, 0], place[:, 0] + reach, "right")
    found = [np.zeros((2, 0), np.int64)]
    for at in range(n):
        close = np.arange(at + 1, last[at])
        rows = order[close[(np.abs(place[close] - place[at]) < reach).all(axis=1)]]
        rows = rows[np.square(x[rows] - x[order[at]]).sum(axis=1) < reach**2] if len(rows) else rows
        found.append(np.stack([np.full(len(rows), order[at]), rows]))
    a, b = np.concatenate(found, axis=1)
    return components(n, a, b)
