"""The result rows of outfits, with intervals, chance and ties; and the values behind them, for paired comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.evaluate import statistics
from sensorium.evaluate.named import Named, asked
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.protocols import _cir
from sensorium.evaluate.protocols._cir import Retrieval
from sensorium.evaluate.protocols._scorer import Scorer
from sensorium.evaluate.protocols._trials import Labelled, Trials
from sensorium.pairs.sets import Questions

DIRECTION = "outfit->item"  # of all rows: an outfit is asked, its items answer


@dataclass(frozen=True)
class Measured:
    """rows: as in metrics.json. values: by measure, what the rows summarise. notes: ties and the sanity check.

    compatible: scores of real and of made-up outfits, for a figure.
    """

    rows: list[dict[str, Any]]
    values: Mapping[str, Named]
    notes: Mapping[str, Any]
    compatible: tuple[np.ndarray, np.ndarray]


def measure(scorer: Scorer, trials: Trials, retrieval: Retrieval, options: EvaluateOptions) -> Measured:
    """Everything that the trials and the retrieval of a split support, in the order of the docs."""
    book, notes = _Book(scorer.of.left.ids, options), {}
    compatible = _compatibility(book, scorer, trials)
    for name, questions in (("", trials.questions), ("/hard", trials.hard_questions)):
        if questions is not None:
            ties = _blanks(book, scorer, f"fill_in_the_blank{name}", questions)
            notes[f"fill_in_the_blank_ties{name}"] = ties
    _pairs(book, scorer, trials)
    if trials.pairs is not None:
        cosine, real = scorer.cosines(trials.pairs.left, trials.pairs.right), trials.pairs.label == 1
        notes["mean_cosine_compatible"] = float(cosine[real].mean())
        notes["mean_cosine_incompatible"] = float(cosine[~real].mean())
    if len(retrieval):
        _retrieval(book, scorer, retrieval)
        notes["retrieval_ties"] = retrieval.tied(scorer.z)
    return Measured(book.rows, {one.measure: one for one in book.values}, notes, compatible)


def about(retrieval: Retrieval) -> dict[str, Any]:
    """What to know of the pools and the queries, for the notes."""
    sizes = retrieval.pools.counts
    return {"retrieval": _cir.NAME, "retrieval_queries": len(retrieval), "retrieval_dropped": retrieval.dropped,
            "items_without_category": retrieval.without, "pools": len(sizes), "pool_items": int(sizes.sum()),
            "largest_pool": int(sizes.max(initial=0)),
            "queries_of_10_candidates_or_fewer": int((retrieval.candidates() <= 10).sum())}  # fmt: skip


class _Book:
    """Rows and values, added one by one."""

    def __init__(self, ids: np.ndarray, options: EvaluateOptions) -> None:
        self.ids, self.options = np.asarray(ids), options
        self.rows: list[dict[str, Any]] = []
        self.values: list[Named] = []

    def add(self, measure: str, value: np.ndarray, group: np.ndarray, hashed: str, candidates: int, chance: float,
            kind: str = "mean", label: np.ndarray | None = None) -> None:  # fmt: skip
        """A row of values (n,) and its interval over groups; see :class:`Named`."""
        one = Named.of("test", DIRECTION, measure, value, group, hashed, kind, label)
        resamples, seed = self.options.resamples, self.options.seed
        area = one.area
        if area is None:
            summary, ends = float(np.mean(value)), statistics.interval(value, group, "mean", resamples, seed)
        else:
            summary, ends = area.value(kind), area.interval(kind, group, resamples, seed)
        self.values.append(one)
        self.rows.append({"direction": DIRECTION, "measure": measure, "value": summary, "low": ends[0], "high": ends[1],
                          "chance": chance, "n_queries": len(value), "n_candidates": candidates,
                          "n_groups": len(np.unique(group)), "split": "test", "seed": seed})  # fmt: skip

    def area(self, measure: str, kind: str, of: Labelled, score: np.ndarray) -> None:
        """A row of an area."""
        chance = 0.5 if kind == "AUC" else float(of.label.mean())
        hashed = asked(self.ids, of.items.values) + f" {len(of.label)} {int(of.label.sum())}"
        self.add(measure, score, of.group, hashed, 2, chance, kind, of.label)


def _compatibility(book: _Book, scorer: Scorer, trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """Rows of compatibility; scores of real and made-up outfits, the hard ones where they are there."""
    shown = np.zeros(0), np.zeros(0)
    score = None if trials.sets is None else scorer.leave_one_out(trials.sets.items)
    if score is not None:
        book.area("compatibility_AUC", "AUC", trials.sets, score)
        shown = score[trials.sets.label == 1], score[trials.sets.label == 0]
    if trials.hard_sets is not None:
        hard = scorer.leave_one_out(trials.hard_sets.items)
        book.area("compatibility_AUC/hard", "AUC", trials.hard_sets, hard)
        shown = hard[trials.hard_sets.label == 1], hard[trials.hard_sets.label == 0]
    if score is not None:
        book.area("compatibility_AUC/leave_one_out", "AUC", trials.sets, score)
    return shown


def _blanks(book: _Book, scorer: Scorer, measure: str, questions: Questions) -> int:
    """A row of questions answered rightly; how many have a wrong answer that ties with the right one."""
    score, q = scorer.answers(questions), np.arange(len(questions))
    right = score[q, questions.correct]
    wrong = score.copy()
    wrong[q, questions.correct] = -np.inf
    best, answers = wrong.max(axis=1), questions.answers
    hashed = asked(book.ids, questions.context.values, answers, answers[q, questions.correct])
    book.add(
        measure, (right > best).astype(np.float64), questions.group, hashed, answers.shape[1], 1 / answers.shape[1]
    )
    return int((right == best).sum())


def _pairs(book: _Book, scorer: Scorer, trials: Trials) -> None:
    scored = {name: (of, scorer.pairs(of.left, of.right))
              for name, of in (("", trials.pairs), ("/hard", trials.hard_pairs)) if of is not None}  # fmt: skip
    for kind in ("AUC", "AP"):
        for name, (of, score) in scored.items():
            book.area(f"pair_{kind}{name}", kind, of, score)


def _retrieval(book: _Book, scorer: Scorer, retrieval: Retrieval) -> None:
    ranks, group = retrieval.ranks(scorer.compose, scorer.z), retrieval.group
    queries, many = retrieval.queries, retrieval.candidates()
    hashed = asked(book.ids, retrieval.pools.values, queries.context.values, queries.target)
    for k in _cir.KS:
        chance = float((np.minimum(k, many) / many).mean())
        book.add(f"recall@{k}", (ranks <= k).astype(np.float64), group, hashed, int(many.max()), chance)
