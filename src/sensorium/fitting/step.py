"""One step by autograd: any heads, any objective, any regulariser."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sensorium.fitting import regularisers
from sensorium.fitting.batches import Batch
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.weights import Weights


class AutogradStep:
    """Loss and gradients of a batch.

    inputs: for each side the dtype, and the function (None for none) applied to its vectors beforehand. The
    output of a head that is not trained is computed once, unless inputs are mixed before the heads; of
    frames, what no weight takes part in (the head's ``frozen``).
    """

    name = "autograd"

    def __init__(self, modules: list[nn.Module], weights: Weights, options: TrainOptions, dtype: torch.dtype) -> None:
        *heads, self.objective = modules
        self.weights, self.options = weights, options
        fixed = [not head.trainable and not options.mixup for head in heads]
        self.heads = [None if done else head for head, done in zip(heads, fixed, strict=True)]
        self.inputs = [(torch.float32, head if done else None, head.frozen)
                       for head, done in zip(heads, fixed, strict=True)]  # fmt: skip
        self.autocast = torch.autocast(weights.flat.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)

    def __call__(self, batch: Batch, share: float = 1.0) -> float:
        """The batch's loss; ``share`` of its gradient is added to the weights' gradient."""
        left, right, positives = batch
        if self.options.mixup:
            left, right, positives = regularisers.mixup(left, right, positives, self.options.mixup)
        with self.autocast:
            zl, zr = _apply(self.heads[0], left), _apply(self.heads[1], right)
            loss = self.objective.loss(zl, zr, positives)
            if self.options.structure:
                penalties = [regularisers.structure(x, z) for head, x, z in
                          zip(self.heads, (left, right), (zl, zr), strict=True) if head is not None]  # fmt: skip
                loss = loss + self.options.structure * sum(penalties) / 2
        if loss.requires_grad:
            (loss * share if share != 1.0 else loss).backward()
        return loss.item()

    @torch.no_grad()
    def outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Head outputs of a batch, to find its non-finite rows."""
        return _apply(self.heads[0], batch.left), _apply(self.heads[1], batch.right)


def _apply(head: nn.Module | None, x: Any) -> Tensor:
    if head is None:
        return x
    return head(*x) if isinstance(x, tuple) else head(x)
