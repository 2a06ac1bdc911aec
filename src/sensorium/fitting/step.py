"""One step by autograd: any heads, any objective, any regulariser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sensorium.errors import BadRecipe
from sensorium.fitting import regularisers
from sensorium.fitting.batches import Batch
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.raw_items import RawBatch
from sensorium.fitting.shared import Shared
from sensorium.fitting.through import Through
from sensorium.fitting.weights import Weights
from sensorium.numerics import device as devices
from sensorium.pairs.positives import Positives

if TYPE_CHECKING:
    from sensorium.fitting.world import World


class AutogradStep:
    """Loss and gradients of a batch.

    inputs: for each side the dtype, and the function (None for none) applied to its vectors beforehand. The
    output of a head that is not trained is computed once, unless inputs are mixed before the heads; of
    frames, what no weight takes part in (the head's ``frozen``).
    """

    name = "autograd"

    def __init__(self, modules: list[nn.Module], weights: Weights, options: TrainOptions, dtype: torch.dtype,
                 world: World | None = None) -> None:  # fmt: skip
        *heads, self.objective = modules
        self.weights, self.options = weights, options
        self.shared = None if world is None else Shared(world)
        self.chunk = next((head.options.chunk for head in heads if isinstance(head, Through)), 0)
        fixed = [not head.trainable and not options.mixup for head in heads]
        self.heads = [None if done else head for head, done in zip(heads, fixed, strict=True)]
        self.inputs = [(torch.float32, head if done else None, head.frozen)
                       for head, done in zip(heads, fixed, strict=True)]  # fmt: skip
        self.autocast = torch.autocast(weights.flat.device.type, dtype, enabled=dtype != torch.float32)

    def __call__(self, batch: Batch, share: float = 1.0) -> float:
        """The batch's loss; ``share`` of its gradient is added to the weights' gradient.

        Raises BadRecipe where the batch does not fit into the device's memory.
        """
        try:
            return self._loss(batch, share)
        except Exception as error:
            if not devices.is_out_of_memory(error):
                raise
            where = self.weights.flat.device
        devices.release(where)  # here, where the failed frames hold no tensors any longer
        raise BadRecipe(no_memory(len(batch.positives), where, [x for x in batch[:2] if isinstance(x, RawBatch)],
                                  self.chunk))  # fmt: skip

    def _loss(self, batch: Batch, share: float) -> float:
        left, right, positives, _ = batch
        if self.options.mixup:
            left, right, positives = regularisers.mixup(left, right, positives, self.options.mixup)
        if self.shared is not None:
            return self._loss_of_all(left, right, positives, share)
        with self.autocast:
            zl, zr = _apply(self.heads[0], left), _apply(self.heads[1], right)
            loss = self._objective(zl, zr, positives, left, right)
        if loss.requires_grad:
            (loss * share if share != 1.0 else loss).backward()
        return loss.item()

    def _objective(self, zl: Tensor, zr: Tensor, positives: Positives, left: Any = None, right: Any = None) -> Tensor:
        """The loss of all rows of a batch. left, right: their inputs, which the geometry regulariser reads."""
        loss = self.objective.loss(zl, zr, positives)
        if self.options.structure:
            penalties = [regularisers.structure(x, z) for head, x, z in
                      zip(self.heads, (left, right), (zl, zr), strict=True) if head is not None]  # fmt: skip
            loss = loss + self.options.structure * sum(penalties) / 2
        return loss

    def _loss_of_all(self, left: Any, right: Any, positives: Positives, share: float) -> float:
        """:meth:`_loss` of several processes, each with its rows of the batch."""
        b = len(positives)
        if self.options.mixup:  # which mixes rows of the whole batch
            rows = self.shared.world.part(b)
            left, right = left[rows], right[rows]
        with self.shared.own_numbers(self.weights.flat.device), self.autocast:
            own = [_apply(self.heads[0], left), _apply(self.heads[1], right)]
        if self.options.structure:
            for x in (left, right):
                regularisers.check_vectors("structure", isinstance(x, tuple))
            own += [left, right]

        def loss_of(zl: Tensor, zr: Tensor, *inputs: Tensor) -> Tensor:
            with self.autocast:
                return self._objective(zl, zr, positives, *inputs)

        return self.shared.backward(loss_of, own, b, share)

    @torch.no_grad()
    def outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Head outputs of a batch, to find its non-finite rows."""
        return _apply(self.heads[0], batch.left), _apply(self.heads[1], batch.right)


def no_memory(b: int, device: Any, raw: list[RawBatch], chunk: int) -> str:
    """What to say of a batch of b pairs that does not fit into memory, and what to type. raw: of its sides, raw items.

    >>> no_memory(256, "cuda:0", [], 0)
    'a batch of 256 pairs does not fit into the memory of the device cuda:0; type: train.batch=128'
    """
    start = f"a batch of {b} pairs does not fit into the memory of the device {device}"
    if not raw:
        return f"{start}; type: train.batch={max(2, b // 2)}"
    if chunk == 0:
        smaller = max(1, min(16, b // 4))
        return (
            f"{start}; type: finetune.chunk={smaller}, with the same gradients (GradCache), {smaller} items at a time"
        )
    if chunk > 1:
        return f"{start}, {chunk} items at a time; type: finetune.chunk={chunk // 2} or finetune.checkpointing=true"
    return f"{start}, not even one item at a time; type: finetune.checkpointing=true, or finetune.blocks=1"


def _apply(head: nn.Module | None, x: Any) -> Tensor:
    if head is None:
        return x
    return head(*x) if isinstance(x, tuple) else head(x)
