"""Outfits: compatibility AUC, fill in the blank, pair AUC and AP, and category-matched hard variants.

An outfit's compatibility is the mean similarity over its item pairs (Vasileva et al. 2018); a blank
is filled by the candidate with the highest mean similarity to the outfit's other items (Han et al. 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.errors import BadData
from sensorium.evaluate import plots, protocols
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols import _curves
from sensorium.types import Data, Rows

Outfit = Sequence[int] | np.ndarray
CATEGORY = "category"
ANSWERS = 4  # candidates of a fill-in-the-blank question


class Blanks(NamedTuple):
    """Fill-in-the-blank questions: the other items, the candidates (q, a), the right one's place (q,)."""

    contexts: list[np.ndarray]
    answers: np.ndarray
    correct: np.ndarray


def compatibility(z: Rows, outfits: Sequence[Outfit]) -> np.ndarray:
    """Mean inner product over the item pairs of each outfit, (o,) float64. z (n, d): head outputs.

    By (‖Σz‖² − Σ‖z‖²) / (s(s − 1)): no pair is formed. Raises BadData for outfits of fewer than 2 items.
    """
    members, starts, sizes = _flat(outfits, 2)
    x = np.asarray(z[members], np.float64)
    total = np.add.reduceat(x, starts, axis=0)
    own = np.add.reduceat((x**2).sum(axis=1), starts)
    return ((total**2).sum(axis=1) - own) / (sizes * (sizes - 1))


def compatibility_auc(z: Rows, outfits: Sequence[Outfit], labels: np.ndarray) -> float:
    """AUC of the outfits' compatibility against labels (o,): 1 for real outfits, 0 for made-up ones."""
    return auc(labels, compatibility(z, outfits))


def fill_in_the_blank(z: Rows, blanks: Blanks) -> np.ndarray:
    """Whether each question is answered rightly, (q,) bool; a tie with a wrong candidate is wrong."""
    context, starts, _ = _flat(blanks.contexts, 1)
    answers, correct = np.asarray(blanks.answers), np.asarray(blanks.correct)
    if answers.ndim != 2 or len(answers) != len(starts) or len(correct) != len(starts):
        raise BadData(
            f"blanks: {len(starts)} contexts, answers {answers.shape}, {len(correct)} correct; "
            "expected q contexts, (q, a) answers and q places"
        )
    if correct.min(initial=0) < 0 or correct.max(initial=0) >= answers.shape[1]:
        raise BadData(f"blanks: correct place {correct.max()} among {answers.shape[1]} answers")
    # The mean similarity to the others is the similarity to their sum, up to a factor of the question.
    target = np.add.reduceat(np.asarray(z[context], np.float64), starts, axis=0)
    score = np.einsum("qad,qd->qa", np.asarray(z[answers.ravel()], np.float64).reshape(*answers.shape, -1), target)
    rows = np.arange(len(score))
    right = score[rows, correct].copy()
    score[rows, correct] = -np.inf
    return right > score.max(axis=1)


def pairs(z: Rows, left: np.ndarray, right: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """AUC and AP of the inner products of paired rows (p,) against labels (p,): 1 goes with, 0 does not."""
    score = np.einsum(
        "pd,pd->p", np.asarray(z[np.asarray(left)], np.float64), np.asarray(z[np.asarray(right)], np.float64)
    )
    return {"AUC": auc(label, score), "AP": average_precision(label, score), "n": len(score)}


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: how often a 1 scores above a 0, ties counting one half."""
    return _curves.auc(*_two_classes(labels, scores))


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """AP = Σ (Rₙ − Rₙ₋₁) Pₙ over distinct scores from high to low, without interpolation."""
    return _curves.average_precision(*_two_classes(labels, scores))


def hard_outfits(outfits: Sequence[Outfit], category: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Made-up outfits that categories alone do not tell apart: each item replaced by another of its category.

    category (n,): of every row of the table. Drawn from the items that the outfits name.
    Raises BadData when a category has a single item.
    """
    random = np.random.default_rng(seed)
    members, starts, _ = _flat(outfits, 2)
    drawn = _others(members, members, np.asarray(category), 1, random)[:, 0]
    return np.split(drawn, starts[1:])


def hard_blanks(outfits: Sequence[Outfit], category: np.ndarray, answers: int = 4, seed: int = 0) -> Blanks:
    """One question an outfit: an item at random is hidden; the wrong candidates share its category.

    Raises BadData when a category has fewer than ``answers`` items outside the outfit.
    """
    random = np.random.default_rng(seed)
    members, starts, sizes = _flat(outfits, 2)
    hidden = starts + random.integers(0, sizes)
    contexts = [np.delete(np.asarray(o), h - s) for o, h, s in zip(outfits, hidden, starts, strict=True)]
    wrong = _others(members, members[hidden], np.asarray(category), answers - 1, random, avoid=outfits)
    correct = random.integers(0, answers, len(starts))
    out = np.empty((len(starts), answers), np.int64)
    for row, place in enumerate(correct):
        out[row] = np.insert(wrong[row], place, members[hidden[row]])
    return Blanks(contexts, out, correct)


def _others(
    pool: np.ndarray,
    rows: np.ndarray,
    category: np.ndarray,
    count: int,
    random: np.random.Generator,
    avoid: Sequence[Outfit] | None = None,
) -> np.ndarray:
    """For each row, ``count`` different other items of its category, none of the outfit to avoid: (r, count)."""
    pool = np.unique(pool)
    by_category = {c: pool[category[pool] == c] for c in np.unique(category[pool])}
    out = np.empty((len(rows), count), np.int64)
    for i, row in enumerate(rows):
        free = np.setdiff1d(by_category[category[row]], [row] if avoid is None else avoid[i], assume_unique=False)
        if len(free) < count:
            raise BadData(
                f"category '{category[row]}' has {len(free)} other items, {count} needed for a hard variant; "
                "leave out outfits with rare categories"
            )
        out[i] = random.choice(free, count, replace=False)
    return out


def _flat(outfits: Sequence[Outfit], least: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members of all outfits in a row, where each starts, and sizes."""
    sizes = np.array([len(o) for o in outfits], np.int64)
    if not len(sizes) or sizes.min() < least:
        raise BadData(
            f"outfits: {'none given' if not len(sizes) else f'one has {sizes.min()} items'}; "
            f"expected at least {least} in each"
        )
    return np.concatenate([np.asarray(o, np.int64) for o in outfits]), np.cumsum(sizes) - sizes, sizes


def _two_classes(labels: Any, scores: Any) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = np.asarray(labels), np.asarray(scores, np.float64)
    if labels.shape != scores.shape or not np.isin(labels, (0, 1)).all():
        raise BadData(f"labels {labels.shape} must be 0 or 1, one for each of the scores {scores.shape}")
    if not 0 < labels.sum() < len(labels):
        raise BadData(
            f"all {len(labels)} labels are {int(labels[0]) if len(labels) else '…'}; AUC and AP need both 0 and 1"
        )
    return labels.astype(bool), scores


def check(data: Data) -> None:
    """Raise BadData unless both sides are one table whose items have a column "category"."""
    if data.right is not None:
        raise BadData("evaluate.protocol=outfits is about the items of one table, but the data have two sides")
    protocols.column(data.left, CATEGORY, "left", "outfits")


def report(
    data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any], plots_folder: Path
) -> protocols.Report:
    """Compatibility AUC and fill in the blank with category-matched negatives; AUC and AP of labelled test pairs.

    An outfit is a group of related test pairs: the items they name. Outfits with an item whose category has too few
    other items in the test split are left out and counted. Pairs are measured where some are labelled 0. Intervals
    resample outfits. Without hubness correction.
    """
    category = np.asarray(data.left.meta[CATEGORY])
    looks, groups, left_out = _matchable(projected.pairs.where("test", 1), category)
    if not looks:
        raise BadData(f"evaluate.protocol=outfits: none of {left_out} test outfits has {ANSWERS - 1} other items of "
                      "each category in the test split; hold out more: data.test=0.3")  # fmt: skip
    z, seed, resamples = projected.zl, options.seed, options.resamples
    real, made = compatibility(z, looks), compatibility(z, hard_outfits(looks, category, seed))
    label, score = np.repeat([1, 0], [len(real), len(made)]), np.concatenate([real, made])
    blanks = hard_blanks(looks, category, ANSWERS, seed)
    right = fill_in_the_blank(z, blanks).astype(np.float64)
    twice = np.concatenate([groups, groups])
    about = {"n_queries": len(looks), "n_groups": len(looks), "split": "test", "seed": seed}
    rows = [
        _curves.row("compatibility AUC", _curves.auc, label, score, twice, resamples, 2, about),
        _curves.mean_row("FITB", right, groups, resamples, ANSWERS, about),
    ]
    test = projected.pairs.where("test")
    if 0 < test.label.sum() < len(test):
        inner = np.einsum("pd,pd->p", np.asarray(z[test.left], np.float64), np.asarray(z[test.right], np.float64))
        more = about | {"n_queries": len(test), "n_groups": len(np.unique(test.group))}
        for name, measure in (("pair AUC", _curves.auc), ("pair AP", _curves.average_precision)):
            rows.append(_curves.row(name, measure, test.label, inner, test.group, resamples, 2, more))
    notes = {"outfits": len(looks), "left_out": left_out, "FITB_chance": 1 / ANSWERS}
    figures = {}
    if options.plots:
        plots.similarities(real, made, plots_folder / "outfits.png")
        figures = {"outfits.png": "Compatibility of real outfits against made-up ones of the same categories."}
    return protocols.Report(rows, notes=notes, figures=figures)


def _matchable(related: Any, category: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, int]:
    """Outfits of at least 2 items whose categories have enough other items among them, their groups, how many not."""
    group, rows = np.tile(related.group, 2), np.concatenate([related.left, related.right])
    looks = {g: np.unique(rows[group == g]) for g in np.unique(group).tolist()}
    total = len(looks)
    while looks:  # leaving one out may leave another without others of its category
        kinds, counts = np.unique(category[np.unique(np.concatenate(list(looks.values())))], return_counts=True)
        there = dict(zip(kinds.tolist(), counts.tolist(), strict=True))
        short = [g for g, look in looks.items() if not _enough(category[look].tolist(), there)]
        if not short:
            break
        looks = {g: look for g, look in looks.items() if g not in set(short)}
    return list(looks.values()), np.array(list(looks), np.int64), total - len(looks)


def _enough(kinds: list[Any], there: Mapping[Any, int]) -> bool:
    return len(kinds) > 1 and all(there[kind] - kinds.count(kind) >= ANSWERS - 1 for kind in kinds)
