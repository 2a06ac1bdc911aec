"""AUC and average precision of labelled scores, with weights: what the bootstrap draws again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.evaluate import statistics

AREAS = ("AUC", "AP")


@dataclass(frozen=True)
class Area:
    """Scores of n labelled things, sorted once, so that an area under any weights costs no sorting.

    place (n,): rank of each score among the distinct ones, from low to high. label (n,): 1 or 0.
    """

    place: np.ndarray
    label: np.ndarray

    @classmethod
    def of(cls, label: np.ndarray, score: np.ndarray) -> Area:
        """From labels (n,) of 0 and 1, and scores (n,)."""
        _, place = np.unique(np.asarray(score, np.float64), return_inverse=True)
        return cls(place.reshape(-1), np.asarray(label, np.float64))

    def value(self, kind: str, weight: np.ndarray | None = None) -> float:
        """The area ("AUC" or "AP"), each thing counted with its weight (n,), by default once."""
        return self.auc(weight) if kind == "AUC" else self.average_precision(weight)

    def auc(self, weight: np.ndarray | None = None) -> float:
        """Area under the ROC curve, ties counting one half; NaN where no weight is on one of the classes."""
        positive, negative = self._by_score(weight)
        below = np.cumsum(negative) - negative / 2
        return _ratio(float((positive * below).sum()), float(positive.sum() * negative.sum()))

    def average_precision(self, weight: np.ndarray | None = None) -> float:
        """AP = Σ (Rₙ − Rₙ₋₁) Pₙ over distinct scores from high to low; NaN where no weight is on label 1."""
        positive, negative = (part[::-1] for part in self._by_score(weight))
        hits, seen = np.cumsum(positive), np.cumsum(positive + negative)
        precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
        return _ratio(float((positive * precision).sum()), float(positive.sum()))

    def resample(self, kind: str, group: np.ndarray, resamples: int, seed: int) -> np.ndarray:
        """The area under every bootstrap resample of whole groups (n,), (resamples,) float64.

        Equal groups and seed give equal resamples for any scores, so that two runs can be compared one by one.
        """
        _, code = np.unique(group, return_inverse=True)
        blocks = statistics.weights(int(code.max()) + 1, resamples, seed)
        return np.array([self.value(kind, weight[code]) for block in blocks for weight in block])

    def interval(self, kind: str, group: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
        """The central 95% of :meth:`resample`; resamples without one of the labels are left out."""
        low, high = np.nanquantile(self.resample(kind, group, resamples, seed), [0.025, 0.975])
        return float(low), float(high)

    def above(self) -> np.ndarray:
        """For each thing of label 1, the share of those of label 0 below it, ties one half: their mean is the AUC."""
        _, negative = self._by_score(None)
        below = np.cumsum(negative) - negative / 2
        return below[self.place[self.label == 1]] / max(1.0, negative.sum())

    def _by_score(self, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Weight on label 1 and on label 0 at each distinct score, from low to high."""
        weight = np.ones(len(self.label)) if weight is None else np.asarray(weight, np.float64)
        size = int(self.place.max(initial=-1)) + 1
        return tuple(np.bincount(self.place, weight * side, size) for side in (self.label, 1 - self.label))


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")
