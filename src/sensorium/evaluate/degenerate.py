"""Inputs on which a retrieval number says nothing about a fit: constant vectors, one candidate, one class, all tied."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sensorium.evaluate import Ranking
from sensorium.evaluate.projected import Projected
from sensorium.types import Embeddings, Rows, blocks

_EQUAL = 1e-6  # largest difference between rows, relative to their largest magnitude, that is rounding


def findings(
    projected: Projected, ranked: Mapping[str, Ranking], names: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """By direction, plain statements why its numbers say nothing; a direction without any is left out.

    ranked: the directions of one evaluated split. names: what the sides are called.
    """
    found: dict[str, list[str]] = {}
    for direction, one in ranked.items():
        sides = ("left", "right") if direction == "left->right" else ("right", "left")
        queries, candidates = projected.sides(direction)
        relevance = one.relevance
        reasons = [
            _constant(projected, sides[0], queries, relevance.queries, names or {}),
            _constant(projected, sides[1], candidates, relevance.candidates, names or {}),
        ]
        if len(relevance.candidates) - (relevance.own >= 0).any() <= 1:
            reasons = ["there is one candidate, which is always found"]
        elif (relevance.counts() >= len(relevance.candidates) - (relevance.own >= 0)).all():
            reasons.append("every candidate is a right answer to every query")
        if any(reasons):
            found[direction] = [text for text in reasons if text]
    return found


def statement(found: Mapping[str, list[str]]) -> str:
    """One plain sentence in the place of a verdict; empty where nothing was found."""
    each = list(dict.fromkeys(text for texts in found.values() for text in texts))
    return f"These numbers say nothing about the fit: {'; '.join(each)}." if each else ""


def _constant(projected: Projected, side: str, z: Rows, rows: np.ndarray, names: Mapping[str, str]) -> str:
    table: Embeddings = getattr(projected, side)
    side = names.get(side, side)
    if len(rows) < 2:
        return ""
    if table.offsets is None and constant(table.vectors, rows):
        return f"all {len(rows)} {side} vectors are equal"
    return f"the head gives all {len(rows)} {side} items the same vector" if constant(z, rows) else ""


def constant(x: Rows, rows: np.ndarray) -> bool:
    """Whether these rows of (n, d) are one and the same vector, up to rounding."""
    first = np.asarray(x[rows[:1]], np.float64)
    limit = _EQUAL * max(float(np.abs(first).max(initial=0.0)), 1e-30)
    return all(bool((np.abs(np.asarray(x[rows[part]], np.float64) - first) <= limit).all())
               for part in blocks(len(rows), 4096))  # fmt: skip
