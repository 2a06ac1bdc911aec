"""Mean squared error: each left item is regressed onto its own right item; no negatives."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sensorium.contracts import TrainedObjective
from sensorium.objectives._related import related_mean
from sensorium.pairs import Pairs
from sensorium.pairs.positives import Positives
from sensorium.types import Embeddings


class Mse(nn.Module, TrainedObjective):
    """L = mean over the batch and its d dimensions of (zl_ij - zr_ij)², as ``nn.MSELoss``.

    What ridge minimises in closed form for a linear head. As with cosine, keep one side frozen,
    or both collapse onto one point. The targets are head outputs: with ``normalize`` on, the
    error of unit vectors is (2 - 2 cos) / d. Where rows are related by label it is the mean over all
    right items of the batch that have the left item's label.
    """

    _by_label = False

    def prepare(self, left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Any, right_head: Any) -> None:
        """Called once before training: whether rows are related by label."""
        self._by_label = pairs.classes is not None

    def loss(self, zl: Tensor, zr: Tensor, positives: Positives) -> Tensor:
        """Loss of a batch: zl, zr (b, d), row i of each a true pair; others count where rows are related by label."""
        if not self._by_label:
            return (zl - zr).square().mean()
        target = related_mean(zr, positives)
        spread = related_mean(zr.square(), positives) - target.square()
        return ((zl - target).square() + spread).mean()
