"""Sigmoid loss (SigLIP): every (left, right) combination of the batch is classified; learnable scale and bias."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from sensorium.contracts import TrainedObjective
from sensorium.errors import BadRecipe
from sensorium.objectives import _contrastive
from sensorium.pairs.positives import Positives

_MOST = 10_000  # float32 scores times more than this are noise


class SigLIP(nn.Module, TrainedObjective):
    """L = -(1/b) sum_ij log sigmoid( y_ij (t s_ij + a) ), y_ij = 1 for positives, else -1.

    Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", eq. 1, with every
    positive of the batch labelled 1. scale: t, stored as its logarithm. largest_scale: what t may
    reach. bias: a, added to the scaled similarities. learnable: learn both, from the paper's values on.
    """

    gives_gradients = True

    def __init__(
        self, scale: float = 10.0, bias: float = -10.0, learnable: bool = True, largest_scale: float = 100.0
    ) -> None:
        super().__init__()
        if not 1 <= scale <= _MOST:
            raise BadRecipe(f"siglip: scale={scale!r}; expected 1 to {_MOST}, such as 10")
        if not 1 <= largest_scale <= _MOST:
            raise BadRecipe(f"siglip: largest_scale={largest_scale!r}; expected 1 to {_MOST}, such as 100")
        if not abs(bias) <= _MOST:
            raise BadRecipe(f"siglip: bias={bias!r}; expected {-_MOST} to {_MOST}, such as -10")
        self.largest_scale = max(largest_scale, scale)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learnable)
        self.bias = nn.Parameter(torch.tensor(float(bias)), requires_grad=learnable)

    @property
    def scale(self) -> float:
        """t now, brought back into its range first."""
        return math.exp(self.log_scale.data.clamp_(0.0, math.log(self.largest_scale)).item())

    def gradients(
        self,
        zl: Tensor,
        zr: Tensor,
        positives: Positives,
        sides: tuple[bool, bool] = (True, True),
        bound: float | None = None,
    ) -> _contrastive.Gradients:
        """The loss with its gradients to zl, zr (b, d); ``scale`` is that to ``log_scale``."""
        scale = self.scale
        found = _contrastive.siglip(
            zl, zr, scale, self.bias.item(), positives, sides=sides, slope=self.bias.requires_grad
        )
        return found if found.scale is None else found._replace(scale=found.scale * scale)

    def learned(self, found: _contrastive.Gradients) -> list[tuple[nn.Parameter, Tensor]]:
        """The objective's own parameters, each with its gradient."""
        return [(self.log_scale, found.scale), (self.bias, found.bias)] if self.bias.requires_grad else []

    @property
    def score_temperature(self) -> float:
        """1 / t now."""
        return 1 / self.scale

    def loss(self, zl: Tensor, zr: Tensor, positives: Positives) -> Tensor:
        """The loss of a batch zl, zr (b, d), differentiable by autograd."""
        find = partial(self.gradients, positives=positives)
        return _contrastive.differentiable(find, zl, zr, self.log_scale, self.bias)
