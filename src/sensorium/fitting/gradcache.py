"""GradCache (Gao et al. 2021): features of a large batch with the memory of a small one, their gradients exact.

The network runs chunk by chunk without a graph. The heads and the objective see the whole batch and give the gradient
of each feature. Then each chunk runs once more, with a graph and the random numbers of its first run, and takes the
gradient of its features back to the weights. So the gradients are those of the whole batch, dropout included; the
activations of one chunk alone are in memory, and the cost is one more forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def features(run: Callable[[Any], Tensor], chunks: Sequence[Any], parameters: Sequence[Tensor]) -> Tensor:
    """The rows of ``run(chunk)`` of all chunks, (b, d), one after the other, with gradients to the parameters.

    run: a function of a chunk and of the parameters alone, whose randomness is that of torch's generators. It may be
    used any number of times before a backward pass.
    """
    return _Replayed.apply(run, chunks, *parameters)


class _Replayed(torch.autograd.Function):
    """Chunks through a network without a graph; backward runs each again, in the same random and autocast state."""

    @staticmethod
    def forward(ctx: Any, run: Any, chunks: Any, *parameters: Tensor) -> Tensor:
        ctx.run, ctx.chunks, ctx.device = run, chunks, parameters[0].device
        kind = ctx.device.type
        ctx.autocast = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        ctx.save_for_backward(*parameters)  # a change of them before backward is an error, as anywhere
        ctx.states, found = [], []
        with _autocast(ctx):
            for chunk in chunks:
                ctx.states.append(_random_state(ctx.device))
                found.append(run(chunk))
        ctx.sizes = [len(part) for part in found]
        return torch.cat(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        parameters = ctx.saved_tensors
        sums: list[Tensor | None] = [None] * len(parameters)
        after = _random_state(ctx.device)
        try:
            for state, chunk, part in zip(ctx.states, ctx.chunks, gradient.split(ctx.sizes), strict=True):
                _set_random_state(state, ctx.device)
                with torch.enable_grad(), _autocast(ctx):
                    found = ctx.run(chunk)
                for i, one in enumerate(torch.autograd.grad(found, parameters, part, allow_unused=True)):
                    if one is not None:
                        sums[i] = one if sums[i] is None else sums[i].add_(one)
        finally:
            _set_random_state(after, ctx.device)
        return None, None, *sums


def _autocast(ctx: Any) -> torch.autocast:
    """Without its cache: weights that are converted without a graph would be taken, without one, in the second run."""
    enabled, dtype = ctx.autocast
    return torch.autocast(ctx.device.type, dtype, enabled=enabled, cache_enabled=False)


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
