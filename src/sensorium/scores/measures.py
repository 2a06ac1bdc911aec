"""Retrieval measures as values: named, exact, computed from ranks alone.

Conventions: ``ranks`` (r,) int64 holds the 1-based rank of every relevant, query by query;
``offsets`` (q + 1,) says where each query's begin; every query has at least one. A measure maps
them to one float64 per query; :meth:`Measure.summary` is their mean (or median). Fractions lie
in 0..1. Ties were already counted against the relevant when the ranks were made.

>>> parse("hit@2").per_query(np.array([3, 1, 9]), np.array([0, 2, 3]))
array([1., 0.])
>>> str(parse("hit@2"))
'hit@2'
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sensorium.errors import BadRecipe, nearest

PerQuery = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def hit(ranks: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """1 where any relevant is among the first k, else 0."""
    return (first(ranks, offsets) <= k).astype(np.float64)


def recall(ranks: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """Share of the query's relevants among the first k."""
    return _sum(ranks <= k, offsets) / np.diff(offsets)


def precision(ranks: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """Share of the first k that is relevant; the denominator is k even when fewer relevants exist."""
    return _sum(ranks <= k, offsets) / k


def reciprocal_rank(ranks: np.ndarray, offsets: np.ndarray, k: int = 0) -> np.ndarray:
    """1 / rank of the first relevant; with a cut-off k, 0 when it lies beyond."""
    best = first(ranks, offsets)
    return np.where((best <= k) | (k == 0), 1.0 / best, 0.0)


def average_precision(ranks: np.ndarray, offsets: np.ndarray, k: int = 0) -> np.ndarray:
    """Mean over min(R, k) of the precision at each relevant's rank, 0 for relevants beyond k.

    R is the query's number of relevants; k = 0 means no cut-off. Dividing by min(R, k), not by
    R, makes 1 reachable (the mAP@k of Clotho). A query with no hit counts as 0.
    """
    order = np.lexsort((ranks, np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))))
    ascending = ranks[order]
    nth = np.arange(1, len(ranks) + 1) - np.repeat(offsets[:-1], np.diff(offsets))
    counts = np.diff(offsets)
    inside = (ascending <= k) | (k == 0)
    return _sum(np.where(inside, nth / ascending, 0.0), offsets) / (np.minimum(counts, k) if k else counts)


def average_precision_over_all(ranks: np.ndarray, offsets: np.ndarray, k: int = 0) -> np.ndarray:
    """As :func:`average_precision`, over all R relevants even where R > k: what trec_eval and DCASE 2025 compute.

    The two are equal where no query has more than k relevants. Above that, 1 cannot be reached.
    """
    counts = np.diff(offsets)
    return average_precision(ranks, offsets, k) * ((np.minimum(counts, k) if k else counts) / counts)


def ndcg(ranks: np.ndarray, offsets: np.ndarray, k: int = 0) -> np.ndarray:
    """Σ 1/log2(1 + rank) over relevants within k, over its best possible value.

    Binary gain, Järvelin & Kekäläinen 2002 with the log2(1 + rank) discount; k = 0 means no cut-off.
    """
    counts = np.diff(offsets)
    gain = _sum(np.where((ranks <= k) | (k == 0), 1.0 / np.log2(1.0 + ranks), 0.0), offsets)
    reachable = np.minimum(counts, k) if k else counts
    ideal = np.cumsum(1.0 / np.log2(2.0 + np.arange(reachable.max(initial=1))))
    return gain / ideal[reachable - 1]


def first_rank(ranks: np.ndarray, offsets: np.ndarray, k: int = 0) -> np.ndarray:
    """Rank of the first relevant."""
    return first(ranks, offsets).astype(np.float64)


def first(ranks: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Rank of each query's first relevant, (q,) int64."""
    return np.minimum.reduceat(ranks, offsets[:-1]) if len(offsets) > 1 else np.zeros(0, np.int64)


def _sum(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values.astype(np.float64), offsets[:-1]) if len(offsets) > 1 else np.zeros(0)


# name: (per-query function, needs "@k", allows "@k", how queries are summarised)
_MEASURES: dict[str, tuple[PerQuery, bool, bool, str]] = {
    "hit": (hit, True, True, "mean"),
    "recall": (recall, True, True, "mean"),
    "precision": (precision, True, True, "mean"),
    "MRR": (reciprocal_rank, False, True, "mean"),
    "mAP": (average_precision, False, True, "mean"),
    "mAP_R": (average_precision_over_all, False, True, "mean"),
    "nDCG": (ndcg, False, True, "mean"),
    "median_rank": (first_rank, False, False, "median"),
    "mean_rank": (first_rank, False, False, "mean"),
}

DEFAULT = ("hit@1", "hit@5", "hit@10", "recall@10", "mAP@10", "nDCG@10", "MRR", "median_rank")


@dataclass(frozen=True)
class Measure:
    """A named measure, equal and printable: ``str(parse("mAP@10")) == "mAP@10"``."""

    name: str
    k: int = 0

    def __str__(self) -> str:
        return f"{self.name}@{self.k}" if self.k else self.name

    @property
    def statistic(self) -> str:
        """How queries are summarised: "mean" or "median"."""
        return _MEASURES[self.name][3]

    def per_query(self, ranks: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """One float64 per query, (q,)."""
        return _MEASURES[self.name][0](np.asarray(ranks), np.asarray(offsets), self.k)

    def summary(self, ranks: np.ndarray, offsets: np.ndarray) -> float:
        """Mean (or median) over the queries."""
        values = self.per_query(ranks, offsets)
        return float(np.median(values) if self.statistic == "median" else np.mean(values))


def parse(text: str | Measure) -> Measure:
    """A measure from its name, such as "hit@10", "mAP@10", "MRR" or "median_rank".

    Raises BadRecipe for an unknown name (naming the nearest), a missing or an impossible cut-off.
    """
    if isinstance(text, Measure):
        return text
    name, at, cut = text.strip().partition("@")
    known = {n.lower(): n for n in _MEASURES}
    if name.lower() not in known:
        raise BadRecipe(f"no measure '{text}'; {nearest(name, _MEASURES)}")
    name = known[name.lower()]
    _, needs, allows, _ = _MEASURES[name]
    if (needs and not at) or (at and not (allows and cut.isdecimal() and int(cut) > 0)):
        right = f"{name}@10" if needs else f"{name} or {name}@10" if allows else name
        raise BadRecipe(f"measure '{text}' is not complete or takes no such cut-off; type: {right}")
    return Measure(name, int(cut) if at else 0)
