"""Retrieval of held-out pairs by two maps: what closed forms choose their strengths by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from sensorium import scores
from sensorium.numerics import unit
from sensorium.pairs import Pairs, Relevance
from sensorium.scores.measures import average_precision
from sensorium.types import Affine

PAIRS = 1000  # at most; enough to compare strengths, as all are measured on the same pairs
_TIE = np.float32(1e-6)  # cosines that differ by less are ties, as products of float32 are rounded


class _Side(Protocol):
    def rows(self, which: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class HeldOut:
    """Validation pairs, seeded draw of at most ``PAIRS``, and their rows.

    x (n, d_x), y (m, d_y): distinct rows of each side, float32. pairs: of these rows.
    """

    x: np.ndarray
    y: np.ndarray
    pairs: Pairs

    @classmethod
    def of(cls, sides: tuple[_Side, _Side], pairs: Pairs) -> HeldOut | None:
        """The validation pairs of two sides, whose ``rows`` gives rows as the objective sees them; None without any."""
        held_out = pairs.where("validation", label=1)
        if not len(held_out):
            return None
        if len(held_out) > PAIRS:
            held_out = held_out.take(np.sort(np.random.default_rng(0).permutation(len(held_out))[:PAIRS]))
        if pairs.same_table:
            rows, position = np.unique(np.concatenate([held_out.left, held_out.right]), return_inverse=True)
            x = sides[0].rows(rows).astype(np.float32)
            return cls(x, x, Pairs.of(*np.split(position, 2), same_table=True))
        left, at_left = np.unique(held_out.left, return_inverse=True)
        right, at_right = np.unique(held_out.right, return_inverse=True)
        classes = None if held_out.classes is None else held_out.classes.take(left, right)
        few = replace(Pairs.of(at_left, at_right), classes=classes)
        return cls(sides[0].rows(left).astype(np.float32), sides[1].rows(right).astype(np.float32), few)

    def measure(self) -> Callable[[Affine | None, Affine | None], float]:
        """Scores two maps by retrieval, averaged over both directions.

        The measure is mean reciprocal rank; mean average precision where rows are related by class, as the first of
        many relevants says little. One matrix of cosines serves both directions of the first.
        """
        asked = [self.pairs.relevance("left->right")]
        if not self.pairs.same_table:  # there a relation holds both ways
            asked.append(self.pairs.relevance("right->left"))

        def measured(to_left: Affine | None, to_right: Affine | None) -> float:
            z = _project(self.x, to_left), _project(self.y, to_right)
            if self.pairs.classes is not None:
                each = [_average_precision(*z[::step], of) for of, step in zip(asked, (1, -1), strict=False)]
            else:
                tile = z[0][asked[0].queries] @ z[1][asked[0].candidates].T
                each = [float(np.mean(1 / first_rank(t, of))) for t, of in zip((tile, tile.T), asked, strict=False)]
            return float(np.mean(each))

        return measured


def first_rank(tile: np.ndarray, relevance: Relevance) -> np.ndarray:
    """Rank (q,) int64 of each query's first relevant among cosines (q, m) float32, ties against.

    Ties are differences up to 1e-6, so that equal rows are equal whatever way their products were rounded.
    """
    row = np.repeat(np.arange(len(tile)), relevance.counts())
    relevants = tile[row, relevance.relevant]
    least = np.maximum.reduceat(relevants, relevance.offsets[:-1]) - _TIE
    above = np.count_nonzero(tile >= least[:, None], axis=1)
    above -= np.bincount(row, relevants >= least[row], len(tile)).astype(np.int64)
    itself = np.flatnonzero(relevance.own >= 0)
    above[itself] -= tile[itself, relevance.own[itself]] >= least[itself]
    return 1 + above


def _project(x: np.ndarray, affine: Affine | None) -> np.ndarray:
    if affine is None:
        return unit(x)
    return unit(x @ affine.weight.astype(np.float32, copy=False) + affine.bias.astype(np.float32))


def _average_precision(queries: np.ndarray, candidates: np.ndarray, relevance: Relevance) -> float:
    return float(np.mean(average_precision(scores.ranks(queries, candidates, relevance), relevance.offsets)))
