"""Split-conformal top sets: lists that hold the right item with a stated probability.

From n validation queries exchangeable with the future ones, the ⌈(n + 1) · coverage⌉-th smallest
nonconformity is exceeded by a new query with probability at most 1 − coverage (Vovk et al. 2005;
Papadopoulos et al. 2002), whatever the heads and the data. Queries of one group are not exchangeable
one by one, so one query a group is drawn.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate.selective import two_sided


@dataclass(frozen=True)
class TopSet:
    """Return the candidates with score ≥ ``score``, or the first ``k``, and the right one is among them.

    coverage: the stated probability. n: validation queries used. score holds for any set of
    candidates; k for as many candidates as validation had. score is −inf, and k 0, where n
    is too small to promise anything short of returning everything.
    """

    coverage: float
    n: int
    score: float
    k: int

    def contains(self, scores: np.ndarray) -> np.ndarray:
        """Mask of the candidates in the set, of scores of any shape."""
        return np.asarray(scores) >= self.score

    def to_dict(self) -> dict[str, Any]:
        """For JSON, where "everything" is null."""
        return {**asdict(self), "score": self.score if np.isfinite(self.score) else None, "k": self.k or None}


def quantile(nonconformity: np.ndarray, coverage: float) -> float:
    """The ⌈(n + 1) · coverage⌉-th smallest of (n,) values; +inf when that exceeds n."""
    if not 0 < coverage < 1:
        raise BadRecipe(f"coverage={coverage}; expected between 0 and 1")
    values = np.sort(np.asarray(nonconformity, np.float64))
    if values.ndim != 1 or not len(values) or np.isnan(values).any():
        raise BadData(f"conformal: nonconformity of shape {values.shape}; expected (n,), n ≥ 1, without NaN")
    nth = int(np.ceil((len(values) + 1) * coverage - 1e-9))  # 10 · 0.9 must be 9 also in floating point
    return float(values[nth - 1]) if nth <= len(values) else np.inf


def top_set(
    best_score: np.ndarray,
    first_rank: np.ndarray,
    coverage: float = 0.9,
    group: np.ndarray | None = None,
    seed: int = 0,
) -> TopSet:
    """Settle top sets on validation queries.

    best_score (q,): score of each query's best relevant; first_rank (q,): its rank. group (q,):
    one query of each is drawn, so that those used are exchangeable.
    """
    best_score, first_rank = np.asarray(best_score, np.float64), np.asarray(first_rank)
    if best_score.shape != first_rank.shape:
        raise BadData(
            f"conformal: {best_score.shape} scores and {first_rank.shape} ranks; expected one of each a query"
        )
    chosen = np.arange(len(best_score)) if group is None else one_per_group(group, seed)
    k = quantile(first_rank[chosen], coverage)
    return TopSet(coverage, len(chosen), -quantile(-best_score[chosen], coverage), int(k) if np.isfinite(k) else 0)


def one_per_group(group: np.ndarray, seed: int = 0) -> np.ndarray:
    """Positions of one query drawn at random from each group, sorted."""
    order = np.random.default_rng(seed).permutation(len(group))
    _, first = np.unique(np.asarray(group)[order], return_index=True)
    return np.sort(order[first])


def class_thresholds(probabilities: np.ndarray, labels: np.ndarray, coverage: float = 0.9) -> np.ndarray:
    """Thresholds (c,) that keep the coverage within each class (Mondrian; Vovk 2012).

    probabilities (n, c) and true classes (n,) of validation. A query's set is the classes whose
    probability reaches their own threshold. A class too rare to promise anything gets −inf.
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    out = np.full(probabilities.shape[1], -np.inf)
    for c in range(len(out)):
        mine = probabilities[labels == c, c]
        if len(mine):
            out[c] = -quantile(-mine, coverage)
    return out


def verify(covered: np.ndarray, coverage: float, sizes: np.ndarray | None = None) -> dict[str, Any]:
    """Stated against found: share of covered test queries with its exact 95% interval, and mean set size."""
    covered = np.asarray(covered).astype(bool)
    low, high = two_sided(int(covered.sum()), len(covered))
    summary = {"stated": coverage, "found": float(covered.mean()), "low": low, "high": high, "n": len(covered)}
    return summary if sizes is None else {**summary, "mean_size": float(np.mean(sizes))}
