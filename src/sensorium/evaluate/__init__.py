"""Evaluating: ranks of held-out pairs in both directions, measures over them, intervals over groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.errors import BadData
from sensorium.evaluate import statistics
from sensorium.pairs import Pairs, Relevance
from sensorium.scores import measures as _measures
from sensorium.scores.measures import DEFAULT, Measure, parse
from sensorium.types import Rows

__all__ = ["DEFAULT", "DIRECTIONS", "Measure", "Ranking", "evaluate", "parse", "per_query", "results"]

DIRECTIONS = ("left->right", "right->left")


@dataclass(frozen=True)
class Ranking:
    """One direction's ranks, and what they are ranks of.

    ranks (r,): rank of every relevant, in the order of ``relevance.relevant``.
    relevance: queries, candidates and relevants, as rows of the two tables.
    """

    direction: str
    split: str
    relevance: Relevance
    ranks: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """Rank of the first relevant of each query, (q,) int64."""
        return _measures.first(self.ranks, self.relevance.offsets)

    @property
    def reciprocal(self) -> np.ndarray:
        """Reciprocal rank of each query, (q,) float64."""
        return 1.0 / self.first

    @property
    def group(self) -> np.ndarray:
        """Group code of each query, (q,): the unit of the bootstrap."""
        return self.relevance.group

    def values(self, measure: str | Measure) -> np.ndarray:
        """The measure of every query, (q,) float64."""
        return parse(measure).per_query(self.ranks, self.relevance.offsets)


def per_query(
    zl: Rows,
    zr: Rows,
    pairs: Pairs,
    split: str = "test",
    directions: Sequence[str] = DIRECTIONS,
    corrections: Mapping[str, Any] | None = None,
    among: np.ndarray | None = None,
) -> dict[str, Ranking]:
    """Ranks of every relevant, by direction: what measures, breakdowns, comparisons and plots read.

    zl (n, d) and zr (m, d): head outputs of the two whole tables; ``pairs`` holds their rows.
    corrections: by direction, what corrects its scores for hubness (see ``evaluate.corrections``).
    among: right rows that are candidates too though the split does not name them, such as classes.
    Raises BadData when the split has no related pair.
    """
    rankings = {}
    for direction in directions:
        relevance = pairs.relevance(direction, split, among if direction == "left->right" else None)
        if not len(relevance.queries):
            present = sorted(set(np.unique(pairs.split[pairs.label == 1]).tolist()))
            raise BadData(
                f"split '{split}' has no related pair to evaluate (related pairs are in: {present}); "
                "type: data.test=0.1 to hold some groups out, or choose another split"
            )
        queries, candidates = (zl, zr) if direction == "left->right" else (zr, zl)
        correction = (corrections or {}).get(direction)
        rank = scores.ranks if correction is None else correction.ranks
        rankings[direction] = Ranking(direction, split, relevance, rank(queries, candidates, relevance))
    return rankings


def results(
    rankings: dict[str, Ranking], measures: Sequence[str | Measure] = DEFAULT, seed: int = 0, resamples: int = 1000
) -> list[dict[str, Any]]:
    """Rows of ``metrics.json``: direction, measure, value, low, high, n_queries, n_candidates,
    n_groups, split, seed.

    low and high bound the central 95% of bootstrap resamples over groups; ``few_groups`` is true where these
    are too few to believe the interval. The values are fractions, except for median_rank and mean_rank.
    """
    parsed = [parse(m) for m in measures]
    rows = []
    for direction, one in rankings.items():
        values = [one.values(measure) for measure in parsed]
        groups = len(np.unique(one.group))
        ends = statistics.intervals(values, one.group, [m.statistic for m in parsed], resamples, seed)
        for measure, (low, high) in zip(parsed, ends, strict=True):
            rows.append(
                {
                    "direction": direction,
                    "measure": str(measure),
                    "value": measure.summary(one.ranks, one.relevance.offsets),
                    "low": low,
                    "high": high,
                    "n_queries": len(one.relevance.queries),
                    "n_candidates": len(one.relevance.candidates),
                    "n_groups": groups,
                    "split": one.split,
                    "seed": seed,
                    **statistics.few(groups),
                }
            )
    return rows


def evaluate(
    zl: Rows,
    zr: Rows,
    pairs: Pairs,
    split: str = "test",
    measures: Sequence[str | Measure] = DEFAULT,
    seed: int = 0,
    resamples: int = 1000,
    directions: Sequence[str] = DIRECTIONS,
) -> list[dict[str, Any]]:
    """Evaluate head outputs on one split: ranks, measures and intervals, both ways.

    See :func:`per_query` for the shapes and :func:`results` for the rows. Unknown measures
    raise BadRecipe before anything is computed.
    """
    parsed = [parse(m) for m in measures]
    return results(per_query(zl, zr, pairs, split, directions), parsed, seed, resamples)
