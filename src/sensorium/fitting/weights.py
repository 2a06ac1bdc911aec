"""All parameters of a fit as one flat tensor, so that clip, AdamW, EMA and saving are single passes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

ALIGN = 16  # elements; every parameter starts on a 64-byte boundary
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of AdamW

#: torch's fused kernel; None in a release without it.
FUSED = torch.__dict__.get("_fused_adamw_")


def adamw(flat: Tensor, grad: Tensor, mean: Tensor, square: Tensor, step: float, rate: float, decay: float) -> None:
    """One AdamW update in place (Loshchilov & Hutter 2019, algorithm 2), in public operations of torch.

    flat, grad, mean, square (n,): values, gradient, first and second moment. step: counted from 1.
    """
    flat.mul_(1 - rate * decay)
    mean.lerp_(grad, 1 - BETAS[0])
    square.mul_(BETAS[1]).addcmul_(grad, grad, value=1 - BETAS[1])
    scale = (square / (1 - BETAS[1] ** step)).sqrt_().add_(EPSILON)
    flat.addcdiv_(mean, scale, value=-rate / (1 - BETAS[0] ** step))


class Weights:
    """The trainable parameters of several modules, moved into one float32 tensor they become views of.

    flat, grad: all values and their gradients. mean, square: AdamW's moments. average: the
    exponential moving average, or None. Weight decay is for matrices; biases, gains and
    temperatures (parameters of fewer than two axes) are left out of it. shares: of the learning rate, of parameters
    that take another one. parts: runs of values under one weight decay and share.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        weight_decay: float,
        ema: float,
        device: torch.device,
        shares: Mapping[nn.Parameter, float] = MappingProxyType({}),
    ) -> None:
        parameters = list(dict.fromkeys(p for m in modules for p in m.parameters() if p.requires_grad))
        parameters.sort(key=lambda p: (p.ndim < 2, p in shares))  # stable: the decayed ones first
        sizes = [-(-p.numel() // ALIGN) * ALIGN for p in parameters]
        self.flat, self.grad, self.mean, self.square = (torch.zeros(sum(sizes), device=device) for _ in range(4))
        self.place: dict[nn.Parameter, slice] = {}
        start = 0
        for parameter, size in zip(parameters, sizes, strict=True):
            self.place[parameter] = slice(start, start + parameter.numel())
            view = self.of(parameter)
            view.copy_(parameter.detach())
            parameter.data, parameter.grad = view, self.of(parameter, self.grad)
            start += size
        self.parts = [(part, weight_decay if decayed else 0.0, share) for part, (decayed, share) in _runs(
            sizes, [(p.ndim >= 2, shares.get(p, 1.0)) for p in parameters])]  # fmt: skip
        self.steps = torch.zeros((), device=device)
        self.average = self.flat.clone() if ema else None
        self.ema, self.count = ema, sum(p.numel() for p in parameters)

    def of(self, parameter: nn.Parameter, flat: Tensor | None = None) -> Tensor:
        """A parameter's view of ``flat`` (or of any tensor laid out alike)."""
        return (self.flat if flat is None else flat)[self.place[parameter]].view(parameter.shape)

    def release(self) -> None:
        """Move every parameter back into memory of its own."""
        for parameter in self.place:
            parameter.data, parameter.grad = parameter.data.clone(), None

    def norm(self) -> float:
        """Euclidean length of the gradient."""
        return float(torch.linalg.vector_norm(self.grad))

    def update(self, rate: float, norm: float, clip: float) -> None:
        """One AdamW step (Loshchilov & Hutter 2019) at learning rate ``rate`` along the clipped gradient.

        torch's own fused kernel, called as torch.optim.AdamW(fused=True) calls it: making that object
        would import torch's compiler, which takes longer than many a fit. The kernel is private to
        torch; where a release lacks it, :func:`adamw` does the same in several passes.
        """
        if clip and norm > clip:
            self.grad.mul_(clip / norm)
        self.steps += 1
        for part, decay, share in self.parts:
            tensors = [t[part] for t in (self.flat, self.grad, self.mean, self.square)]
            if FUSED is None:
                adamw(*tensors, float(self.steps), rate * share, decay)
            else:
                FUSED(*([t] for t in tensors), [], [self.steps], lr=rate * share, beta1=BETAS[0], beta2=BETAS[1],
                      weight_decay=decay, eps=EPSILON, amsgrad=False, maximize=False)  # fmt: skip
        if self.average is not None:
            self.average.lerp_(self.flat, 1 - self.ema)

    @contextlib.contextmanager
    def evaluated(self) -> Iterator[Tensor]:
        """Within the block the modules hold the values that are validated and saved: the moving average, if any."""
        if self.average is None:
            yield self.flat
            return
        own = self.flat.clone()
        self.flat.copy_(self.average)
        try:
            yield self.flat
        finally:
            self.flat.copy_(own)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed fit needs, by name; not copies."""
        known = {"weights": self.flat, "mean": self.mean, "square": self.square, "average": self.average}
        return {name: tensor for name, tensor in known.items() if tensor is not None}

    def restore(self, tensors: dict[str, Tensor], steps: int) -> None:
        """Load what :meth:`tensors` returned after ``steps`` updates."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
        self.steps.fill_(steps)


def _runs(sizes: Sequence[int], kinds: Sequence[Any]) -> Iterator[tuple[slice, Any]]:
    """Places of the values of one kind in succession, and the kind."""
    start = 0
    for kind, group in groupby(zip(kinds, sizes, strict=True), key=lambda one: one[0]):
        end = start + sum(size for _, size in group)
        if end > start:
            yield slice(start, end), kind
        start = end
