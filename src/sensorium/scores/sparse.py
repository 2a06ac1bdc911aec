"""Counting by int8 products: for targets that few candidates come near.

A tile of integer scores is reduced to the maximum of every 32 columns; only stretches whose
maximum reaches the lowest threshold of a query are looked at again, and of these only the
scores between "certainly below" and "certainly above" are recomputed.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from sensorium.scores import coded, workers
from sensorium.scores.definition import at_least, error32
from sensorium.scores.source import Source
from sensorium.scores.targets import Targets
from sensorium.types import blocks

_ROWS, _COLUMNS = 1024, 2048
_SAMPLE = 1024
_FEW = 0.02  # share of candidates at or above a threshold up to which looking at stretches pays


def suits(targets: Targets, source: Source, torch: Any) -> np.ndarray:
    """Which targets, (r,) bool, have few candidates near or above them, judged on a sample."""
    sample, length = source.sample(_SAMPLE)
    space = coded.space_of(source)
    block = coded.encode(sample, length, space, torch)
    asking = coded.Asking(targets.q, targets.length, space, torch)
    low, _ = asking.limits(targets.padded(np.inf), block)
    near = np.zeros(low.shape, np.int64)

    def count_near(rows: slice) -> None:
        tile = asking.tile(rows, block)[:, : block.size].numpy()
        for slot in range(low.shape[1]):
            near[rows, slot] = np.count_nonzero(tile >= low[rows, slot, None], axis=1)

    workers.each(count_near, blocks(len(targets.q), _ROWS), torch)
    return near[targets.row, targets.slot] <= _FEW * len(sample)


def count(targets: Targets, source: Source, torch: Any) -> np.ndarray:
    """How many candidates score at least each target's score, (r,) int64."""
    space = coded.space_of(source)
    asking = coded.Asking(targets.q, targets.length, space, torch)
    wanted = targets.padded(np.inf)
    above, adding = np.zeros(wanted.shape, np.int64), threading.Lock()

    def among(part: slice) -> None:
        c, c_length = source.read(part)
        block = coded.encode(c, c_length, space, torch)
        low, high = asking.limits(wanted, block)
        error = error32(targets.length, block.longest, source.width)
        for rows in blocks(len(targets.q), _ROWS):
            i, j, value = coded.found(asking.tile(rows, block), low[rows].min(axis=1))
            sure = value[:, None] >= high[rows][i]
            unsure = (value[:, None] >= low[rows][i]) & ~sure
            again = np.flatnonzero(unsure.any(axis=1))
            if len(again):
                r = i[again]
                threshold = wanted[rows][r]
                sure[again] |= at_least(
                    targets.q[rows], c, r, j[again], threshold, unsure[again], error[rows][r], torch
                )
            here = [np.bincount(i[yes], minlength=rows.stop - rows.start) for yes in sure.T]
            with adding:
                above[rows] += np.stack(here, axis=1)

    workers.each(among, blocks(len(source), _COLUMNS), torch)
    return above[targets.row, targets.slot]
