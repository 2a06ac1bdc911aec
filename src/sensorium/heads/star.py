"""Blocks that multiply two linear maps of their input, the star operation: features of second order."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.errors import BadRecipe, nearest
from sensorium.heads import check_dim
from sensorium.heads._blocks import check_blocks
from sensorium.heads._preprocess import Preprocess, check_mode, unit
from sensorium.numerics.moments import InputStats

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU, "none": nn.Identity}
_WIDEST = 1 << 16


class Star(nn.Module, Head):
    """h = W₀ P(x); ``depth`` times h + W₃ dropout(a(W₁ n) ∘ W₂ n) of n = LayerNorm(h); then LayerNorm and Linear.

    The product of two linear maps, the star operation, holds all products of two of its inputs, so that a few layers
    reach a high degree without a wide layer (Ma et al. 2024, "Rewrite the Stars"; the block is
    that of their DemoNet for vectors).

    dim: output width; None takes that of the other side, or else 256.
    hidden: width of h. depth: how many blocks. expansion: width of each of the two maps, as a multiple of ``hidden``.
    activation: a, of one of the two maps: "relu", "gelu", "tanh", "silu" or "none". dropout: probability, 0 to below 1.
    preprocess: P, of the inputs: "none", "unit", "center", "standardize" or "whiten", with training statistics; see
        :class:`sensorium.heads._preprocess.Preprocess`.
    normalize: outputs of unit length.
    """

    def __init__(self, dim: int | None = None, hidden: int = 512, depth: int = 2, expansion: int = 3,
                 activation: str = "relu", dropout: float = 0.3, preprocess: str = "standardize",
                 normalize: bool = True) -> None:  # fmt: skip
        super().__init__()
        check_mode(preprocess)
        check_dim(dim)
        check_blocks("star", depth, expansion, dropout)
        if activation not in ACTIVATIONS:
            raise BadRecipe(f"star: activation '{activation}'; {nearest(activation, ACTIVATIONS)}")
        if not 1 <= hidden <= _WIDEST:
            raise BadRecipe(f"star: hidden={hidden}; expected a width of 1 to {_WIDEST}")
        self.arguments = {"dim": dim, "hidden": hidden, "depth": depth, "expansion": expansion,
                          "activation": activation, "dropout": dropout, "preprocess": preprocess,
                          "normalize": normalize}  # fmt: skip
        self.normalize = normalize

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. ``stats`` of the training rows; None when ``load_state_dict`` follows."""
        own = self.arguments
        self.dim_in, self.dim, width = dim_in, own["dim"] or like or 256, own["hidden"]
        self.preprocess = Preprocess(own["preprocess"], dim_in, stats)
        self.stem = nn.Linear(dim_in, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(own["depth"] + 1))
        both = 2 * own["expansion"] * width
        self.maps = nn.ModuleList(nn.Linear(width, both) for _ in range(own["depth"]))  # W₁ and W₂ in one product
        self.back = nn.ModuleList(nn.Linear(both // 2, width) for _ in range(own["depth"]))
        self.activation, self.dropout = ACTIVATIONS[own["activation"]](), nn.Dropout(own["dropout"])
        self.fc = nn.Linear(width, self.dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, d)."""
        h = self.stem(self.preprocess(x))
        for norm, maps, back in zip(self.norms, self.maps, self.back, strict=False):
            first, second = maps(norm(h)).chunk(2, -1)
            h = torch.add(h, back(self.dropout(self.activation(first) * second)))
        z = self.fc(self.norms[-1](h))
        return unit(z) if self.normalize else z
