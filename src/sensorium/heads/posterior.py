"""Probabilities of classes: one linear map and a softmax, so that the score of two items is that of one class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.errors import BadRecipe
from sensorium.heads import check_dim
from sensorium.heads._preprocess import Preprocess, affine_of, check_mode, set_linear
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine, Votes

_POINTS = 1 << 16


class Posterior(nn.Module, Head):
    """z = softmax(P(x) W + b), the probabilities of dim classes given the item.

    With such heads on both sides the inner product Σ_k p(k | left) p(k | right) is the probability that both items are
    of one class. To rank by the probability of relevance is the best that precision at any depth can do (probability
    ranking principle, Robertson 1977). Outputs are not of unit length: an item whose class is sure scores higher than
    one whose class is not. Fitted in closed form by objective=lda.

    dim: number of classes; None takes that of the closed form, of the other side, or else 8.
    preprocess: P, of the inputs, for a trained fit: "none", "unit", "center", "standardize" or "whiten"; see
        :class:`sensorium.heads._preprocess.Preprocess`. A closed form takes raw inputs.
    points: number of points that vote for the classes by objective=knn, whose closed form says it: z is then
        softmax(P(x) W + b) V, V the share of each point in each class; none: z as above.
    """

    solved = True

    def __init__(self, dim: int | None = None, preprocess: str = "standardize", points: int | None = None) -> None:
        super().__init__()
        check_mode(preprocess)
        check_dim(dim)
        if points is not None and not 1 <= points <= _POINTS:
            raise BadRecipe(f"posterior: points={points}; expected 1 to {_POINTS:,}, or leave it out")
        self.arguments = {"dim": dim, "preprocess": preprocess, "points": points}

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the map. ``stats`` of the training rows; None when ``load_state_dict`` or a closed form follows."""
        self.dim_in, self.dim = dim_in, self.arguments["dim"] or like or 8
        self.preprocess = Preprocess(self.arguments["preprocess"], dim_in, stats)
        points = self.arguments["points"]
        self.layers = nn.ModuleList([nn.Linear(dim_in, points or self.dim)])
        if points:
            self.register_buffer("classes", torch.full((points, self.dim), 1 / self.dim))

    def initialise(self, affine: Affine) -> None:
        """Take the logits x W + b of the raw input, or the votes. Raises BadRecipe for other classes than ``dim``."""
        votes = isinstance(affine, Votes)
        classes = affine.classes.shape[1] if votes else len(affine.bias)
        if self.arguments["dim"] not in (None, classes):
            raise BadRecipe(
                f"posterior: dim={self.arguments['dim']}, but there are {classes} classes; leave it out, or "
                f"type: left.head.dim={classes} right.head.dim={classes}"
            )
        if votes or classes != self.dim:
            self.dim, self.layers = classes, nn.ModuleList([nn.Linear(self.dim_in, len(affine.bias))])
        self.arguments = {**self.arguments, "points": len(affine.bias) if votes else None}
        if votes:
            self.register_buffer("classes", torch.from_numpy(affine.classes.astype(np.float32)))
        set_linear(self.layers[0], affine if self.preprocess.mode == "unit" else self.preprocess.fold_in(affine))

    def logits(self) -> Affine | None:
        """What it computes of the raw input before the softmax, float64; None where that is not linear."""
        if self.arguments["points"]:
            return None
        return self.preprocess.unfold(affine_of(self.layers[0]))

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, dim), rows adding up to 1."""
        z = torch.softmax(self.layers[0](self.preprocess(x)), -1)
        return z @ self.classes if self.arguments["points"] else z
