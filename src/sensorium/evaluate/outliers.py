"""Items of one table that repeat another or lie apart from all others, by their nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sensorium import scores
from sensorium.evaluate import duplicates
from sensorium.types import Rows, blocks

EXACT = 20_000  # rows up to which all neighbours are compared; above, those around the same landmarks
NEIGHBOURS = 5
_LANDMARKS, _NEAREST = 256, 2  # rows taken at random; how many of them each row is compared around
_GROUP = 4096  # rows around a landmark that are compared at once
_LEAST = 50  # items, below which none is called an outlier
_TAIL = (0.9, 0.975)  # percentiles between which the tail of distances is measured
_NEAR = 0.25  # of the median distance: least distance that neighbours are taken to have
_FLOOR = 1e-4  # distance below which two items are as good as equal


class Neighbours(NamedTuple):
    """The k most similar other rows of each row: positions (n, k), -1 where there are fewer; cosines (n, k)."""

    positions: np.ndarray
    cosines: np.ndarray


class Outliers(NamedTuple):
    """probability (n,) that a row lies apart; times (n,): how much farther its neighbours are than theirs."""

    probability: np.ndarray
    times: np.ndarray


def neighbours(table: Rows, k: int = NEIGHBOURS, advance: Callable[[int], None] = lambda n: None) -> Neighbours:
    """The most similar other rows of each row of a table (n, d), which is centred first where it is a narrow cone.

    Exact up to :data:`EXACT` rows. Above that a row is compared with those that share one of its two nearest landmarks,
    which are 256 rows taken at random: rows that are nearly equal have the same ones. Memory and time are linear in n.
    """
    n = len(table)
    every = np.arange(n)
    unit = duplicates.Unit(table, every, duplicates.cone_centre(table, every))
    if n <= EXACT:
        found = scores.topk(unit, unit, min(k, n), own=every)
        advance(n)
        return Neighbours(*found)
    around = scores.topk(unit, unit[np.sort(np.random.default_rng(0).permutation(n)[:_LANDMARKS])], _NEAREST)[0]
    best = Neighbours(np.full((n, k), -1), np.full((n, k), -np.inf, np.float32))
    for landmark in range(_LANDMARKS):
        here = np.flatnonzero((around == landmark).any(axis=1))
        for part in blocks(len(here), _GROUP):
            rows = here[part]
            x = unit[rows]
            alike = x @ x.T
            np.fill_diagonal(alike, -np.inf)
            most = np.argpartition(-alike, min(k, len(rows)) - 1, axis=1)[:, :k]
            _merge(best, rows, rows[most], np.take_along_axis(alike, most, 1))
            advance(len(rows) // _NEAREST)
    return best


def _merge(best: Neighbours, rows: np.ndarray, positions: np.ndarray, cosines: np.ndarray) -> None:
    """Keep the best k of what is known of some rows and what is new, each neighbour once."""
    both = np.concatenate([best.positions[rows], positions], 1)
    score = np.concatenate([best.cosines[rows], cosines], 1)
    score[:, best.positions.shape[1] :][(positions[:, :, None] == best.positions[rows][:, None]).any(2)] = -np.inf
    order = np.argsort(-score, axis=1, kind="stable")[:, : best.positions.shape[1]]
    best.positions[rows], best.cosines[rows] = (np.take_along_axis(x, order, 1) for x in (both, score))
    best.positions[rows] = np.where(np.isfinite(best.cosines[rows]), best.positions[rows], -1)


def repeats(found: Neighbours, content: np.ndarray | None, cosine: float = duplicates.COSINE) -> np.ndarray:
    """The first row (n,) of each row's class of near-duplicates; its own for a row that repeats none.

    content (n,): hashes, equal where items are equal; None where they were not looked at.
    """
    n = len(found.positions)
    row, column = np.nonzero((found.cosines > cosine) & (found.positions >= 0))
    code = duplicates.classes(n, (row, found.positions[row, column]), content)
    _, first, of = np.unique(code, return_index=True, return_inverse=True)
    return first[of]


def outliers(found: Neighbours) -> Outliers:
    """How probably each row lies apart: against what chance would put so far out.

    The distance 1 - cosine to the last of the neighbours is divided by the mean of that of the neighbours themselves
    (the local outlier factor of Breunig et al. 2000, without its reachability), so that sparse regions are no outliers.
    The ratio's upper tail is taken as Pareto's, between its 90th and 97.5th percentile. Of the rows that are as far out
    or farther, n times the tail's probability are there by chance: what is left over of their number is the
    probability (the false discovery rate of Efron et al. 2001).
    """
    n = len(found.positions)
    if n < _LEAST:
        return Outliers(np.zeros(n), np.ones(n))
    last = np.where(np.isfinite(found.cosines[:, -1]), found.cosines[:, -1], -1.0).astype(np.float64)
    distance = np.maximum(1 - last, _FLOOR)
    there = found.positions >= 0
    around = np.where(there, distance[found.positions], 0).sum(1) / np.maximum(there.sum(1), 1)
    times = distance / np.maximum(around, _NEAR * np.median(distance))  # neighbours may repeat each other
    log = np.log(times)
    begins, ends = np.quantile(log, _TAIL)
    decay = np.log((1 - _TAIL[0]) / (1 - _TAIL[1])) / max(ends - begins, 1e-6)
    order = np.argsort(-log, kind="stable")
    chance = n * (1 - _TAIL[0]) * np.exp(-decay * np.maximum(log[order] - begins, 0))
    left = np.clip(1 - chance / np.arange(1, n + 1), 0, 1)
    probability = np.empty(n)
    probability[order] = np.minimum.accumulate(left)
    return Outliers(probability, times)
