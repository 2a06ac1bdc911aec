"""Learned weights over an encoder's layers, then a small perceptron: the usual probe of speech models."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.errors import BadRecipe
from sensorium.heads import check_dim
from sensorium.heads._preprocess import Preprocess, check_mode, unit
from sensorium.numerics.moments import InputStats
from sensorium.numerics.ragged import valid


class Layers(nn.Module, Head):
    """Σ softmax(w)_l · layer_l, the mean over frames where there are frames, dropout, (hidden, GELU,) linear.

    (Yang et al., SUPERB, 2021.) Takes what an encoder with ``layers="all"`` gives: of each item one
    vector, or frames, with the layers side by side.

    layers: how many there are, one more than the transformer has. hidden: width of the hidden layer, 0
    for none. dropout: probability, 0 to below 1.
    dim: output width; None takes that of the other side, such as the number of classes.
    preprocess: of vectors or frames, by statistics of the training items that the head carries.
    normalize: outputs of unit length; off for the logits of a classifier.
    """

    takes_sequences = True

    def __init__(self, layers: int, hidden: int = 256, dropout: float = 0.2, dim: int | None = None,
                 preprocess: str = "standardize", normalize: bool = False) -> None:  # fmt: skip
        super().__init__()
        check_mode(preprocess)
        check_dim(dim)
        if layers < 1 or hidden < 0 or not 0 <= dropout < 1:
            raise BadRecipe(
                f"layers: layers={layers}, hidden={hidden}, dropout={dropout}; expected 1 layer or more, hidden 0 or "
                "above, and dropout from 0 to below 1"
            )
        self.arguments = {"layers": layers, "hidden": hidden, "dropout": dropout, "dim": dim,
                          "preprocess": preprocess, "normalize": normalize}  # fmt: skip
        self.layers, self.normalize = layers, normalize
        if preprocess == "unit":
            self.frozen = None

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. Raises BadRecipe when the input is not so many layers side by side."""
        options = self.arguments
        if dim_in % self.layers:
            raise BadRecipe(
                f"layers: inputs of {dim_in} numbers are not {self.layers} layers side by side; set head.layers to the "
                "encoder's number of layers and one, and encoder.layers=all"
            )
        self.dim_in, self.dim, width = dim_in, options["dim"] or like or dim_in // self.layers, dim_in // self.layers
        self.preprocess = Preprocess(options["preprocess"], dim_in, stats)
        self.weight = nn.Parameter(torch.zeros(self.layers))
        self.dropout = nn.Dropout(options["dropout"])
        self.hidden = nn.Linear(width, options["hidden"]) if options["hidden"] else None
        self.fc = nn.Linear(options["hidden"] or width, self.dim)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x (b, L·d), or frames (b, t, L·d) of which the first ``lengths`` (b,) of each are real → (b, c)."""
        x = self.preprocess(x)
        each = (x if lengths is None else _mean(x, lengths)).unflatten(-1, (self.layers, -1))
        h = self.dropout(torch.einsum("l,bld->bd", self.weight.softmax(0), each))
        if self.hidden is not None:
            h = self.dropout(nn.functional.gelu(self.hidden(h)))
        z = self.fc(h)
        return unit(z) if self.normalize else z

    def frozen(self, x: Tensor, lengths: Tensor) -> Tensor:
        """What no weight takes part in: the mean over the valid frames, (b, L·d).

        The weights come after it as well as before, and so do all ways of preprocessing but unit length,
        which is a frame's own: under that nothing is frozen.
        """
        return _mean(x, lengths)


def _mean(x: Tensor, lengths: Tensor) -> Tensor:
    """Mean (b, d) over the first ``lengths`` (b,) frames of each sequence of x (b, t, d)."""
    return (x * valid(lengths, x.shape[1])[..., None]).sum(1) / lengths.clamp_min(1)[:, None]
