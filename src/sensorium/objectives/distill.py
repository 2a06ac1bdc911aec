"""Distillation: InfoNCE with soft targets from the similarities of an earlier run (the teacher)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import heads
from sensorium.contracts import TrainedObjective
from sensorium.errors import BadRecipe
from sensorium.objectives._contrastive import logits
from sensorium.pairs import Pairs
from sensorium.pairs.positives import Positives
from sensorium.types import Embeddings, RawRows

_MOST = 10_000  # float32 scores times more than this are noise


class Distill(nn.Module, TrainedObjective):
    """L = (1 - weight) · InfoNCE + weight · KL(P ‖ Q), over rows, or averaged with columns.

    P = softmax(teacher's similarities / teacher_temperature) over the batch, with the heads of an
    earlier run; Q = softmax(own similarities / temperature). The InfoNCE part spreads its target
    evenly over all positives of a row. Training on P uses the teacher's similarities, in which some
    "negatives" of the batch are false negatives, close to the positive (momentum distillation, Li et al.
    2021, ALBEF, eq. 6; self-distillation of correspondences, Andonian et al. 2022). Train the
    teacher in one run, then type: ``objective=distill objective.teacher=runs/teacher``.

    temperature: of the student's similarities. teacher_temperature: of the teacher's.
    teacher: a run folder made from the same encoders' vectors; its heads may be of any kind and
    width. weight: 0 is plain InfoNCE, 1 the teacher alone. both: also from right to left. Memory is
    b² a step: the targets themselves are that large.

    Raises BadRecipe for invalid values, Mismatch when the teacher belongs to other
    encoders, Corrupt when its heads cannot be read.
    """

    takes_mixtures = False

    def __init__(
        self,
        teacher: str,
        weight: float = 0.5,
        temperature: float = 0.07,
        teacher_temperature: float = 0.07,
        both: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= weight <= 1:
            raise BadRecipe(f"objective.weight={weight}; expected from 0 (the pairs alone) to 1 (the teacher alone)")
        if not all(1 / _MOST <= t <= _MOST for t in (temperature, teacher_temperature)):
            raise BadRecipe(
                f"objective temperatures are {temperature} and {teacher_temperature}; expected above 0, "
                f"from {1 / _MOST} to {_MOST}"
            )
        self.teacher, self.weight, self.both = teacher, weight, both
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self._teacher: _Teacher | None = None

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Raises BadRecipe without the teacher's run, Mismatch when its heads take other encoders' vectors."""
        _Teacher(Path(self.teacher).expanduser(), left, right)

    def prepare(self, left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Any, right_head: Any) -> None:
        """Called once before training: loads the teacher's heads and checks whose vectors they take."""
        self._teacher = _Teacher(Path(self.teacher).expanduser(), left, right)

    def loss(self, zl: Tensor, zr: Tensor, positives: Positives) -> Tensor:
        """Loss of a batch: zl, zr (b, d), row i of each a true pair."""
        if self._teacher is None or positives.rows is None:
            raise BadRecipe("distill needs the teacher's outputs, which mixtures do not have; set train.mixup=0")
        own = logits(zl, zr) / self.temperature
        soft = self._teacher.similarity(positives.rows, own) / self.teacher_temperature
        mask = positives.block(slice(0, len(zl)), zl.device)
        same = positives.same_block(slice(0, len(zl)), zl.device)
        if same is not None:  # an item is neither a positive nor a negative of itself
            # Not -inf: 0 · log 0 has no gradient, and a far finite logit weighs exactly nothing.
            barred = same & ~mask
            own, soft = own.masked_fill(barred, -1e4), soft.masked_fill(barred, -1e4)
        rows = self._one_way(own, soft, mask)
        return (rows + self._one_way(own.T, soft.T, mask.T)) / 2 if self.both else rows

    def _one_way(self, own: Tensor, soft: Tensor, mask: Tensor) -> Tensor:
        log_q, log_p = own.log_softmax(1), soft.log_softmax(1)
        hard = -(log_q * mask).sum(1) / mask.sum(1)
        return (1 - self.weight) * hard.mean() + self.weight * F.kl_div(
            log_q, log_p, log_target=True, reduction="batchmean"
        )


class _Teacher:
    """The heads of an earlier run, and the vectors they take."""

    def __init__(self, folder: Path, left: Embeddings, right: Embeddings) -> None:
        if not (folder / "left.json").is_file():
            raise BadRecipe(
                f"objective.teacher: no run at {folder}; train it first: sensorium run RECIPE --out {folder}"
            )
        self.sides = []
        for side, table in (("left", left), ("right", right)):
            # A run over one table has one head for both sides.
            stem = folder / (side if (folder / f"{side}.json").is_file() else "left")
            module, fingerprint = heads.restore(stem)
            heads.check(fingerprint, table.fingerprint, f"objective.teacher={folder}, {side} head")
            stored = table.vectors.stored if isinstance(table.vectors, RawRows) else table.vectors
            self.sides.append((module, stored))

    def similarity(self, rows: tuple[np.ndarray, np.ndarray], like: Tensor) -> Tensor:
        """The teacher's similarities (b, b) of a batch's items, without gradient."""
        left, right = (
            torch.from_numpy(heads.apply(module, vectors, rows=which)).to(like.device)
            for (module, vectors), which in zip(self.sides, rows, strict=True)
        )
        return (left @ right.T).to(like.dtype)
