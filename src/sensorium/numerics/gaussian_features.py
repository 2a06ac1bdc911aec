"""Points of three coordinates as vectors whose inner product is exp(-d²/6): it ranks as the Euclidean distance d does.

Everything that searches and measures here compares inner products, and a higher score is nearer. So that points can be
compared by distance, each is mapped to its features in the Gaussian kernel's Taylor expansion (Cotter, Keshet & Srebro
2011, "Explicit approximations of the Gaussian kernel"):

    exp(-|x - y|² / 2s) = exp(-|x|² / 2s) exp(-|y|² / 2s) Σₖ (x·y / s)ᵏ / k!

whose term k is the inner product of all monomials of degree k. Both sides have the same map, so that an item can be a
query too, and the vectors have unit length, which graphs of neighbours need. With s = 3 and coordinates in -1..1,
|x·y / s| is at most 1 and degree 9 leaves out less than 1/10! = 3e-7, as much as float32 rounds away: distances
below 0.001 are not distinguished.
"""

from __future__ import annotations

from itertools import product
from math import factorial

import numpy as np

AXES = 3  # coordinates of a point
SPREAD = 3.0  # s: twice of it is what squared distances are divided by
DEGREE = 9
#: Powers of each coordinate in each feature, (220, 3), by degree: first the constant, then the coordinates.
EXPONENTS = np.array(
    sorted((e for e in product(range(DEGREE + 1), repeat=AXES) if sum(e) <= DEGREE),
           key=lambda e: (sum(e), tuple(-part for part in e)))
)  # fmt: skip
#: Factor of each feature, (220,): 1 / √(α! s^|α|) of the powers α.
FACTORS = np.array([1 / np.sqrt(np.prod([float(factorial(n)) for n in e]) * SPREAD ** sum(e)) for e in EXPONENTS])
WIDTH = len(EXPONENTS)


def lift(points: np.ndarray) -> np.ndarray:
    """Points (n, 3), cut off to -1..1, as vectors (n, 220) float32 of unit length.

    >>> a, b = lift(np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]))
    >>> bool(abs(a @ b - np.exp(-0.25 / 6)) < 1e-6)
    True
    """
    x = np.clip(np.asarray(points, np.float64), -1, 1)
    powers = x[:, :, None] ** np.arange(DEGREE + 1)
    out = FACTORS * np.exp(-np.square(x).sum(1) / (2 * SPREAD))[:, None]
    for axis in range(AXES):
        out = out * powers[:, axis, EXPONENTS[:, axis]]
    return out.astype(np.float32)


def points_of(vectors: np.ndarray) -> np.ndarray:
    """The points (n, 3) float32 of such vectors (n, 220): the first features are a constant and the coordinates."""
    z = np.asarray(vectors[:, : 1 + AXES], np.float64)
    return (z[:, 1:] / z[:, :1] * np.sqrt(SPREAD)).astype(np.float32)


def distances(scores: np.ndarray) -> np.ndarray:
    """Euclidean distances of such scores, inner products of two vectors."""
    return np.sqrt(np.maximum(-2 * SPREAD * np.log(np.clip(scores, 1e-30, 1)), 0))
