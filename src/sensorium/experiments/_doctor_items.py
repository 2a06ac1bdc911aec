"""Items that repeat another one or lie apart from all others, on each side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sensorium.evaluate import duplicates, outliers
from sensorium.fitting.out_of_fold import View
from sensorium.pairs import Pairs
from sensorium.types import SIDES, Data, Embeddings, Items

LISTED = 0.05
MOST = 5000
CLASSES = 50  # items of a side, below which neither is looked for: they are classes, or too few


def check(
    data: Data, left: Embeddings, right: Embeddings, pairs: Pairs, cosine: float, advance: Callable[[int], None]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Summaries and findings of each side's near-duplicates and outliers.

    cosine: above which two items of a side are near-duplicates; items of equal content always are.
    """
    summaries, findings = [], []
    for side, items, table in zip(SIDES, (data.left, data.right), (left, right), strict=True):
        if items is None or len(table) < CLASSES:
            continue
        view = View.of(table)
        plain = table.offsets is None and view.basis is None
        vectors = table.vectors if plain else view.rows(np.arange(len(table)))
        near = outliers.neighbours(vectors, advance=advance)
        first = outliers.repeats(near, duplicates.content_hashes(items.values, items.kind), cosine)
        apart = outliers.outliers(near)
        split = _splits(pairs, side, len(table))
        repeated = np.flatnonzero(first != np.arange(len(first)))
        findings += [_duplicate(side, items, table, split, int(row), int(first[row])) for row in repeated[:MOST]]
        order = np.argsort(-apart.probability, kind="stable")[:MOST]
        order = order[apart.probability[order] >= LISTED]
        findings += [
            {"kind": "outlier", "side": side, side: str(table.ids[row]),
             "probability": round(float(apart.probability[row]), 4),
             "times": round(float(apart.times[row]), 2), "split": str(split[row])}
            for row in order.tolist()
        ]  # fmt: skip
        summaries += [
            {"check": "duplicates", "side": side, "of": len(table), "likely": len(repeated)},
            {"check": "outliers", "side": side, "of": len(table), "likely": int((apart.probability >= 0.5).sum())},
        ]
    return summaries, findings


def _duplicate(side: str, items: Items, table: Embeddings, split: np.ndarray, row: int, first: int) -> dict[str, Any]:
    one, other = (np.asarray(View(table).rows(np.array([at]))[0], np.float64) for at in (row, first))
    scale = np.linalg.norm(one) * np.linalg.norm(other)
    both = (
        duplicates.content_hashes([items.values[row], items.values[first]], items.kind)
        if items.kind != "vector"
        else None
    )
    return {
        "kind": "duplicate", "side": side, side: str(table.ids[row]), "other": str(table.ids[first]),
        "cosine": round(float(one @ other / scale) if scale else 1.0, 6),
        "equal": bool(np.array_equal(one, other) or (both is not None and both[0] == both[1])),
        "split": str(split[row]), "other_split": str(split[first]),
    }  # fmt: skip


def _splits(pairs: Pairs, side: str, n: int) -> np.ndarray:
    """The split (n,) of each row's first related pair, "" for rows in none."""
    split = np.full(n, "", "<U10")
    of = pairs.where(label=1)
    both = [(of.left, of.split), (of.right, of.split)] if of.same_table else [(getattr(of, side), of.split)]
    for rows, words in both:
        split[rows[::-1]] = words[::-1]
    return split
