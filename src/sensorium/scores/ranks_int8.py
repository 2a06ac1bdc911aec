"""Counting by int8 products: for targets that few candidates come near.

A tile of integer scores is reduced to the maximum of every 32 columns; only stretches whose
maximum reaches the lowest threshold of a query are looked at again, and of these only the
scores between "certainly below" and "certainly above" are recomputed.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from sensorium.numerics import threads
from sensorium.scores import int8
from sensorium.scores.similarity import at_least, error32
from sensorium.scores.source import Source
from sensorium.scores.targets import Targets
from sensorium.types import blocks

_ROWS, _COLUMNS = 512, 4096
_TOGETHER = 1 << 17  # pairs to be looked at again
_SAMPLE = 1024
_FEW = 0.02  # share of candidates at or above a threshold up to which looking at stretches pays


def quantized_queries(targets: Targets, source: Source, torch: Any) -> int8.QuantizedQueries:
    """The queries of some targets as int8 codes."""
    return int8.QuantizedQueries.together(targets.q, targets.length, int8.space_of(source), torch)


def suits(targets: Targets, source: Source, torch: Any) -> np.ndarray:
    """Which targets, (r,) bool, have few candidates near or above them, judged on a sample."""
    sample, length = source.sample(_SAMPLE)
    quantized = targets.narrowed or quantized_queries(targets, source, torch)
    block = int8.encode(sample, length, quantized.space, torch)
    low, _ = quantized.limits(targets.padded(np.inf), block)
    near = np.zeros(low.shape, np.int64)

    def count_near(rows: slice) -> None:
        tile = quantized.tile(rows, block)[:, : block.size].numpy()
        for slot in range(low.shape[1]):
            near[rows, slot] = np.count_nonzero(tile >= low[rows, slot, None], axis=1)

    threads.each(count_near, blocks(len(targets.q), _ROWS), torch)
    return near[targets.row, targets.slot] <= _FEW * len(sample)


def count(targets: Targets, source: Source, torch: Any) -> np.ndarray:
    """How many candidates score at least each target's score, (r,) int64."""
    quantized = targets.narrowed or quantized_queries(targets, source, torch)
    thresholds = targets.padded(np.inf)
    above, adding = np.zeros(thresholds.shape, np.int64), threading.Lock()

    def among(part: slice) -> None:
        c, c_length = source.read(part)
        block = int8.encode(c, c_length, quantized.space, torch)
        low, high = quantized.limits(thresholds, block)
        least = low.min(axis=1)
        error = error32(targets.length, block.longest, source.width)

        def settle(i: np.ndarray, j: np.ndarray, value: np.ndarray) -> None:
            """Count the pairs (i, j) of a given integer score (p,), i ascending."""
            sure = value[:, None] >= high[i]
            unsure = (value[:, None] >= low[i]) & ~sure
            again = np.flatnonzero(unsure.any(axis=1))
            if len(again):
                r = i[again]
                sure[again] |= at_least(targets.q, c, r, j[again], thresholds[r], unsure[again], error[r], torch)
            here = [np.bincount(i[yes], minlength=len(above)) for yes in sure.T]
            with adding:
                above[:] += np.stack(here, axis=1)

        # Tiles are small, to stay in the cache; what they leave is looked at together, as each call costs.
        waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for rows in blocks(len(targets.q), _ROWS):
            i, *rest = int8.found(quantized.tile(rows, block), least[rows])
            waiting.append((i + rows.start, *rest))
            if sum(len(i) for i, _, _ in waiting) >= _TOGETHER or rows.stop == len(targets.q):
                settle(*(np.concatenate(x) for x in zip(*waiting, strict=True)))
                waiting.clear()

    threads.each(among, blocks(len(source), _COLUMNS), torch)
    return above[targets.row, targets.slot]
