"""Intervals of time: how much two of them overlap, as the intersection over the union of both."""

from __future__ import annotations

import numpy as np


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (n, m), float64, of intervals a (n, 2) and b (m, 2), each begin and end; 0 where apart.

    >>> iou(np.array([[0, 10], [5, 15]]), np.array([[5, 10]]))
    array([[0.5],
           [0.5]])
    """
    a, b = (np.asarray(one, np.float64).reshape(-1, 1, 2) for one in (a, b))
    b = b.reshape(1, -1, 2)
    common = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    both = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - common
    return np.where(common > 0, common / np.maximum(both, 1e-12), 0.0)
