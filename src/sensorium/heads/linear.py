"""One linear map with its input statistics: what closed forms solve for, and the smallest head to train."""

from __future__ import annotations

from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.errors import BadRecipe
from sensorium.heads import check_dim
from sensorium.heads._preprocess import (
    AffineLayers,
    Preprocess,
    affine_of,
    check_mode,
    set_linear,
    typical_length,
    unit,
)
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine


class Linear(nn.Module, Head):
    """z = P(x) W + b, at unit length with ``normalize``.

    dim: output width; None takes that of the other side, or else the input's.
    normalize: outputs of unit length.
    preprocess: P, of the inputs: "none", "unit", "center", "standardize" or "whiten", with training statistics; see
        :class:`sensorium.heads._preprocess.Preprocess`.
    """

    def __init__(self, dim: int | None = None, preprocess: str = "standardize", normalize: bool = True) -> None:
        super().__init__()
        check_mode(preprocess)
        check_dim(dim)
        self.arguments = {"dim": dim, "preprocess": preprocess, "normalize": normalize}
        self.normalize = normalize

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. ``stats`` of the training rows; None when ``load_state_dict`` follows."""
        self.dim_in, self.dim = dim_in, self.arguments["dim"] or like or dim_in
        self._stats = stats
        self.preprocess = Preprocess(self.arguments["preprocess"], dim_in, stats)
        self.layers = nn.ModuleList([nn.Linear(dim_in, self.dim)])

    def initialise(self, affine: Affine) -> None:
        """Start exactly at a closed form x W + b of the raw input, whatever the preprocessing.

        Where the output is normalised its length is free: it is then set to 1 on average.
        Raises BadRecipe when the preprocessing is not linear or the widths differ.
        """
        if self.preprocess.mode == "unit":
            raise BadRecipe("linear: with preprocess='unit' it cannot start at a closed form; use 'standardize'")
        if self.normalize and self._stats is not None:
            length = typical_length(affine, self._stats) or 1.0
            affine = Affine(affine.weight / length, affine.bias / length)
        self.set_affine(affine)

    def set_affine(self, affine: Affine) -> None:
        """Compute x W + b of the raw input, whatever the preprocessing (for "unit": of the scaled rows)."""
        unscaled = self.preprocess.mode in ("none", "unit")
        set_linear(self.layers[0], affine if unscaled else self.preprocess.fold_in(affine))

    def affine_layers(self) -> AffineLayers:
        """Its one layer, for the fused training step."""
        return AffineLayers(self.preprocess, self.layers, (), None, "relu", 0.0, self.normalize)

    def affine(self) -> Affine | None:
        """What it computes of the raw input before the normalisation; None when that is not linear."""
        return self.preprocess.unfold(affine_of(self.layers[0]))

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, d)."""
        z = self.layers[0](self.preprocess(x))
        return unit(z) if self.normalize else z
