"""Valence, arousal and dominance: one linear map to three ratings, compared by their Euclidean distance."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.errors import BadRecipe
from sensorium.heads._preprocess import affine_of, set_linear
from sensorium.numerics import affect
from sensorium.numerics import gaussian_features as features
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine


class Vad(nn.Module, Head):
    """z = φ(x W + b): three ratings from -1 to 1, as a vector whose inner products rank as Euclidean distances.

    The score of two items is exp(-d²/6), d the distance between their ratings: 1 where they agree. Where the input has
    three numbers, which are ratings already, W starts as the identity, and objective=vad keeps it. Ratings beyond
    -1..1 are cut off. See :mod:`sensorium.numerics.gaussian_features` for φ.

    emotions: x W + b are logits of RAVDESS's eight emotions instead, and the ratings are the mean of the emotions'
        ratings, weighted by the probabilities: what is expected of the item.
    """

    solved = True

    def __init__(self, emotions: bool = False) -> None:
        super().__init__()
        self.arguments: dict[str, object] = {"emotions": emotions}

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the map; the identity for three numbers that are ratings."""
        self.dim_in, self.dim = dim_in, features.WIDTH
        emotions = bool(self.arguments["emotions"])
        self.layers = nn.ModuleList([nn.Linear(dim_in, len(affect.EMOTIONS) if emotions else features.AXES)])
        table = torch.from_numpy(affect.vads(affect.EMOTIONS)).contiguous()
        self.register_buffer("table", table, persistent=False)
        if dim_in == features.AXES and not emotions:
            set_linear(self.layers[0], Affine(np.eye(features.AXES), np.zeros(features.AXES)))
        self.register_buffer("factors", torch.from_numpy(features.FACTORS), persistent=False)
        self.register_buffer("exponents", torch.from_numpy(features.EXPONENTS.T.copy()), persistent=False)

    def initialise(self, affine: Affine) -> None:
        """Take a closed form to three ratings, or to the logits of the eight emotions. Raises BadRecipe for another."""
        emotions = len(affine.bias) == len(affect.EMOTIONS)
        if len(affine.bias) != features.AXES and not emotions:
            raise BadRecipe(
                f"the vad head holds maps to {features.AXES} ratings, this closed form gives {len(affine.bias)} "
                "numbers; type: objective=vad, or left.head=linear right.head=linear"
            )
        if emotions != self.arguments["emotions"]:
            self.arguments = {"emotions": emotions}
            self.build(int(self.dim_in or len(affine.weight)))
        set_linear(self.layers[0], affine)

    def ratings(self, x: Tensor) -> Tensor:
        """x (n, d_in) to valence, arousal and dominance (n, 3), -1 to 1."""
        z = self.layers[0](x)
        return torch.softmax(z, 1) @ self.table if self.arguments["emotions"] else z.clamp(-1, 1)

    def rating_map(self) -> Affine:
        """W and b of the raw input, float64: to ratings, or to logits."""
        return affine_of(self.layers[0])

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, 220)."""
        r = self.ratings(x).double()  # float32 would lose what tells near neighbours apart
        out = self.factors * torch.exp(-r.square().sum(1, keepdim=True) / (2 * features.SPREAD))
        for axis in range(features.AXES):
            one = r[:, axis]
            powers = [torch.ones_like(one)]
            for _ in range(features.DEGREE):  # products, as the gradient of 0 ** 0 is not a number
                powers.append(powers[-1] * one)
            out = out * torch.stack(powers, 1)[:, self.exponents[axis]]
        return out.to(x.dtype)
