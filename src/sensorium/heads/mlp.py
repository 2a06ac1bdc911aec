"""A small multilayer perceptron with its input statistics: the usual head on frozen vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.errors import BadRecipe, nearest
from sensorium.heads import check_dim
from sensorium.heads._blocks import ACTIVATIONS
from sensorium.heads._preprocess import AffineLayers, Preprocess, check_mode, set_linear, typical_length, unit
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine

_DEEPEST, _GAIN = 100, 100  # hidden layers; gain of the initial weights


class MLP(nn.Module, Head):
    """P(x), then ``depth`` times Linear, (LayerNorm), activation, dropout, then Linear; at unit length.

    dim: output width; None takes that of the other side, or else 256.
    hidden: width of each of the ``depth`` hidden layers. depth: how many of them. activation: "relu", "gelu",
    "tanh" or another of torch's. dropout: probability, 0 to below 1. normalize: outputs of unit length.
    input_dropout: probability of each number of P(x), 0 to below 1; left out, none.
    residual: adds a linear path from input to output, so that the head can start at a closed form.
    layer_norm: normalises each hidden layer before its activation.
    gain: Xavier-uniform initialisation with this gain and zero biases; None leaves torch's own.
    preprocess: P, of the inputs: "none", "unit", "center", "standardize" or "whiten", with training statistics; see
        :class:`sensorium.heads._preprocess.Preprocess`.

    Linear-ReLU-Linear is depth=1; 768→512→256 with dropout .1 is hidden=512, dim=256, dropout=0.1;
    Linear-LayerNorm-tanh-Linear is layer_norm=true, activation="tanh".
    """

    def __init__(
        self,
        dim: int | None = None,
        hidden: int = 512,
        depth: int = 1,
        activation: str = "gelu",
        dropout: float = 0.0,
        residual: bool = False,
        layer_norm: bool = False,
        gain: float | None = None,
        preprocess: str = "standardize",
        normalize: bool = True,
        input_dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_mode(preprocess)
        check_dim(dim)
        if activation not in ACTIVATIONS:
            raise BadRecipe(f"mlp: activation '{activation}'; {nearest(activation, ACTIVATIONS)}")
        for name, value in (("dropout", dropout), ("input_dropout", input_dropout or 0.0)):
            if not 0 <= value < 1:
                raise BadRecipe(f"mlp: {name} is {value}; expected a probability from 0 to below 1")
        if gain is not None and not 0 < gain <= _GAIN:
            raise BadRecipe(f"mlp: gain={gain}; expected a number above 0, up to {_GAIN}, such as 0.1")
        if depth < 1 or hidden < 1:
            raise BadRecipe(f"mlp: depth {depth} and hidden {hidden} must be at least 1; else use 'linear'")
        if depth > _DEEPEST:
            raise BadRecipe(f"mlp: depth {depth}; expected 1 to {_DEEPEST} hidden layers")
        self.arguments = {
            "dim": dim, "hidden": hidden, "depth": depth, "activation": activation, "dropout": dropout,
            "residual": residual, "layer_norm": layer_norm, "gain": gain, "preprocess": preprocess,
            "normalize": normalize, "input_dropout": input_dropout,
        }  # fmt: skip
        self.normalize = normalize

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. ``stats`` of the training rows; None when ``load_state_dict`` follows."""
        own = self.arguments
        self.dim_in, self.dim = dim_in, own["dim"] or like or 256
        self._stats = stats
        self.preprocess = Preprocess(own["preprocess"], dim_in, stats)
        widths = [dim_in, *[own["hidden"]] * own["depth"]]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, [*widths[1:], self.dim], strict=True))
        self.norms = nn.ModuleList(nn.LayerNorm(b) for b in widths[1:] if own["layer_norm"])
        self.activation = ACTIVATIONS[own["activation"]]()
        self.dropout = nn.Dropout(own["dropout"])
        self.input_dropout = nn.Dropout(own["input_dropout"] or 0.0)
        self.skip = nn.Linear(dim_in, self.dim) if own["residual"] else None
        if own["gain"] is not None:
            for layer in self.layers:
                nn.init.xavier_uniform_(layer.weight, own["gain"])
                nn.init.zeros_(layer.bias)

    def initialise(self, affine: Affine) -> None:
        """Start exactly at a closed form x W + b of the raw input, whatever the preprocessing.

        The linear path becomes the closed form and the last layer zero, from where it learns first.
        Where the output is normalised its length is free: it is then set to 1 on average.
        Raises BadRecipe without ``residual``.
        """
        if self.skip is None:
            raise BadRecipe(
                "mlp cannot start at a closed form without a linear path; type: left.head.residual=true or "
                "right.head.residual=true"
            )
        if self.normalize and self._stats is not None:
            length = typical_length(affine, self._stats) or 1.0
            affine = Affine(affine.weight / length, affine.bias / length)
        set_linear(self.skip, self.preprocess.fold_in(affine))
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def affine_layers(self) -> AffineLayers:
        """Its layers, for the fused training step."""
        own = self.arguments
        return AffineLayers(self.preprocess, self.layers, self.norms, self.skip, own["activation"], own["dropout"],
                            self.normalize, own["input_dropout"] or 0.0)  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, d)."""
        x = z = self.input_dropout(self.preprocess(x))
        for i, layer in enumerate(self.layers[:-1]):
            z = layer(z)
            if self.norms:
                z = self.norms[i](z)
            z = self.dropout(self.activation(z))
        z = self.layers[-1](z)
        if self.skip is not None:
            z = torch.add(z, self.skip(x))
        return unit(z) if self.normalize else z
