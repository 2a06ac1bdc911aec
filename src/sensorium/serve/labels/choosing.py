"""The next queries to label: those whose first hits the run cannot tell apart, and that differ from one another."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from sensorium.numerics import unit
from sensorium.search.run import Run

_SAMPLE = 2000  # items that are looked at
_POOL = 8  # uncertain items for each one that is chosen
_DEPTH = 10  # hits over which the probabilities are taken
_TEMPERATURE = 0.05  # of the softmax over cosines


def choose(run: Run, side: str, to: str, n: int, known: Collection[str], seed: int = 0) -> list[tuple[str, float]]:
    """Ids of n items of ``side`` to be asked next, most useful first, each with its uncertainty from 0 to 1.

    Uncertainty is the entropy of the softmax over the scores of the first ten hits of side ``to``, as a share of the
    largest one (entropy sampling: Settles, 2009, section 3.1). Of the eight times n most uncertain items, the n are
    chosen by greedy k-center: each the farthest from those before and from what is labelled (Sener and Savarese,
    2018). known: ids that are labelled already. In the thread of the indexes.
    """
    index, target = run.index(side), run.index(to)
    ids = index.table.ids
    rows = np.arange(len(ids))
    if len(rows) > _SAMPLE:
        rows = np.random.default_rng(seed).choice(rows, _SAMPLE, replace=False)
    vectors = unit(np.asarray(index.vectors(rows), np.float32))
    labelled = np.array([str(id) in known for id in ids[rows]], bool)
    if labelled.all() or not len(target.table):
        return []
    doubt = _entropy(target, vectors, own=side == to)
    free = np.flatnonzero(~labelled)
    pool = free[np.argsort(-doubt[free], kind="stable")[: max(n, _POOL * n)]]
    near = np.full(len(pool), -np.inf)
    if labelled.any():
        near = (vectors[pool] @ vectors[labelled].T).max(axis=1)
    chosen: list[int] = []
    while len(chosen) < min(n, len(pool)):
        at = int(np.argmin(near)) if np.isfinite(near).any() else 0
        chosen.append(at)
        near = np.maximum(near, vectors[pool] @ vectors[pool[at]])
        near[chosen] = np.inf
    return [(str(ids[rows[pool[at]]]), round(float(doubt[pool[at]]), 4)) for at in chosen]


def _entropy(index: Any, vectors: np.ndarray, own: bool) -> np.ndarray:
    """Normalised entropy of the first hits of each query, (q,). own: the first hit is the query itself."""
    depth = min(_DEPTH + own, len(index.table))
    scores = np.asarray(index.search(vectors, depth).scores, np.float64)[:, int(own) :]
    if scores.shape[1] < 2:
        return np.ones(len(vectors))
    logits = (scores - scores.max(axis=1, keepdims=True)) / _TEMPERATURE
    share = np.exp(logits)
    share /= share.sum(axis=1, keepdims=True)
    return -(share * np.log(np.maximum(share, 1e-12))).sum(axis=1) / np.log(scores.shape[1])
