"""Mean squared error: each left item is regressed onto its own right item; no negatives."""

from __future__ import annotations

from torch import Tensor, nn

from sensorium.contracts import TrainedObjective


class Mse(nn.Module, TrainedObjective):
    """L = mean over the batch and its d dimensions of (zl_ij - zr_ij)², as ``nn.MSELoss``.

    What ridge minimises in closed form for a linear head. As with cosine, keep one side frozen,
    or both collapse onto one point. The targets are head outputs: with ``normalize`` on, the
    error of unit vectors is (2 - 2 cos) / d.
    """

    def loss(self, zl: Tensor, zr: Tensor, positives: object) -> Tensor:
        """Loss of a batch: zl, zr (b, d), row i of each a true pair; further positives are not used."""
        return (zl - zr).square().mean()
