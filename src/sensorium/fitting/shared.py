"""A step's loss over the rows of several processes: outputs gathered, gradients of the own rows taken from it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sensorium.errors import BadRecipe
from sensorium.fitting.environment import reseed
from sensorium.fitting.options import TrainOptions

if TYPE_CHECKING:
    from sensorium.fitting.world import World

_NORMS = (torch.nn.modules.batchnorm._BatchNorm,)  # of any number of axes
_PRIME = 1_000_003


def check(heads: Sequence[Any], options: TrainOptions, batch: int, world: World) -> None:
    """Raise BadRecipe for a fit whose gradients several processes would not make those of one.

    Every objective can be shared: it gets the outputs of the whole batch. BatchNorm within a head cannot, as its
    statistics would be those of the rows that one process has.
    """
    world.check_batch(batch // 2 if options.mixup else batch)
    for head in heads:
        if any(isinstance(module, _NORMS) for module in head.modules()):
            raise BadRecipe(
                f"the {type(head).__name__} head normalises over a batch (BatchNorm), of which each of {world.size} "
                "processes sees a part; choose another head, such as mlp, or type it without torchrun"
            )


class Shared:
    """What a training step of several processes does otherwise than that of one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._step, self._count = 0, 0

    @contextlib.contextmanager
    def own_numbers(self, device: torch.device) -> Iterator[None]:
        """Random numbers of the heads, such as those of dropout: others in each process, and in each batch of a step.

        Those of the objective stay the same everywhere, as all processes compute the same loss.
        """
        seed = torch.initial_seed()
        self._step, self._count = seed, self._count + 1 if seed == self._step else 0
        common = torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        reseed((seed * _PRIME + 1 + self.world.rank) * _PRIME + self._count, device)
        try:
            yield
        finally:
            torch.default_generator.set_state(common[0])
            if common[1] is not None:
                torch.cuda.set_rng_state(common[1], device)

    def backward(self, loss_of: Callable[..., Tensor], own: list[Tensor], b: int, share: float) -> float:
        """The loss of a batch of b rows, a function of all rows of the given tensors, taken back to the own rows.

        own: some rows each, of which the gradients, ``share`` of them, reach the weights. Gradients that the loss
        gives to weights directly (a learned temperature, the table of all classes) are those of the whole batch in
        every process; they are added by the first one alone.
        """
        whole = [self.world.gather(one, b).requires_grad_(one.requires_grad) for one in own]
        loss = loss_of(*whole)
        wanted = [one for one in whole if one.requires_grad]
        if loss.requires_grad and (wanted or not self.world.rank):
            (loss * share if share != 1.0 else loss).backward(inputs=wanted if self.world.rank else None)
        rows = self.world.part(b)
        taken = [(one, every.grad[rows]) for one, every in zip(own, whole, strict=True) if every.grad is not None]
        if taken:
            torch.autograd.backward(*zip(*taken, strict=True))
        return loss.item()
