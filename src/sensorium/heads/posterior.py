"""Probabilities of classes: one linear map and a softmax, so that the score of two items is that of one class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.errors import BadRecipe
from sensorium.heads import check_dim
from sensorium.heads._preprocess import Preprocess, affine_of, check_mode, set_linear
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine


class Posterior(nn.Module, Head):
    """z = softmax(P(x) W + b), the probabilities of dim classes given the item.

    With such heads on both sides the inner product Σ_k p(k | left) p(k | right) is the probability that both items are
    of one class. To rank by the probability of relevance is the best that precision at any depth can do (probability
    ranking principle, Robertson 1977). Outputs are not of unit length: an item whose class is sure scores higher than
    one whose class is not. Fitted in closed form by objective=lda.

    dim: number of classes; None takes that of the closed form, of the other side, or else 8.
    preprocess: P, of the inputs, for a trained fit: "none", "unit", "center", "standardize" or "whiten"; see
        :class:`sensorium.heads._preprocess.Preprocess`. A closed form takes raw inputs.
    """

    solved = True

    def __init__(self, dim: int | None = None, preprocess: str = "standardize") -> None:
        super().__init__()
        check_mode(preprocess)
        check_dim(dim)
        self.arguments = {"dim": dim, "preprocess": preprocess}

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the map. ``stats`` of the training rows; None when ``load_state_dict`` or a closed form follows."""
        self.dim_in, self.dim = dim_in, self.arguments["dim"] or like or 8
        self.preprocess = Preprocess(self.arguments["preprocess"], dim_in, stats)
        self.layers = nn.ModuleList([nn.Linear(dim_in, self.dim)])

    def initialise(self, affine: Affine) -> None:
        """Take the logits x W + b of the raw input. Raises BadRecipe for another number of classes than ``dim``."""
        classes = len(affine.bias)
        if self.arguments["dim"] not in (None, classes):
            raise BadRecipe(
                f"posterior: dim={self.arguments['dim']}, but there are {classes} classes; leave it out, or "
                f"type: left.head.dim={classes} right.head.dim={classes}"
            )
        if classes != self.dim:
            self.dim, self.layers = classes, nn.ModuleList([nn.Linear(self.dim_in, classes)])
        set_linear(self.layers[0], affine if self.preprocess.mode == "unit" else self.preprocess.fold_in(affine))

    def logits(self) -> Affine | None:
        """What it computes of the raw input before the softmax, float64; None where the preprocessing is not linear."""
        return self.preprocess.unfold(affine_of(self.layers[0]))

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, dim), rows adding up to 1."""
        return torch.softmax(self.layers[0](self.preprocess(x)), -1)
