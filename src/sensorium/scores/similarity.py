"""The score of a pair, by definition and nearly: what every blocked computation comes back to."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.types import blocks

UNIT = 2.0**-24  # unit roundoff of float32
LONGEST = 1e18  # the inner product of two vectors shorter than this cannot overflow float32


def pair_scores(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Scores (p,) float32 of paired rows (p, d): float64 inner products rounded to float32.

    A product of two float32 numbers is exact in float64, and NumPy sums a row in one fixed
    (pairwise) order, so the result is a function of the two rows only.
    """
    out = np.empty(len(left), np.float32)
    for rows in blocks(len(left), max(1, (1 << 18) // max(1, left.shape[1]))):
        out[rows] = np.multiply(left[rows], right[rows], dtype=np.float64).sum(axis=1)
    return out


def scores_at(left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """:func:`pair_scores` of left[i] and right[j], without gathering all pairs at once."""
    out = np.empty(len(i), np.float32)
    for part in blocks(len(i), max(1, (1 << 20) // max(1, left.shape[1]))):
        out[part] = pair_scores(left[i[part]], right[j[part]])
    return out


def near_scores(left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray, torch: Any = None) -> np.ndarray:
    """float32 inner products of left[i] and right[j], i ascending, within :func:`error32` of the score.

    With torch the pairs are multiplied in place, as a sampled matrix product (no gathered copies):
    10 ns a pair of width 256 where a gather costs 300.
    """
    if torch is None or len(i) < 64:
        return scores_at(left, right, i, j)
    starts = np.zeros(len(left) + 1, np.int64)
    np.cumsum(np.bincount(i, minlength=len(left)), out=starts[1:])
    a, b = torch.from_numpy(left), torch.from_numpy(right)
    pattern = torch.sparse_csr_tensor(
        torch.from_numpy(starts), torch.from_numpy(j), torch.zeros(len(j)), size=(len(left), len(right))
    )
    return torch.sparse.sampled_addmm(pattern, a, b.T, beta=0.0).values().numpy()


def lengths(x: np.ndarray) -> np.ndarray:
    """Euclidean length of each row of x (n, d), (n,) float64, rounded up by at most 2⁻²¹ d relative; inf for NaN.

    Squares are summed in float32, which is ten times faster, and again in float64 only for
    rows whose squares could leave its range.
    """
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        squared = np.einsum("ij,ij->i", x, x).astype(np.float64)
        odd = np.flatnonzero(~((squared > 1e-30) & (squared < 1e30)))
        squared[odd] = np.einsum("ij,ij->i", x[odd], x[odd], dtype=np.float64)
    length = np.sqrt(squared) * (1.0 + (x.shape[1] + 4) * 2 * UNIT)
    return np.where(np.isnan(length), np.inf, length)


def error32(length: np.ndarray, longest: float, d: int) -> np.ndarray:
    """How far a float32 product of width d can lie from the score, in any order of summation.

    γ_d ‖q‖ ‖c‖ (Higham 2002, eq. 3.5) for the product, one more rounding for the score itself,
    doubled to cover the rounding of lengths and of the bound.
    """
    return 2.0 * (d + 4) * UNIT * length.astype(np.float64) * longest + 1e-36


def at_least(
    q: np.ndarray,
    c: np.ndarray,
    i: np.ndarray,
    j: np.ndarray,
    threshold: np.ndarray,
    chosen: np.ndarray,
    error: np.ndarray,
    torch: Any = None,
) -> np.ndarray:
    """Whether the score of (q[i], c[j]) is at least each of the chosen thresholds, (p, s) bool.

    i ascending, j (p,); threshold (p, s) float32; chosen (p, s) bool, False gives False;
    error (p,): what :func:`error32` says of each pair.
    """
    tile = len(q) * len(c)
    if len(i) > tile / 8:  # nearly all pairs: a product of everything costs less
        return chosen & _at_least_by_float64(q, c, i, j, threshold)
    near = near_scores(q, c, i, j, torch).astype(np.float64)
    gap = near[:, None] - threshold
    yes = chosen & (gap >= error[:, None])
    unsure = chosen & (np.abs(gap) < error[:, None])
    again = np.flatnonzero(unsure.any(axis=1))
    if len(again) > tile / 64:
        yes[again] |= unsure[again] & _at_least_by_float64(q, c, i[again], j[again], threshold[again])
    elif len(again):
        score = scores_at(q, c, i[again], j[again])
        yes[again] |= unsure[again] & (score[:, None] >= threshold[again])
    return yes


def switch_point(threshold: np.ndarray) -> np.ndarray:
    """Where float32 rounding switches: a float64 sum above this rounds to at least the threshold, below to less."""
    before = np.nextafter(threshold, np.float32(-np.inf)).astype(np.float64)
    return before + (threshold - before) / 2


def error64(length: np.ndarray, longest: float, d: int) -> np.ndarray:
    """How far two float64 sums of the same products can lie apart; as :func:`error32`."""
    return 4.0 * (d + 4) * 2.0**-53 * length * longest + 1e-300


def _at_least_by_float64(
    q: np.ndarray, c: np.ndarray, i: np.ndarray, j: np.ndarray, threshold: np.ndarray
) -> np.ndarray:
    """Whether each score of (q[i], c[j]) is at least each of its thresholds (p, s), for very many pairs.

    Heads that have collapsed, and crowds of equal vectors, bring these about. A float64 sum
    decides unless it lies within its own rounding of the switch point, which hardly any does,
    even where all scores are equal.
    """
    near = (q.astype(np.float64) @ c.T.astype(np.float64))[i, j]
    error = error64(lengths(q), float(lengths(c).max()), q.shape[1])[i]
    with np.errstate(invalid="ignore"):  # thresholds that are not chosen may be infinite
        gap = near[:, None] - switch_point(threshold)
    yes = gap > 0
    again = np.flatnonzero((np.abs(gap) <= error[:, None]).any(axis=1))
    yes[again] = scores_at(q, c, i[again], j[again])[:, None] >= threshold[again]
    return yes
