"""Vectors in 8 or 16 bits, and a rigorous bound on what narrowing can change in an inner product.

With q̂ and ĉ the narrow copies, q·c − q̂·ĉ = (q − q̂)·c + q̂·(c − ĉ), so by Cauchy-Schwarz

    |q·c − q̂·ĉ| ≤ ‖q − q̂‖ ‖c‖ + (‖q‖ + ‖q − q̂‖) ‖c − ĉ‖

where every length is measured, not assumed. Two exact steps come first to make the residuals
small: candidates are centred (q·c = q·(c − μ) + q·μ, the second term being a constant of the
query), and both sides are rotated by one orthogonal matrix, which leaves inner products alone
and spreads outlying coordinates, so that one step size fits all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sensorium.scores.similarity import UNIT, lengths

_ROTATED = 64  # width of one rotated stretch: small, because its rounding enters the bound


@dataclass(frozen=True)
class Space:
    """Where vectors are narrowed: a centre μ (d,) float32 and a rotation of stretches of coordinates."""

    centre: np.ndarray

    def queries(self, q: np.ndarray) -> np.ndarray:
        """Rotated queries (b, d')."""
        return _rotate(q)

    def candidates(self, c: np.ndarray) -> np.ndarray:
        """Centred and rotated candidates (n, d')."""
        return _rotate(c - self.centre)

    def constant(self, q: np.ndarray) -> np.ndarray:
        """q·μ of each query, (b,) float64: what centring took away."""
        return np.einsum("ij,j->i", q, self.centre, dtype=np.float64)

    def slack(self, length: np.ndarray, longest: float) -> np.ndarray:
        """What rotating, centring and the last rounding of a score can add to the bound, (b,).

        length (b,): of the queries. longest: of the centred candidates.
        """
        moved = length * longest
        mean = float(np.linalg.norm(self.centre.astype(np.float64)))
        return _rotation()[1] * moved + 8 * UNIT * (moved + length * mean) + 1e-36


def step_of(greatest: np.ndarray | float) -> np.ndarray:
    """The float32 step that spreads coordinates up to ``greatest`` over the codes -127..127."""
    return np.asarray(np.maximum(greatest, 1e-30) / 127, np.float32)


def int8(x: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n, d) int8 with x ≈ step × codes, and the length (n,) of what that leaves out.

    step: (n, 1), each row its own (queries), or () for all (candidates, whose scores then
    compare as integers). Coordinates beyond 127 steps are clipped, which the residual counts.
    """
    rounded = np.rint(x / step)
    np.clip(rounded, -127, 127, out=rounded)
    codes = rounded.astype(np.int8)
    rounded *= step
    return codes, residual(x, rounded)


def residual(x: np.ndarray, narrow: np.ndarray) -> np.ndarray:
    """Length of x − narrow, (n,) float64, rounded up."""
    return lengths(x - narrow) * (1 + 1e-6) + 4 * UNIT * lengths(x)


def bound(residual: np.ndarray, length: np.ndarray, c_residual: float, c_longest: float) -> np.ndarray:
    """The inequality at the head of this file, (b,)."""
    return residual * c_longest + (length + residual) * c_residual


def _rotate(x: np.ndarray) -> np.ndarray:
    n, d = x.shape
    pad = -d % _ROTATED
    if pad:
        x = np.concatenate([x, np.zeros((n, pad), np.float32)], axis=1)
    return (x.reshape(-1, _ROTATED) @ _rotation()[0]).reshape(n, d + pad)


@lru_cache(maxsize=1)
def _rotation() -> tuple[np.ndarray, float]:
    """A fixed random rotation and how much applying it to both sides can change ‖q‖‖c‖-relative products."""
    normal = np.random.default_rng(0).standard_normal((_ROTATED, _ROTATED))
    rotation = np.linalg.qr(normal)[0].astype(np.float32)
    exact = rotation.astype(np.float64)
    skew = float(np.linalg.norm(exact @ exact.T - np.eye(_ROTATED)))
    rounding = 1.01 * _ROTATED * UNIT * np.sqrt(_ROTATED)
    return rotation, 1.01 * (2 * rounding + skew)
