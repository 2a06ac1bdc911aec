"""Cosine regression: 1 - cos between each left item and its own right item; no negatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.contracts import TrainedObjective
from sensorium.objectives._related import related_mean
from sensorium.pairs import Pairs
from sensorium.pairs.positives import Positives
from sensorium.types import Embeddings


class Cosine(nn.Module, TrainedObjective):
    """L = mean over the batch of 1 - cos(zl_i, zr_i), from 0 (same direction) to 2.

    The loss of perception heads that regress onto a frozen space. Nothing pushes negatives
    apart: with a trainable head on both sides everything may collapse onto one point, so keep
    one side frozen (``right.head=identity``), and read it beside the mean-vector baseline,
    which scores a high cosine too. Equals ``nn.CosineEmbeddingLoss`` with targets of 1.
    Where rows are related by label it is the mean over all right items of the batch that have the left item's label.
    """

    _by_label = False

    def prepare(self, left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Any, right_head: Any) -> None:
        """Called once before training: whether rows are related by label."""
        self._by_label = pairs.classes is not None

    def loss(self, zl: Tensor, zr: Tensor, positives: Positives) -> Tensor:
        """Loss of a batch: zl, zr (b, d), row i of each a true pair; others count where rows are related by label."""
        if not self._by_label:
            return (1.0 - torch.cosine_similarity(zl, zr, dim=1)).mean()
        target = related_mean(F.normalize(zr, dim=1), positives)
        return (1.0 - (F.normalize(zl, dim=1) * target).sum(1)).mean()
