"""Scores of several runs made one: reciprocal ranks, or weighted sums of standardised scores.

With r runs and weights w, the fused score of an item is Σ w c over the runs:

- "rrf", reciprocal rank fusion (Cormack, Clarke & Büttcher 2009): c = 1 / (60 + rank), the weights with mean 1.
- "weights": c is the item's score less the mean of all scores of that query, over their deviation, so that runs whose
  scores have different scales can be added; the weights with sum 1.

An item that a run does not hold, or did not find, has c = 0 there: nothing by rank, the query's mean by scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.search.ranking import Ranked

CONSTANT = 60.0  # of reciprocal ranks: how little the first places weigh


def gathered(lists: Sequence[tuple[Any, Ranked]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids (n,) of all hits of one query, in the order of the runs; ranks and scores (r, n), NaN where a run has none.

    lists: of each run the table of its index, and the query's ranked rows.
    """
    known: dict[str, int] = {}
    ids = [table.ids[ranked.rows].tolist() for table, ranked in lists]
    for one in ids:
        for id in one:
            known.setdefault(id, len(known))
    ranks = np.full((len(lists), len(known)), np.nan)
    scores = ranks.copy()
    for r, (one, (_, ranked)) in enumerate(zip(ids, lists, strict=True)):
        at = np.array([known[id] for id in one], np.int64)
        ranks[r, at], scores[r, at] = np.arange(1, len(one) + 1), ranked.scores
    return np.array(list(known), object), ranks, scores


def contributions(fusion: str, ranks: np.ndarray, scores: np.ndarray, constant: float = CONSTANT) -> np.ndarray:
    """c of each run and item (r, n), from its ranks and scores (r, n), NaN where there is none: see this module."""
    there = np.isfinite(ranks)
    if fusion == "rrf":
        return np.where(there, 1.0 / (constant + np.where(there, ranks, 1.0)), 0.0)
    number = np.maximum(there.sum(axis=1, keepdims=True), 1)
    centred = np.where(there, scores - np.where(there, scores, 0.0).sum(axis=1, keepdims=True) / number, 0.0)
    deviation = np.sqrt(np.square(centred).sum(axis=1, keepdims=True) / number)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-12)
