"""Distillation of an ensemble into one head (``train.distill=true``): the recipe's loss, and the ensemble's scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import heads
from sensorium.contracts import Head, TrainedObjective
from sensorium.errors import BadRecipe
from sensorium.fitting.contexts import Contexts
from sensorium.pairs import Pairs
from sensorium.pairs.positives import Positives
from sensorium.types import Embeddings

WEIGHT = 0.5  # of the ensemble's scores in the loss
_BARRED = -1e4  # of a logit that counts nothing; not -inf, as 0 · log 0 has no gradient


class Taught(nn.Module, TrainedObjective):
    """L = (1 - weight) · L_recipe + weight · KL(P ‖ Q), P and Q the softmaxes of the ensemble's and the own scores.

    Scores are those of a batch, from left to right and from right to left, averaged; of an objective of classes, of
    all classes. Both are divided by the objective's ``score_temperature`` (Hinton et al. 2015, equation 1, of scores;
    the two temperatures are equal, so that what is learned are the ensemble's scores themselves).

    objective: the recipe's. teacher: the ensemble's heads, left and right. Its outputs of the training items are
    computed once and held in float16.
    """

    takes_mixtures = False

    def __init__(self, objective: Any, teacher: tuple[Head, Head], weight: float = WEIGHT) -> None:
        super().__init__()
        self.objective, self.weight = objective, weight
        self.teacher = teacher  # in a tuple, so that it is no submodule: nothing of it is trained
        self.classes: tuple[Head, Tensor] | None = None

    def prepare(self, left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Any, right_head: Any) -> None:
        """Called once before training: computes the ensemble's outputs of the training items."""
        self.objective.prepare(left, right, pairs, left_head, right_head)
        related = pairs.where(label=1)
        everything = np.arange(len(right)) if self.objective.gives_probabilities else related.right
        both = (related.left, everything)
        if pairs.same_table:
            both = (np.concatenate(both),) * 2
        self.known = [_Outputs(*of) for of in zip(self.teacher, (left, right), both, strict=True)]
        if self.objective.gives_probabilities:
            x = np.asarray(right.vectors[everything], np.float32)
            self.classes = right_head, torch.from_numpy(x)

    def loss(self, zl: Tensor, zr: Tensor, positives: Positives) -> Tensor:
        """Loss of a batch: zl, zr (b, d), row i of each a true pair."""
        if positives.rows is None:
            raise BadRecipe("train.distill needs the ensemble's outputs, which mixtures do not have; set train.mixup=0")
        own = self.objective.loss(zl, zr, positives)
        temperature, device = self.objective.score_temperature, zl.device
        query = self.known[0].take(positives.rows[0], device)
        if self.classes is not None:
            head, vectors = self.classes
            scores = zl.float() @ head(vectors.to(device)).float().T
            wanted = query @ self.known[1].take(np.arange(len(vectors)), device).T
            return (1 - self.weight) * own + self.weight * _divergence(scores / temperature, wanted / temperature)
        scores = zl.float() @ zr.float().T / temperature
        wanted = query @ self.known[1].take(positives.rows[1], device).T / temperature
        same = positives.same_block(slice(0, len(zl)), device)
        if same is not None:  # an item is neither a positive nor a negative of itself
            barred = same & ~positives.block(slice(0, len(zl)), device)
            scores, wanted = scores.masked_fill(barred, _BARRED), wanted.masked_fill(barred, _BARRED)
        both = (_divergence(scores, wanted) + _divergence(scores.T, wanted.T)) / 2
        return (1 - self.weight) * own + self.weight * both


class _Outputs:
    """What one head of the ensemble gives for some rows of a table, or for some contexts."""

    def __init__(self, head: Head, table: Embeddings, rows: np.ndarray) -> None:
        rows = np.unique(rows)
        self.place = np.full(len(table), -1, np.int64)
        self.place[rows] = np.arange(len(rows))
        self.z = torch.from_numpy(_outputs(head, table, rows).astype(np.float16))

    def take(self, rows: np.ndarray, device: Any) -> Tensor:
        """Outputs (b, d) of these rows, float32."""
        return self.z[torch.from_numpy(self.place[rows])].to(device).float()


def _outputs(head: Head, table: Embeddings, rows: np.ndarray) -> np.ndarray:
    if isinstance(table, Contexts):
        context, target, _ = table.completions.take(rows)
        return heads.compose(head, table.vectors, context, table.category, table.category[target])
    return heads.apply(head, table.vectors, rows) if table.offsets is None else heads.project(head, table)[rows]


def _divergence(scores: Tensor, wanted: Tensor) -> Tensor:
    """KL(softmax(wanted) ‖ softmax(scores)), mean over the rows."""
    return F.kl_div(scores.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean")
