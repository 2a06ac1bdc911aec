"""Counting by float32 products in NumPy: small problems, and machines without fast narrow products."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.scores.similarity import at_least, error32
from sensorium.scores.source import Source
from sensorium.scores.targets import Targets
from sensorium.types import blocks

_ROWS, _COLUMNS = 1024, 2048


def count(targets: Targets, source: Source, torch: Any = None) -> np.ndarray:
    """How many candidates score at least each target's score, (r,) int64."""
    thresholds = targets.padded(np.inf)
    above = np.zeros(thresholds.shape, np.int64)
    for _, c, c_length in source.blocks(_COLUMNS):
        longest = float(c_length.max(initial=0.0))
        for rows in blocks(len(targets.q), _ROWS):
            q, threshold = targets.q[rows], thresholds[rows]
            error = error32(targets.length[rows], longest, source.width)
            tile = q @ c.T
            for slot in range(thresholds.shape[1]):
                middle = threshold[:, slot].astype(np.float64)
                # Compared in float32, the thresholds are moved outwards by the rounding this costs.
                low = np.nextafter((middle - error).astype(np.float32), np.float32(-np.inf))
                high = np.nextafter((middle + error).astype(np.float32), np.float32(np.inf))
                sure = tile >= high[:, None]
                above[rows, slot] += sure.sum(axis=1)
                i, j = np.nonzero((tile >= low[:, None]) ^ sure)
                if len(i):
                    column = threshold[i, slot : slot + 1]
                    yes = at_least(q, c, i, j, column, np.isfinite(column), error[i])
                    above[rows, slot] += np.bincount(i[yes[:, 0]], minlength=len(q))
    return above[targets.row, targets.slot]
