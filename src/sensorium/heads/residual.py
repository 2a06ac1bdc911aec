"""Residual blocks with an inverted bottleneck, then a projection: the fusion adapters of FuseMix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.heads import check_dim
from sensorium.heads._blocks import check_blocks
from sensorium.heads._preprocess import Preprocess, check_mode, unit
from sensorium.numerics.moments import InputStats


class Residual(nn.Module, Head):
    """h = P(x); ``depth`` times h + W₂ dropout(GELU(W₁ LayerNorm(h))); then LayerNorm and Linear; at unit length.

    W₁ widens the input ``expansion`` times, W₂ brings it back, so that a block adds to the encoder's own vector
    (Vouitsis et al. 2024, "Data-efficient multimodal fusion on a single GPU"; the blocks are those of
    Bachmann et al. 2023, "Scaling MLPs"). The paper trains it with latent mixup: ``train.mixup=1``, and with a
    dropout of up to 0.6.

    dim: output width; None takes that of the other side, or else 512.
    depth: how many blocks. expansion: width of a block's inside, as a multiple of the input's.
    dropout: probability, 0 to below 1.
    preprocess: P, of the inputs: "none", "unit", "center", "standardize" or "whiten", with training statistics; see
        :class:`sensorium.heads._preprocess.Preprocess`.
    normalize: outputs of unit length.
    """

    def __init__(self, dim: int | None = None, depth: int = 2, expansion: int = 4, dropout: float = 0.6,
                 preprocess: str = "standardize", normalize: bool = True) -> None:  # fmt: skip
        super().__init__()
        check_mode(preprocess)
        check_dim(dim)
        check_blocks("residual", depth, expansion, dropout)
        self.arguments = {"dim": dim, "depth": depth, "expansion": expansion, "dropout": dropout,
                          "preprocess": preprocess, "normalize": normalize}  # fmt: skip
        self.normalize = normalize

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. ``stats`` of the training rows; None when ``load_state_dict`` follows."""
        own = self.arguments
        self.dim_in, self.dim, wide = dim_in, own["dim"] or like or 512, own["expansion"] * dim_in
        self.preprocess = Preprocess(own["preprocess"], dim_in, stats)
        self.norms = nn.ModuleList(nn.LayerNorm(dim_in) for _ in range(own["depth"] + 1))
        self.up = nn.ModuleList(nn.Linear(dim_in, wide) for _ in range(own["depth"]))
        self.down = nn.ModuleList(nn.Linear(wide, dim_in) for _ in range(own["depth"]))
        self.dropout = nn.Dropout(own["dropout"])
        self.fc = nn.Linear(dim_in, self.dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, d)."""
        h = self.preprocess(x)
        for norm, up, down in zip(self.norms, self.up, self.down, strict=False):
            h = torch.add(h, down(self.dropout(nn.functional.gelu(up(norm(h))))))
        z = self.fc(self.norms[-1](h))
        return unit(z) if self.normalize else z
