"""Outfits: compatibility AUC, fill in the blank, pair AUC and AP, and category-matched hard variants.

An outfit's compatibility is the mean similarity over its item pairs (Vasileva et al. 2018); a blank
is filled by the candidate with the highest mean similarity to the outfit's other items (Han et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium.errors import BadData
from sensorium.types import Rows

Outfit = Sequence[int] | np.ndarray


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
    wanted = np.add.reduceat(np.asarray(z[context], np.float64), starts, axis=0)
    score = np.einsum("qad,qd->qa", np.asarray(z[answers.ravel()], np.float64).reshape(*answers.shape, -1), wanted)
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
    labels, scores = _two_classes(labels, scores)
    _, code, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[code]  # mean rank of equal scores
    positive = int(labels.sum())
    return float((rank[labels].sum() - positive * (positive + 1) / 2) / (positive * (len(labels) - positive)))


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """AP = Σ (Rₙ − Rₙ₋₁) Pₙ over distinct scores from high to low, without interpolation."""
    labels, scores = _two_classes(labels, scores)
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    hits, seen = np.cumsum(labels[order])[last], np.flatnonzero(last) + 1
    return float((np.diff(hits, prepend=0) * hits / seen).sum() / labels.sum())


def hard_outfits(outfits: Sequence[Outfit], category: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Made-up outfits that cannot be told by their categories: each item replaced by another of its category.

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
