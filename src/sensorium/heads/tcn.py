"""Small causal convolutions over frames, pooled by attention-weighted running statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.contracts import SequenceHead
from sensorium.errors import BadRecipe
from sensorium.heads import check_dim
from sensorium.heads._preprocess import Preprocess, check_mode, unit
from sensorium.numerics import head_constants as constants
from sensorium.numerics.moments import InputStats
from sensorium.numerics.ragged import valid

State = tuple[Tensor, ...]
_DEEPEST, _WIDEST = 16, 256  # layers, of which the last looks 2^15 frames back; taps


class Tcn(nn.Module, SequenceHead):
    """Dilated causal convolutions (Bai et al. 2018), then attentive statistics pooling (Okabe et al. 2018).

    width: channels. depth: layers, of dilation 1, 2, 4 …; kernel: taps of each. dropout: probability, 0 to below 1.
    preprocess: of the frames, by statistics of the training frames that the head carries. The pooled mean and
    deviation are of all frames so far, weighted by e^a for a learned attention a per channel.
    dim: output width; None takes that of the other side, such as the number of classes.
    normalize: outputs of unit length; off for the logits of a classifier.
    """

    def __init__(
        self,
        width: int = 64,
        depth: int = 3,
        kernel: int = 5,
        dropout: float = 0.3,
        dim: int | None = None,
        preprocess: str = "standardize",
        normalize: bool = False,
    ) -> None:
        super().__init__()
        check_mode(preprocess)
        check_dim(dim)
        many = depth > _DEEPEST or kernel > _WIDEST
        if min(width, depth, kernel) < 1 or many or not 0 <= dropout < 1:
            raise BadRecipe(
                f"tcn: width={width}, depth={depth}, kernel={kernel}, dropout={dropout}; expected 1 or more of each, "
                f"depth up to {_DEEPEST}, kernel up to {_WIDEST}, and dropout from 0 to below 1"
            )
        self.arguments = {"width": width, "depth": depth, "kernel": kernel, "dropout": dropout, "dim": dim,
                          "preprocess": preprocess, "normalize": normalize}  # fmt: skip
        self.normalize = normalize

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. ``stats`` of the training frames; None when ``load_state_dict`` follows."""
        options = self.arguments
        self.dim_in, self.dim, width = dim_in, options["dim"] or like or dim_in, options["width"]
        self.preprocess = Preprocess(options["preprocess"], dim_in, stats)
        widths = [dim_in, *[width] * (options["depth"] - 1)]
        self.layers = nn.ModuleList(
            [nn.Conv1d(a, width, options["kernel"], dilation=2**i) for i, a in enumerate(widths)]
        )
        self.norms = nn.ModuleList([nn.LayerNorm(width, eps=constants.LAYER_NORM_EPSILON) for _ in widths])
        self.attention = nn.Linear(width, width)
        self.dropout = nn.Dropout(options["dropout"])
        self.fc = nn.Linear(2 * width, self.dim)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Frames x (b, t, d), of which the first ``lengths`` (b,) of each are real → (b, c)."""
        h, _ = self._convolve(self.preprocess(x), self.start(len(x))[:-1])
        sums = (self._terms(h) * valid(lengths, h.shape[1])[..., None]).sum(1)
        return self._read(sums)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """More frames x (b, t, d) of b streams → the output after each of them (b, t, c), and the state.

        The state is the past inputs of each layer (b, reach, width) and the sums (b, 3 width) in float64.
        """
        state = self.start(len(x)) if state is None else state
        if not x.shape[1]:
            return x.new_zeros(len(x), 0, self.dim), state
        h, past = self._convolve(self.preprocess(x), state[:-1])
        sums = state[-1][:, None] + self._terms(h).cumsum(1)
        return self._read(sums), (*past, sums[:, -1].clone())

    def start(self, b: int = 1) -> State:
        """The state of b new streams: silence before the first frame, nothing pooled."""
        past = [torch.zeros(b, self._reach(i), layer.in_channels) for i, layer in enumerate(self.layers)]
        return (*past, torch.zeros(b, 3 * self.arguments["width"], dtype=torch.float64))

    def _reach(self, layer: int) -> int:
        return (self.arguments["kernel"] - 1) * 2**layer

    def _convolve(self, x: Tensor, past: State) -> tuple[Tensor, State]:
        """(b, t, d) → (b, t, width), and the left context of the next frames."""
        context = []
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            known = torch.cat([past[i].to(x.device), x], 1)
            context.append(known[:, known.shape[1] - self._reach(i) :].clone())
            y = self.dropout(F.relu(norm(layer(known.transpose(1, 2)).transpose(1, 2))))
            x = x + y if x.shape[-1] == y.shape[-1] else y
        return x, tuple(context)

    def _terms(self, h: Tensor) -> Tensor:
        """What is summed over frames, (b, t, 3 width): in float64, as variances are differences of such sums."""
        reach = constants.ATTENTION_RANGE
        weight, wide = torch.exp(reach * torch.tanh(self.attention(h) / reach)).double(), h.double()
        return torch.cat([weight, weight * wide, weight * wide * wide], -1)

    def _read(self, sums: Tensor) -> Tensor:
        weight, first, second = sums.chunk(3, -1)
        weight = weight.clamp_min(constants.ATTENTION_LEAST)
        mean = first / weight
        deviation = (second / weight - mean * mean).clamp_min(0.0).add(constants.TCN_VARIANCE).sqrt()
        z = self.fc(self.dropout(torch.cat([mean, deviation], -1).to(self.fc.weight.dtype)))
        return unit(z) if self.normalize else z
