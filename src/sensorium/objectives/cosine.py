"""Cosine regression: 1 - cos between each left item and its own right item; no negatives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.contracts import TrainedObjective


class Cosine(nn.Module, TrainedObjective):
    """L = mean over the batch of 1 - cos(zl_i, zr_i), from 0 (same direction) to 2.

    The loss of perception heads that regress onto a frozen space. Nothing pushes negatives
    apart: with a trainable head on both sides everything may collapse onto one point, so keep
    one side frozen (``right.head=identity``), and read it beside the mean-vector baseline,
    which scores a high cosine too. Equals ``nn.CosineEmbeddingLoss`` with targets of 1.
    """

    def loss(self, zl: Tensor, zr: Tensor, positives: object) -> Tensor:
        """Loss of a batch: zl, zr (b, d), row i of each a true pair; further positives are not used."""
        return (1.0 - torch.cosine_similarity(zl, zr, dim=1)).mean()
