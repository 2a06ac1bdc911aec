"""Vectors as they are, at unit length by default; nothing is learned."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.heads._preprocess import unit
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine


class Identity(nn.Module, Head):
    """z = x, or x / |x| with ``normalize``. The head of a side that defines the shared space.

    normalize: outputs of unit length.
    """

    trainable = False

    def __init__(self, normalize: bool = True) -> None:
        super().__init__()
        self.arguments = {"normalize": normalize}
        self.normalize = normalize

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Nothing to make: the output is as wide as the input."""
        self.dim_in = self.dim = dim_in

    def affine(self) -> Affine:
        """What it computes before the normalisation: x @ I + 0."""
        return Affine(np.eye(self.dim_in), np.zeros(self.dim_in))

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d) to (n, d)."""
        return unit(x) if self.normalize else x
