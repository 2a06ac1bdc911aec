"""Concordance (CCC) of predicted valence, arousal and dominance with the items' own, held-out items of both sides.

A side's own ratings are those of its column "emotion" (Russell & Mehrabian 1977); where the other side's vectors are
ratings, the mean of those that an item is related to. A side that has neither, and heads that give no ratings, are left
out and said. Intervals are over groups, such as speakers; with written lines, over the lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.evaluate import concordance, protocols
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.numerics import affect, gaussian_features
from sensorium.types import Data, Items

COLUMN = "emotion"


def check(data: Data) -> None:
    """Raise BadData unless there are two tables."""
    protocols.two_sides(data, "vad")


def report(
    data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any], plots_folder: Path
) -> protocols.Report:
    """Three rows a side: CCC of the test split's items. The side's items are the queries of a row's direction."""
    if projected.zl.shape[1] != gaussian_features.WIDTH or data.right is None:
        return protocols.Report([], notes={"left_out": "the heads give no ratings; type: left.head=vad right.head=vad"})
    rows, notes = [], {}
    for side, items, z in (("left", data.left, projected.zl), ("right", data.right, projected.zr)):
        truth, which = _truth(side, items, projected)
        if truth is None:
            notes[f"left_out_{side}"] = f"its items have no column '{COLUMN}' with known emotions"
            continue
        predicted = gaussian_features.points_of(np.asarray(z[which], np.float32))
        group = _groups(side, which, projected)
        found = concordance.rows(truth, predicted, group, options.resamples, options.seed)
        direction = "left->right" if side == "left" else "right->left"
        about = {"direction": direction, "n_candidates": len(which), "split": "test", "items": items.name or side}
        rows += [{**row, **about} for row in found]
    return protocols.Report(rows, notes=notes)


def _truth(side: str, items: Items, projected: Projected) -> tuple[np.ndarray | None, np.ndarray]:
    """Ratings (r, 3) of the test items of a side that have some, and their rows (r,); None where none has."""
    test = projected.pairs.where("test", label=1)
    mine, theirs = (test.left, test.right) if side == "left" else (test.right, test.left)
    which = np.unique(mine)
    words = items.meta.get(COLUMN)
    if words is not None:
        found = [affect.vad(str(word)) for word in np.asarray(words)[which].tolist()]
        known = np.array([one is not None for one in found], bool)
        if known.any():
            return np.array([one for one in found if one is not None]), which[known]
    other = projected.right if side == "left" else projected.left
    if other.dim != len(affect.DIMENSIONS) or other.offsets is not None:
        return None, which
    at, total = np.searchsorted(which, mine), np.zeros((len(which), other.dim))
    np.add.at(total, at, np.asarray(other.vectors[theirs], np.float64))
    return total / np.bincount(at, minlength=len(which))[:, None], which


def _groups(side: str, which: np.ndarray, projected: Projected) -> np.ndarray:
    """What is drawn for the interval: an item's group of pairs, or the item itself where it has several of them."""
    test = projected.pairs.where("test", label=1)
    mine = test.left if side == "left" else test.right
    order = np.lexsort((test.group, mine))
    rows, groups = mine[order], test.group[order]
    first = np.searchsorted(rows, which)
    last = np.searchsorted(rows, which, side="right") - 1
    single = groups[first] == groups[last]
    return groups[first] if single.all() else which
