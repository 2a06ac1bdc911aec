"""Weights of a mixture's members: greedy selection on the validation pairs, and what each member brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sensorium import heads
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.validation import QUERIES, Once, few
from sensorium.pairs import Pairs, Relevance, csr
from sensorium.scores import measures
from sensorium.types import Embeddings, blocks

ROUNDS = 30  # of greedy selection at most: a weight is a multiple of about 1/30
BANK = 1024  # training queries that biases come from
_SCORES = 1 << 24  # of a member and direction that are held: queries × candidates
_COMPARED = 1 << 24  # scores compared at once
_RANKED = 1 << 25  # relevants × candidates of a direction whose ranks are compared
_Z = 1.96  # standard errors from a mean to the ends of its 95% interval
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
    board = Board.of(left, right, pairs, options, corrected)
    for one in fitted:
        board.add(one)
    return board.mixed()


@dataclass
class Board:
    """Members' scores on the validation queries as they come, and the weights that are best on them.

    asked: what each direction's queries should find. banks: the same queries' candidates for training queries. Both
    are empty without validation pairs, or where every candidate is right, such as one alone or one label. values: the
    measure of each member alone.
    """

    left: Embeddings
    right: Embeddings
    directions: Sequence[str]
    asked: Sequence[Relevance]
    banks: Sequence[Relevance]
    monitor: str
    scores: list[list[np.ndarray]] = field(default_factory=list)
    known: list[list[np.ndarray]] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)

    @classmethod
    def of(cls, left: Embeddings, right: Embeddings, pairs: Pairs, options: TrainOptions, corrected: bool) -> Board:
        """Without members yet. Arguments as of :func:`mix`."""
        directions = ("left->right", "right->left") if options.direction == "both" else (options.direction,)
        directions = directions[: 1 if pairs.same_table else 2]
        if not len(pairs.where("validation", label=1)):
            return cls(left, right, directions, (), (), options.monitor)
        every = [pairs.relevance(d, "validation") for d in directions]
        # All is right: one candidate, or one label.
        if any(not (of.counts() < len(of.candidates) - (of.own >= 0)).any() for of in every):
            return cls(left, right, directions, (), (), options.monitor)
        asked = [few(of, _most(of)) for of in every]
        banks = [replace(of, queries=_bank(pairs, d)) for of, d in zip(asked, directions, strict=True) if corrected]
        return cls(left, right, directions, asked, banks, options.monitor)

    @property
    def sign(self) -> float:
        """-1 for a measure that is better when lower."""
        return -1.0 if self.monitor == "median_rank" else 1.0

    def add(self, fitted: Fitted) -> float | None:
        """Score one more member; its measure alone, None without validation pairs."""
        if not self.asked:
            self.values.append(None)
            return None
        outputs = _outputs(fitted, self.left, self.right)
        self.scores.append(_scores(outputs, self.asked, self.directions))
        if self.banks:
            self.known.append(_scores(outputs, self.banks, self.directions))
        one = Measured(self.asked, self.scores[-1:], self.monitor, self.known[-1:] or None)
        self.values.append(one.value(np.ones(1)))
        return self.values[-1]

    def measured(self) -> Measured:
        """All members so far."""
        return Measured(self.asked, self.scores, self.monitor, self.known or None)

    def mixed(self, counts: np.ndarray | None = None, families: Sequence[Sequence[int]] = ()) -> Mixed:
        """The weights of greedy selection, or of these counts; equal ones without validation pairs.

        families: members that differ in their seeds alone, which are taken together.
        """
        n = len(self.values)
        if not self.asked:
            weights = np.ones(n) if counts is None else counts
            weights = (weights / weights.sum()).tolist()
            return Mixed(weights, None, [{"weight": w} for w in weights])
        measured = self.measured()
        counts = measured.select(families) if counts is None else counts
        weights = counts / measured.deviation
        rows = [{"weight": float(w), "validation": self.values[k]} | measured.brings(counts, k)
                for k, w in enumerate(weights / weights.sum())]  # fmt: skip
        return Mixed((weights / weights.sum()).tolist(), measured.value(counts), rows)

    def choose(
        self, solved: Sequence[int], groups: int, families: Sequence[Sequence[int]] = ()
    ) -> tuple[Mixed, dict[str, Any]]:
        """The mixture, or the best of the members ``solved``, and how both compare. families: see :meth:`mixed`.

        The mixture must be better by a standard error, as the simpler of two that are closer is taken (Breiman et al.
        1984, section 3.4.3), and with fewer validation groups than ``groups`` with 95% confidence by Student's t, as a
        standard error of two or three groups is itself hardly known. Without validation
        pairs the last of ``solved`` is taken, or else all members alike.
        """
        every = np.eye(len(self.values))
        if not self.asked:
            return self.mixed(every[solved[-1]] if solved else None), {}
        mixed = self.mixed(None, families)
        if not solved:
            return mixed, {}
        best = max(solved, key=lambda k: self.sign * self.values[k])
        beside = {"member": best, "validation": self.values[best]}
        measured = self.measured()
        counts = np.array(mixed.weights) * measured.deviation
        if self.sign < 0 or not np.delete(counts, best).any():
            return mixed, beside
        gain, low, high = measured.difference(counts, every[best])
        beside |= {"gain": gain, "low": low, "high": high}
        n = len(np.unique(np.concatenate([asked.group for asked in self.asked])))
        errors = _Z * gain / max(gain - low, _LEAST)  # standard errors that the gain is
        if gain > 0 and errors >= 1 and (n >= groups or errors > _t(n - 1)):
            return mixed, beside
        return self.mixed(every[best]), {**beside, "kept": True}


def _t(freedom: int) -> float:
    """Standard errors from a mean to the ends of its 95% interval, of a variance with so many degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975)) if freedom > 0 else np.inf


def _most(of: Relevance) -> int:
    """How many queries' scores, and ranks of all relevants, are held and compared."""
    mean = max(1, len(of.relevant) // max(1, len(of.queries)))
    return max(1, min(QUERIES, _SCORES // len(of.candidates), _RANKED // (mean * len(of.candidates))))


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

    def select(self, families: Sequence[Sequence[int]] = ()) -> np.ndarray:
        """How often each member is taken by greedy selection with replacement, (K,).

        families: members that differ in their seeds alone: such a one is a single choice, whose scores are the mean of
        its seeds', and validation chooses fewer numbers. The counts are drawn half way to equal ones of what was
        taken, which forecasts combined by estimated weights seldom beat (Smith & Wallis 2009), unless the measure is
        then below that of the best choice alone.
        """
        every = np.eye(len(self.scores))
        of = [list(family) for family in families if len(family) > 1]
        choices = [every[family].mean(0) for family in of]
        choices += [every[k] for k in range(len(every)) if not any(k in family for family in of)]
        value = [self.sign * self.value(one) for one in choices]
        taken = np.eye(len(choices))[int(np.argmax(value))]
        for _ in range(ROUNDS):
            each = [self.sign * self.value((taken + one) @ choices) for one in np.eye(len(choices))]
            if max(each) - self.sign * self.value(taken @ choices) <= 0:
                break
            taken[int(np.argmax(each))] += 1
        alike = taken.sum() / np.count_nonzero(taken) * (taken > 0)
        drawn = (taken + alike) / 2 @ np.array(choices)
        return drawn if self.sign * self.value(drawn) >= max(value) else taken @ choices

    def brings(self, counts: np.ndarray, k: int) -> dict[str, float]:
        """The mixture's measure less that without member k, and a 95% interval; nothing for one alone or left out."""
        without = np.where(np.arange(len(counts)) == k, 0.0, counts)
        if not counts[k] or not without.any() or self.sign < 0:
            return {}
        mean, low, high = self.difference(counts, without)
        return {"brings": mean, "low": low, "high": high}

    def difference(self, one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
        """The measure of one weighting less that of another, and the ends of its 95% interval.

        The interval is that of the paired differences of queries, ``_Z`` standard errors over groups (Liang & Zeger
        1986); each query counts so that both directions count alike.
        """
        both = zip(self.per_query(one), self.per_query(other), strict=True)
        each = [(a - b) / (len(a) * len(self.asked)) for a, b in both]
        groups = np.unique(np.concatenate([asked.group for asked in self.asked]), return_inverse=True)[1]
        total = np.bincount(groups, np.concatenate(each))
        share = np.bincount(groups, np.concatenate([np.full(len(e), 1 / (len(e) * len(self.asked))) for e in each]))
        mean = float(total.sum())
        error = float(np.sqrt(np.sum((total - mean * share) ** 2)))
        return mean, mean - _Z * error, mean + _Z * error


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


def _outputs(fitted: Fitted, left: Embeddings, right: Embeddings) -> Once:
    """What gives the outputs of a member for rows of a side, each once."""
    sides = (fitted.left_head, left), (fitted.right_head, right)
    return Once(lambda side, rows: heads.apply(sides[side][0], sides[side][1].vectors, rows))


def _scores(outputs: Once, asked: Sequence[Relevance], directions: Sequence[str]) -> list[np.ndarray]:
    """Scores (q, m) of one member, by direction."""
    found = []
    for relevance, direction in zip(asked, directions, strict=False):
        query = int(direction == "right->left")
        found.append(outputs(query, relevance.queries) @ outputs(1 - query, relevance.candidates).T)
    return found
