"""AUC and average precision with weights, and their bootstrap intervals over groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sensorium.evaluate import statistics

#: (labels (n,), scores (n,), weights (n,)) → area.
Curve = Callable[..., float]
DIRECTION = "left->right"  # of one table, which has one direction only


def auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the ROC curve, ties counting one half; NaN where no weight is on one of the classes."""
    positive, negative = _by_score(labels, scores, weights)
    below = np.cumsum(negative) - negative / 2
    return _ratio(float((positive * below).sum()), float(positive.sum() * negative.sum()))


def average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """AP = Σ (Rₙ − Rₙ₋₁) Pₙ over distinct scores from high to low; NaN where no weight is on label 1."""
    positive, negative = (part[::-1] for part in _by_score(labels, scores, weights))
    hits, seen = np.cumsum(positive), np.cumsum(positive + negative)
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    return _ratio(float((positive * precision).sum()), float(positive.sum()))


def row(
    name: str, curve: Curve, labels: np.ndarray, scores: np.ndarray, group: np.ndarray, resamples: int,
    candidates: int, about: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """A result row of an area, with its 95% interval over groups (n,)."""
    _, code = np.unique(group, return_inverse=True)
    blocks = statistics.weights(int(code.max()) + 1, resamples, about["seed"])
    drawn = [curve(labels, scores, weight[code]) for block in blocks for weight in block]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return _row(name, curve(labels, scores), float(low), float(high), candidates, about)


def mean_row(
    name: str, values: np.ndarray, group: np.ndarray, resamples: int, candidates: int, about: dict[str, Any]
) -> dict[str, Any]:
    """A result row of a mean over queries, with its 95% interval over groups."""
    low, high = statistics.interval(values, group, "mean", resamples, about["seed"])
    return _row(name, float(values.mean()), low, high, candidates, about)


def _row(name: str, value: float, low: float, high: float, candidates: int, about: dict[str, Any]) -> dict[str, Any]:
    return {"direction": DIRECTION, "measure": name, "value": value, "low": low, "high": high,
            "n_candidates": candidates, **about}  # fmt: skip


def _by_score(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Weight on label 1 and on label 0 at each distinct score, from low to high."""
    labels = np.asarray(labels, np.float64)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    distinct, code = np.unique(scores, return_inverse=True)
    return tuple(np.bincount(code, weights * side, minlength=len(distinct)) for side in (labels, 1 - labels))


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")
