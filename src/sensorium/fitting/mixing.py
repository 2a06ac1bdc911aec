"""Weights of a mixture's members: greedy selection on the validation pairs, and what each member brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sensorium import heads
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.validation import QUERIES, few
from sensorium.pairs import Pairs, Relevance, csr
from sensorium.scores import measures
from sensorium.types import Embeddings, blocks

ROUNDS = 30  # of greedy selection at most: a weight is a multiple of about 1/30
BANK = 1024  # training queries that biases come from
_SCORES = 1 << 24  # of a member and direction that are held: queries × candidates
_COMPARED = 1 << 24  # scores compared at once
_LEAST = 1e-9  # smallest standard deviation of a member's scores


@dataclass(frozen=True)
class Mixed:
    """weights: of the members, adding up to 1. validation: the mixture's measure, None without validation pairs.

    rows: for each member its weight, its own measure alone, and how much the mixture's falls without it, "brings",
    with the ends of a 95% interval.
    """

    weights: list[float]
    validation: float | None
    rows: list[dict[str, Any]]


def mix(
    fitted: Sequence[Fitted], left: Embeddings, right: Embeddings, pairs: Pairs, options: TrainOptions,
    corrected: bool = True,
) -> Mixed:  # fmt: skip
    """The weights of fitted pairs of heads that are best on the validation pairs; equal ones where there are none.

    left, right: tables as the heads take them. Scores of a member are divided by their standard deviation, so that
    weights of equal sizes count equally. Selection (Caruana et al. 2004): from the best member on, the member whose
    scores raise the measure most is added, with replacement, until none does. Validation chooses so few numbers that
    its measure stays nearly unbiased. The measure is ``options.monitor``, its mean over ``options.direction``.
    corrected: of scores less the candidates' biases, see :class:`Measured`, as a run is evaluated and searched.
    """
    heldout = pairs.where("validation", label=1)
    directions = ("left->right", "right->left") if options.direction == "both" else (options.direction,)
    if not len(heldout):
        return Mixed([1 / len(fitted)] * len(fitted), None, [{"weight": 1 / len(fitted)} for _ in fitted])
    every = [pairs.relevance(d, "validation") for d in directions[: 1 if pairs.same_table else 2]]
    asked = [few(of, max(1, min(QUERIES, _SCORES // len(of.candidates)))) for of in every]
    scores = [_scores(one, left, right, asked, directions) for one in fitted]
    banks = [replace(of, queries=_bank(pairs, d)) for of, d in zip(asked, directions, strict=False) if corrected]
    known = [_scores(one, left, right, banks, directions) for one in fitted] if banks else None
    measured = Measured(asked, scores, options.monitor, known)
    counts = measured.select()
    weights = counts / measured.deviation
    rows = [{"weight": float(w), "validation": measured.value(one)} | measured.brings(counts, k)
            for k, (w, one) in enumerate(zip(weights / weights.sum(), np.eye(len(fitted)), strict=True))]  # fmt: skip
    return Mixed((weights / weights.sum()).tolist(), measured.value(counts), rows)


class Measured:
    """Scores of all members on the validation queries, and the measure of any weighting of them.

    asked: what each direction's queries should find. scores: by member, then direction, (q, m) float32. Weights are of
    standardised scores. banks: the same of training queries, (b, m). With them every score is measured less its
    candidate's bias, log mean exp(β s) / β over the bank, β = 1 / (their standard deviation): the inverted softmax
    (Smith et al. 2017, eq. 5) at the weakest strength that :mod:`sensorium.evaluate.hubness` tries.
    """

    def __init__(
        self, asked: Sequence[Relevance], scores: Sequence[Sequence[np.ndarray]], monitor: str,
        banks: Sequence[Sequence[np.ndarray]] | None = None,
    ) -> None:  # fmt: skip
        self.asked, self.measure = asked, measures.parse(monitor)
        self.deviation = np.array([max(float(np.mean([s.std() for s in of])), _LEAST) for of in scores])
        self.scores = [[s / deviation for s in of] for of, deviation in zip(scores, self.deviation, strict=True)]
        self.banks = None if banks is None else [
            [b / deviation for b in of] for of, deviation in zip(banks, self.deviation, strict=True)]  # fmt: skip
        self.sign = -1.0 if monitor == "median_rank" else 1.0
        self.known: dict[tuple[float, ...], list[np.ndarray]] = {}

    def per_query(self, weights: np.ndarray) -> list[np.ndarray]:
        """The measure of each query, by direction."""
        key = tuple(np.asarray(weights, np.float64).tolist())
        if key not in self.known:
            self.known[key] = [
                self.measure.per_query(ranks(self.combined(key, d), asked), asked.offsets)
                for d, asked in enumerate(self.asked)
            ]
        return self.known[key]

    def combined(self, weights: Sequence[float], d: int) -> np.ndarray:
        """Weighted sums of the members' scores (q, m) of direction d, less the candidates' biases."""
        total = sum(np.float32(w) * of[d] for w, of in zip(weights, self.scores, strict=True) if w)
        if self.banks is None:
            return total
        bank = sum(np.float32(w) * of[d] for w, of in zip(weights, self.banks, strict=True) if w)
        beta, top = 1 / max(float(bank.std()), _LEAST), bank.max(0)
        return total - (top + np.log(np.exp(np.float32(beta) * (bank - top)).mean(0)) / beta).astype(np.float32)

    def value(self, weights: np.ndarray) -> float:
        """The measure, averaged over the directions."""
        summary = np.median if self.sign < 0 else np.mean
        return float(np.mean([summary(each) for each in self.per_query(weights)]))

    def select(self) -> np.ndarray:
        """How often each member is taken by greedy selection with replacement, (K,)."""
        every = np.eye(len(self.scores))
        best = max(every, key=lambda one: self.sign * self.value(one))
        for _ in range(ROUNDS):
            more = max((best + one for one in every), key=lambda one: self.sign * self.value(one))
            if self.sign * (self.value(more) - self.value(best)) <= 0:
                break
            best = more
        return best

    def brings(self, counts: np.ndarray, k: int) -> dict[str, float]:
        """The mixture's measure less that without member k, and a 95% interval; nothing for one alone or left out.

        The interval is that of the paired differences of queries, 1.96 standard errors over groups (Liang & Zeger
        1986); each query counts so that both directions count alike.
        """
        without = np.where(np.arange(len(counts)) == k, 0.0, counts)
        if not counts[k] or not without.any() or self.sign < 0:
            return {}
        both = zip(self.per_query(counts), self.per_query(without), strict=True)
        each = [(a - b) / (len(a) * len(self.asked)) for a, b in both]
        groups = np.unique(np.concatenate([asked.group for asked in self.asked]), return_inverse=True)[1]
        total = np.bincount(groups, np.concatenate(each))
        share = np.bincount(groups, np.concatenate([np.full(len(e), 1 / (len(e) * len(self.asked))) for e in each]))
        mean = float(total.sum())
        error = float(np.sqrt(np.sum((total - mean * share) ** 2)))
        return {"brings": mean, "low": mean - 1.96 * error, "high": mean + 1.96 * error}


def ranks(scores: np.ndarray, relevance: Relevance) -> np.ndarray:
    """Rank (nnz,) int64 of every relevant, as :func:`sensorium.scores.ranks` gives it, of a matrix of scores.

    scores (q, m): of the queries with the candidates, in the relevance's order. Equal relevants count in the order of
    their positions, equal others against them; the query's own row never counts.
    """
    query = np.repeat(np.arange(len(scores)), relevance.counts())
    own, others, itself = scores[query, relevance.relevant], scores.copy(), np.flatnonzero(relevance.own >= 0)
    others[itself, relevance.own[itself]] = -np.inf
    others[query, relevance.relevant] = -np.inf
    found = np.empty(len(query), np.int64)
    for part in blocks(len(query), max(1, _COMPARED // scores.shape[1])):
        found[part] = (others[query[part]] >= own[part, None]).sum(1)
    before = np.empty(len(query), np.int64)
    before[np.lexsort((relevance.relevant, -own, query))] = csr.positions(relevance.counts())
    return 1 + found + before


def _bank(pairs: Pairs, direction: str) -> np.ndarray:
    """Rows of at most BANK training queries, evenly spread."""
    rows = pairs.relevance(direction, "train").queries
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), BANK)).round().astype(np.int64)]


def _scores(
    fitted: Fitted, left: Embeddings, right: Embeddings, asked: Sequence[Relevance], directions: Sequence[str]
) -> list[np.ndarray]:
    """Scores (q, m) of one member, by direction."""
    sides = (fitted.left_head, left), (fitted.right_head, right)
    found = []
    for relevance, direction in zip(asked, directions, strict=False):
        queries, candidates = sides if direction == "left->right" else sides[::-1]
        q = heads.apply(queries[0], queries[1].vectors, relevance.queries)
        found.append(q @ heads.apply(candidates[0], candidates[1].vectors, relevance.candidates).T)
    return found
