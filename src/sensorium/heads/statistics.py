"""Running statistics of frames and an ensemble of small perceptrons: accurate with few recordings, and streamable."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sensorium.contracts import SequenceHead
from sensorium.errors import BadRecipe
from sensorium.heads import check_dim
from sensorium.heads._members import Members
from sensorium.heads._preprocess import Preprocess, check_mode, unit
from sensorium.numerics import head_constants as constants
from sensorium.numerics.moments import InputStats
from sensorium.numerics.pooling import Relations
from sensorium.numerics.pooling import Statistics as Pool

State = tuple[Tensor, ...]
_MOST = 100  # levels, layers, and deviations of noise
_ROWS = 32  # sequences whose sums are made together: their products stay in the cache


class Statistics(nn.Module, SequenceHead):
    """Mean, deviation, magnitude and soft histogram of every column so far → perceptrons, averaged.

    relations: number of equal blocks of columns; the correlations within each block are
    statistics too, and the autocorrelations of every column; 0 for none. levels: of the histogram.
    hidden, depth, members, dropout: of the perceptrons; depth 0 is one linear layer. noise: standard
    deviation added to the standardised statistics in training.
    preprocess: of the frames, by statistics of the training frames that the head carries.
    dim: output width; None takes that of the other side, such as the number of classes.
    normalize: outputs of unit length; off for the logits of a classifier.
    """

    def __init__(
        self,
        levels: int = 5,
        relations: int = 0,
        hidden: int = 128,
        depth: int = 1,
        members: int = 4,
        dropout: float = 0.5,
        noise: float = 0.0,
        dim: int | None = None,
        preprocess: str = "standardize",
        normalize: bool = False,
    ) -> None:
        super().__init__()
        check_mode(preprocess)
        check_dim(dim)
        if relations < 0:
            raise BadRecipe(f"statistics: relations={relations}; expected 0, or the number of blocks of columns")
        small = levels <= _MOST and depth <= _MOST
        if (
            min(levels, depth, noise) < 0
            or noise > _MOST
            or not small
            or min(hidden, members) < 1
            or not 0 <= dropout < 1
        ):
            raise BadRecipe(
                f"statistics: levels={levels}, hidden={hidden}, depth={depth}, members={members}, dropout={dropout}, "
                f"noise={noise}; expected hidden and members from 1, dropout from 0 to below 1, the others from 0, "
                f"levels, depth and noise to {_MOST}"
            )
        self.arguments = {"levels": levels, "relations": relations, "hidden": hidden, "depth": depth,
                          "members": members, "dropout": dropout, "noise": noise, "dim": dim,
                          "preprocess": preprocess, "normalize": normalize}  # fmt: skip
        self.normalize, self.noise = normalize, noise

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. ``stats`` of the training frames; None when ``load_state_dict`` follows."""
        options = self.arguments
        self.dim_in, self.dim = dim_in, options["dim"] or like or dim_in
        self.preprocess = Preprocess(options["preprocess"], dim_in, stats)
        blocks = options["relations"]
        if blocks and dim_in % blocks:
            raise BadRecipe(f"statistics: {dim_in} columns cannot be split into relations={blocks} equal blocks")
        self.pool = nn.ModuleList([Pool(dim_in, options["levels"]), *([Relations(dim_in, blocks)] if blocks else [])])
        width = sum(part.dim for part in self.pool)
        self.scale = nn.BatchNorm1d(width, eps=constants.BATCH_NORM_EPSILON, affine=False)
        self.members = Members(
            width, options["hidden"], options["depth"], self.dim, options["members"], options["dropout"]
        )

    def frozen(self, x: Tensor, lengths: Tensor) -> Tensor:
        """What no weight takes part in: the statistics (b, w) of frames x (b, t, d)."""
        some = zip(x.split(_ROWS), lengths.split(_ROWS), strict=True)
        return torch.cat([self._pooled(self.preprocess(rows), n) for rows, n in some])

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Frames x (b, t, d), of which the first ``lengths`` (b,) of each are real, or their statistics → (b, c)."""
        with torch.no_grad():  # nothing is learned up to here
            pooled = self.scale(x if lengths is None else self.frozen(x, lengths))
        if self.training and self.noise:
            pooled = pooled + self.noise * torch.randn_like(pooled)
        return self._read(pooled)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """More frames x (b, t, d) of b streams → the output after each of them (b, t, c), and the state."""
        state = self.start(len(x)) if state is None else state
        if not x.shape[1]:
            return x.new_zeros(len(x), 0, self.dim), state
        x = self.preprocess(x)
        return self._each(state, lambda part, own: part.step(x, own))

    def advance(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, State]:
        """As :func:`sensorium.numerics.ragged.advance`: only the last of these frames is read."""
        x = self.preprocess(x)
        return self._each(state, lambda part, own: part.advance(x, lengths, own))

    def start(self, b: int = 1) -> State:
        """The state of b new streams."""
        return tuple(tensor for part in self.pool for tensor in part.start(b))

    def _pooled(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return torch.cat([part(frames, lengths) for part in self.pool], -1)

    def _each(self, state: State, move: Callable[[nn.Module, State], tuple[Tensor, State]]) -> tuple[Tensor, State]:
        """Every statistic moved on from its own share of the state: the output, and all states one after the other."""
        pooled, after = [], ()
        for part in self.pool:
            own = len(part.start(1))
            found, left = move(part, state[len(after) : len(after) + own])
            pooled.append(found)
            after += left
        return self._read(self._scaled(torch.cat(pooled, -1))), after

    def _scaled(self, pooled: Tensor) -> Tensor:
        return (pooled - self.scale.running_mean) / (self.scale.running_var + self.scale.eps).sqrt()

    def _read(self, pooled: Tensor) -> Tensor:
        z = self.members(pooled)
        return unit(z) if self.normalize else z
