"""Outfits: compatibility, fill in the blank, pairs, complementary retrieval; also with category-matched negatives.

An outfit's compatibility is the mean similarity over its item pairs (Vasileva et al. 2018); a blank
is filled by the candidate with the highest mean similarity to the outfit's other items (Han et al. 2017); the target of
a query is found among the items of its category (cir-3000-42, see :mod:`._cir`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.errors import BadData
from sensorium.evaluate import areas, breakdown, plots, protocols
from sensorium.evaluate.named import Named
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols import _measured, _negatives, _trials
from sensorium.evaluate.protocols._cir import Retrieval
from sensorium.evaluate.protocols._scorer import Scorer
from sensorium.pairs import Pairs
from sensorium.pairs.csr import Ragged
from sensorium.pairs.sets import ItemSets, Questions, ragged
from sensorium.types import Data, Rows, is_missing

Outfit = Sequence[int] | np.ndarray
CATEGORY = "category"
ANSWERS = _negatives.ANSWERS  # candidates of a made-up fill-in-the-blank question


def check(data: Data) -> None:
    """Raise BadData unless both sides are one table with a column "category", and questions have several answers."""
    if data.right is not None:
        raise BadData("evaluate.protocol=outfits is about the items of one table, but the data have two sides")
    protocols.column(data.left, CATEGORY, "left", "outfits")
    _trials.check(data.pairs)


def report(
    data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any], plots_folder: Path
) -> protocols.Report:
    """All measures of the test split; ``beside`` for closed forms and the encoder's vectors as they are.

    Negatives are the data's own (sets of label 0, questions, pairs of label 0), and category-matched ones of a fixed
    seed where a measure ends in ``/hard`` or the data have none. Where the data have no sets, the groups of related
    pairs are the outfits. Without hubness correction, and with every item of the table in vectors, not frames.
    """
    words = as_text(data.left.meta[CATEGORY])
    names, code = np.unique(words, return_inverse=True)
    category = np.where(words == "", -1, code.reshape(-1))
    trials = _trials.of(projected.pairs, category)
    retrieval = Retrieval.of(trials.real, category, np.asarray(data.left.ids))
    head = _measured.measure(Scorer.make(projected, words), trials, retrieval, options)

    def beside(z: Rows, _: Rows) -> tuple[list[dict[str, Any]], tuple[Named, ...]]:
        other = Projected(projected.left, projected.left, projected.pairs, z, z)
        found = _measured.measure(Scorer.make(other, words), trials, retrieval, options)
        return found.rows, tuple(found.values.values())

    notes = {**trials.notes, **_measured.about(retrieval), **head.notes}
    bars = []
    if len(retrieval):
        kind, of = retrieval.kinds[retrieval.kind], head.values["recall@10"]
        bars = breakdown.by(of.value, kind, names, of.group, resamples=options.resamples, seed=options.seed)
        sizes = dict(zip(names[retrieval.kinds].tolist(), retrieval.pools.counts.tolist(), strict=True))
        bars = [{**bar, "n_candidates": sizes[bar["name"]]} for bar in bars]
    figures = {}
    if options.plots:
        plots.similarities(*head.compatible, plots_folder / "outfits.png")
        figures["outfits.png"] = "Compatibility of real outfits against made-up ones of the same categories."
        if bars:
            plots.groups(bars, plots_folder / "outfit_categories.png", title="recall@10 by category")
            figures["outfit_categories.png"] = "Complementary retrieval: recall@10 by the category that is asked for."
    by = {"measure": "recall@10", "by": CATEGORY, "rows": bars} if bars else {}
    values, decides = tuple(head.values.values()), "fill_in_the_blank" if "fill_in_the_blank" in head.values else ""
    return protocols.Report(head.rows, {}, notes, figures, by, values, beside, decides)


def as_text(column: Any) -> np.ndarray:
    """A metadata column as text (n,), "" where a value is missing."""
    return np.array(["" if is_missing(value) else str(value) for value in np.asarray(column).tolist()], np.str_)


def compatibility(z: Rows, outfits: Sequence[Outfit]) -> np.ndarray:
    """Mean inner product over the item pairs of each outfit, (o,) float32. z (n, d): head outputs.

    Raises BadData for outfits of fewer than 2 items.
    """
    return _scorer(z).leave_one_out(_flat(outfits, 2))


def compatibility_auc(z: Rows, outfits: Sequence[Outfit], labels: np.ndarray) -> float:
    """AUC of the outfits' compatibility against labels (o,): 1 for real outfits, 0 for made-up ones."""
    return auc(labels, compatibility(z, outfits))


class Blanks(NamedTuple):
    """Fill-in-the-blank questions: the other items, the candidates (q, a), the right one's place (q,)."""

    contexts: list[np.ndarray]
    answers: np.ndarray
    correct: np.ndarray


def fill_in_the_blank(z: Rows, blanks: Blanks) -> np.ndarray:
    """Whether each question is answered rightly, (q,) bool; a tie with a wrong candidate is wrong."""
    context = _flat(blanks.contexts, 1)
    answers, correct, q = np.asarray(blanks.answers), np.asarray(blanks.correct), len(context.counts)
    if answers.ndim != 2 or len(answers) != q or len(correct) != q:
        raise BadData(
            f"blanks: {q} contexts, answers {answers.shape}, {len(correct)} correct; "
            "expected q contexts, (q, a) answers and q places"
        )
    if correct.min(initial=0) < 0 or correct.max(initial=0) >= answers.shape[1]:
        raise BadData(f"blanks: correct place {correct.max()} among {answers.shape[1]} answers")
    rows = np.arange(q)
    score = _scorer(z).answers(Questions(context, answers, correct, rows, rows))
    right = score[rows, correct].copy()
    score[rows, correct] = -np.inf
    return right > score.max(axis=1)


def pairs(z: Rows, left: np.ndarray, right: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """AUC and AP of the inner products of paired rows (p,) against labels (p,): 1 goes with, 0 does not."""
    score = _scorer(z).pairs(np.asarray(left), np.asarray(right))
    return {"AUC": auc(label, score), "AP": average_precision(label, score), "n": len(score)}


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: how often a 1 scores above a 0, ties counting one half."""
    return _two_classes(labels, scores).auc()


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """AP = Σ (Rₙ − Rₙ₋₁) Pₙ over distinct scores from high to low, without interpolation."""
    return _two_classes(labels, scores).average_precision()


def hard_outfits(outfits: Sequence[Outfit], category: np.ndarray, seed: int = _negatives.SEED) -> list[np.ndarray]:
    """Made-up outfits that categories alone do not tell apart: each item replaced by another of its category.

    category (n,): of every row of the table. Drawn from the items that the outfits name.
    Raises BadData when a category has too few.
    """
    sets, code = _sets(outfits), np.unique(np.asarray(category), return_inverse=True)[1].reshape(-1)
    return np.split(_negatives.hard_sets(sets, code, seed).values, sets.items.offsets[1:-1])


def hard_blanks(
    outfits: Sequence[Outfit], category: np.ndarray, answers: int = ANSWERS, seed: int = _negatives.SEED
) -> Blanks:
    """One question an outfit: an item at random is hidden; the wrong candidates share its category.

    Raises BadData when a category has fewer than ``answers`` items outside the outfit.
    """
    code = np.unique(np.asarray(category), return_inverse=True)[1].reshape(-1)
    made = _negatives.hard_questions(_sets(outfits), code, answers, seed)
    return Blanks(np.split(made.context.values, made.context.offsets[1:-1]), made.answers, made.correct)


def _scorer(z: Rows) -> Scorer:
    z = np.asarray(z)
    nothing = np.zeros(0, np.int64)
    return Scorer(Projected.of(z, z, Pairs.of(nothing, nothing, same_table=True)), np.full(len(z), -1))


def _sets(outfits: Sequence[Outfit]) -> ItemSets:
    flat = _flat(outfits, 2)
    return ItemSets.of(np.split(flat.values, flat.offsets[1:-1]))


def _flat(outfits: Sequence[Outfit], least: int) -> Ragged:
    sizes = [len(outfit) for outfit in outfits]
    if not sizes or min(sizes) < least:
        found = f"one has {min(sizes)} items" if sizes else "none given"
        raise BadData(f"outfits: {found}; expected at least {least} in each")
    return ragged(outfits)


def _two_classes(labels: Any, scores: Any) -> areas.Area:
    labels, scores = np.asarray(labels), np.asarray(scores, np.float64)
    if labels.shape != scores.shape or not np.isin(labels, (0, 1)).all():
        raise BadData(f"labels {labels.shape} must be 0 or 1, one for each of the scores {scores.shape}")
    if not 0 < labels.sum() < len(labels):
        raise BadData(
            f"all {len(labels)} labels are {int(labels[0]) if len(labels) else '…'}; AUC and AP need both 0 and 1"
        )
    return areas.Area.of(labels, scores)
