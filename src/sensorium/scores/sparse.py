"""Counting by int8 products: for targets that few candidates come near.

A tile of integer scores is reduced to the maximum of every 32 columns; only stretches whose
maximum reaches the lowest threshold of a query are looked at again, and of these only the
scores between "certainly below" and "certainly above" are recomputed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.scores import narrow
from sensorium.scores.definition import at_least, error32
from sensorium.scores.source import Source
from sensorium.scores.targets import Targets
from sensorium.types import blocks

_ROWS, _COLUMNS, _STRETCH = 1024, 2048, 32
_NEVER = 1 << 30  # an integer score that no vectors narrower than 66,000 reach
_SAMPLE = 1024
_FEW = 0.02  # share of candidates at or above a threshold up to which looking at stretches pays


class _Queries:
    """Queries narrowed once, and their integer thresholds for any block of candidates."""

    def __init__(self, q: np.ndarray, length: np.ndarray, space: narrow.Space, torch: Any) -> None:
        turned = space.queries(q)
        self.length, self.space = length, space
        self.turned_length = narrow.lengths(turned)
        self.constant = space.constant(q)
        self.narrow = narrow.int8_rows(turned, torch)

    def limits(self, threshold: np.ndarray, c: narrow.Int8, c_longest: float) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), both int32 (b, s): below low is certainly below the threshold, from high on at least it."""
        error = narrow.bound(self.narrow.residual, self.turned_length, float(c.residual.max()), c_longest)
        error += self.space.slack(self.length, c_longest)
        step = self.narrow.step.astype(np.float64) * float(c.step)
        middle = threshold - self.constant[:, None]
        low = np.floor((middle - error[:, None]) / step[:, None])
        high = np.ceil((middle + error[:, None]) / step[:, None])
        return tuple(np.clip(x, -_NEVER, _NEVER).astype(np.int32) for x in (low, high))


def suits(targets: Targets, source: Source, torch: Any) -> np.ndarray:
    """Which targets, (r,) bool, have few candidates near or above them, judged on a sample."""
    sample = source.sample(_SAMPLE)
    space = narrow.Space(sample.mean(axis=0))
    turned = space.candidates(sample)
    c = narrow.int8_block(turned, torch)
    longest = float(narrow.lengths(turned).max())
    queries = _Queries(targets.q, targets.length, space, torch)
    low, _ = queries.limits(targets.padded(np.inf), c, longest)
    near = np.zeros(low.shape, np.int64)
    for rows in blocks(len(targets.q), _ROWS):
        tile = torch._int_mm(queries.narrow.codes[rows], c.codes.T).numpy()
        for slot in range(low.shape[1]):
            near[rows, slot] = np.count_nonzero(tile >= low[rows, slot, None], axis=1)
    return near[targets.row, targets.slot] <= _FEW * len(sample)


def count(targets: Targets, source: Source, torch: Any) -> np.ndarray:
    """How many candidates score at least each target's score, (r,) int64."""
    space = narrow.Space(source.sample(_SAMPLE).mean(axis=0))
    queries = _Queries(targets.q, targets.length, space, torch)
    wanted = targets.padded(np.inf)
    above = np.zeros(wanted.shape, np.int64)
    for _, c, c_length in source.blocks(_COLUMNS):
        turned = space.candidates(c)
        if len(c) % _STRETCH:  # filled up with zeros, whose scores are left out below
            turned = np.concatenate([turned, np.zeros((-len(c) % _STRETCH, turned.shape[1]), np.float32)])
        codes = narrow.int8_block(turned, torch)
        low, high = queries.limits(wanted, codes, float(narrow.lengths(turned).max()))
        longest = float(c_length.max())
        for rows in blocks(len(targets.q), _ROWS):
            tile = torch._int_mm(queries.narrow.codes[rows], codes.codes.T)
            i, j, value = found(tile, low[rows].min(axis=1), len(c), torch)
            sure = value[:, None] >= high[rows][i]
            unsure = (value[:, None] >= low[rows][i]) & ~sure
            again = np.flatnonzero(unsure.any(axis=1))
            if len(again):
                r, q = i[again], targets.q[rows]
                error = error32(targets.length[rows], longest, source.width)[r]
                sure[again] |= at_least(q, c, r, j[again], wanted[rows][r], unsure[again], error, torch)
            for slot in range(wanted.shape[1]):
                above[rows, slot] += np.bincount(i[sure[:, slot]], minlength=rows.stop - rows.start)
    return above[targets.row, targets.slot]


def found(tile: Any, gate: np.ndarray, n: int, torch: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column < n and value of every score of a tile (b, 32 s) that reaches its row's gate (b,).

    In order of row, then column.
    """
    b, width = tile.shape
    stretches = tile.view(b, width // _STRETCH, _STRETCH)
    gate = torch.from_numpy(gate)
    at = (stretches.amax(-1) >= gate[:, None]).view(-1).nonzero().view(-1)
    values = stretches.view(-1, _STRETCH)[at]
    row = at // stretches.shape[1]
    hit, column = (values >= gate[row, None]).nonzero(as_tuple=True)
    j = (at[hit] % stretches.shape[1]) * _STRETCH + column
    i, value = row[hit], values[hit, column]
    if n < width:
        inside = j < n
        i, j, value = i[inside], j[inside], value[inside]
    return i.numpy(), j.numpy(), value.numpy()
