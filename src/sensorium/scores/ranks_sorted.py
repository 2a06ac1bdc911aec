"""Counting by sorting: for queries with so many relevants that comparing with each would cost more.

All scores of a query are computed in float64 and sorted once; each threshold is then found by
bisection. A float64 score decides by itself unless it lies within its own rounding of the
point where float32 rounding switches, which only adversarial data ever reaches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.scores.similarity import error64, scores_at, switch_point
from sensorium.scores.source import Source
from sensorium.scores.targets import Targets
from sensorium.types import blocks

_NUMBERS = 1 << 22  # float64 scores in memory at a time: 32 MB
_COLUMNS = 4096


def count(targets: Targets, source: Source, torch: Any = None) -> np.ndarray:
    """How many candidates score at least each target's score, (r,) int64."""
    m, above = len(source), np.zeros(len(targets), np.int64)
    middle = switch_point(targets.score)
    for rows in blocks(len(targets.q), max(1, _NUMBERS // max(1, m))):
        q = targets.q[rows].astype(np.float64)
        scores, longest = np.empty((len(q), m)), 0.0
        for part, c, c_length in source.blocks(_COLUMNS):
            scores[:, part] = q @ c.T.astype(np.float64)
            longest = max(longest, float(c_length.max()))
        errors = error64(targets.length[rows], longest, source.width)
        for i, error in enumerate(errors):
            query = rows.start + i
            at = np.arange(targets.offsets[query], targets.offsets[query + 1])
            above[at] = _above(scores[i], middle[at], error)
            for target in at[above[at] < 0]:
                # The very expressions of _above, so that no score falls between "near" and "certain".
                low, high = middle[target] - error, middle[target] + error
                near = np.flatnonzero((scores[i] >= low) & (scores[i] <= high))
                first = np.zeros(len(near), np.int64)
                again = scores_at(targets.q[query : query + 1], source.take(near), first, np.arange(len(near)))
                certain = np.count_nonzero(scores[i] > high)
                above[target] = certain + np.count_nonzero(again >= targets.score[target])
    return above


def _above(scores: np.ndarray, middle: np.ndarray, error: float) -> np.ndarray:
    """Scores certainly at or above each middle, -1 where rounding leaves that open."""
    ascending = np.sort(scores)
    low = np.searchsorted(ascending, middle - error, side="left")
    high = np.searchsorted(ascending, middle + error, side="right")
    return np.where(low == high, len(scores) - high, -1)
