"""Running statistics of frames and an ensemble of small perceptrons: strong on few recordings, and it streams."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.moments import InputStats
from sensorium.pooling import Members
from sensorium.pooling import Statistics as Pool
from sensorium.preprocess import Preprocess, check_mode, unit
from sensorium.sequences import apply_frames
from sensorium.types import Rows

State = tuple[Tensor, ...]


class Statistics(nn.Module):
    """Mean, deviation, magnitude and soft histogram of every column so far → perceptrons, averaged.

    levels: of the histogram. hidden, depth, members, dropout: of the perceptrons. noise: standard
    deviation added to the standardised statistics in training.
    dim: output width; None takes that of the other side, such as the number of classes.
    normalize: outputs of unit length; off for the logits of a classifier.
    """

    settled = False
    takes_frames = True

    def __init__(
        self,
        levels: int = 5,
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
        self.arguments = {"levels": levels, "hidden": hidden, "depth": depth, "members": members, "dropout": dropout,
                          "noise": noise, "dim": dim, "preprocess": preprocess, "normalize": normalize}  # fmt: skip
        self.normalize, self.noise = normalize, noise

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. ``stats`` of the training frames; None when ``load_state_dict`` follows."""
        wants = self.arguments
        self.dim_in, self.dim = dim_in, wants["dim"] or like or dim_in
        self.preprocess = Preprocess(wants["preprocess"], dim_in, stats)
        self.pool = Pool(dim_in, wants["levels"])
        self.scale = nn.BatchNorm1d(self.pool.dim, affine=False)
        self.members = Members(
            self.pool.dim, wants["hidden"], wants["depth"], self.dim, wants["members"], wants["dropout"]
        )

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Frames x (b, t, d), of which the first ``lengths`` (b,) of each are real → (b, c)."""
        with torch.no_grad():  # nothing is learned up to here
            pooled = self.scale(self.pool(self.preprocess(x), lengths))
        if self.training and self.noise:
            pooled = pooled + self.noise * torch.randn_like(pooled)
        return self._read(pooled)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """More frames x (b, t, d) of b streams → what is read after each of them (b, t, c), and the state."""
        state = self.start(len(x)) if state is None else state
        if not x.shape[1]:
            return x.new_zeros(len(x), 0, self.dim), state
        pooled, after = self.pool.step(self.preprocess(x), state)
        return self._read(self._scaled(pooled)), after

    def advance(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, State]:
        """As :func:`sensorium.sequences.advance`: only the last of these frames is read."""
        pooled, after = self.pool.advance(self.preprocess(x), lengths, state)
        return self._read(self._scaled(pooled)), after

    def start(self, b: int = 1) -> State:
        """The state of b new streams."""
        return self.pool.start(b)

    def apply_frames(self, vectors: Rows, offsets: np.ndarray) -> np.ndarray:
        """Every sequence of a table, (n, c) float32; see :func:`sensorium.sequences.apply_frames`."""
        return apply_frames(self, vectors, offsets)

    def _scaled(self, pooled: Tensor) -> Tensor:
        return (pooled - self.scale.running_mean) / (self.scale.running_var + self.scale.eps).sqrt()

    def _read(self, pooled: Tensor) -> Tensor:
        z = self.members(pooled)
        return unit(z) if self.normalize else z
