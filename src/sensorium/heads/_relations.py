"""How the columns of a frame sequence move together, and how each repeats itself, as running sums."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.numerics.head_constants import LAGS, RELATIONS_VARIANCE
from sensorium.numerics.ragged import valid

State = tuple[Tensor, ...]


class Relations(nn.Module):
    """Correlations between columns and autocorrelations of each, of all frames so far, (…, p).

    blocks: the d columns come in this many equal stretches, such as features and their slopes, and
    correlations are taken within each. A correlation is cov(i, j) / √((var i + s)(var j + s)); an
    autocorrelation at lag k is (mean of x_t x_{t-k} - mean²) / (var + s), 0 while no frame is k after
    another; s keeps both quiet where a column hardly moves.

    That second-order statistics tell emotions apart where means do not: Ye et al. 2008; for covariance
    descriptors of sequences in general, Tuzel et al. 2006. Nothing is learned here.
    """

    def __init__(self, dim: int, blocks: int = 1) -> None:
        super().__init__()
        self.dim_in, self.blocks = dim, blocks
        size = dim // blocks
        pairs = [(k * size + i, k * size + j) for k in range(blocks) for i in range(size) for j in range(i + 1, size)]
        self.register_buffer("pairs", torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T, persistent=False)
        self.dim = len(pairs) + len(LAGS) * dim

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Frames x (b, t, d), of which the first ``lengths`` (b,) of each are real → (b, p)."""
        return self.advance(x, lengths, self.start(len(x)))[0]

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """More frames x (b, t, d) → the statistics up to each of them (b, t, p), and the state.

        The state is the number of frames (b, 1), the sums of x, x², the products of pairs and those of
        frames apart (b, m), in float64, as a stream may be long, and the last frames (b, LAGS[-1], d).
        """
        count, sums, past = state
        t, wide = x.shape[1], x.double()
        held = torch.cat([past, wide], 1)
        i, j = self.pairs
        apart = [wide * held[:, LAGS[-1] - k : LAGS[-1] - k + t] for k in LAGS]
        running = sums[:, None] + torch.cat([wide, wide.square(), wide[..., i] * wide[..., j], *apart], -1).cumsum(1)
        index = count[:, None] + torch.arange(1, t + 1)[:, None]
        after = index[:, -1].clone(), running[:, -1].clone(), held[:, -LAGS[-1] :].clone()
        return self._statistics(index, running).to(x.dtype), after

    def advance(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, State]:
        """More frames x (b, t, d), the first ``lengths`` (b,) of each real → statistics after these (b, p), state."""
        count, sums, past = state
        t, size = x.shape[1], self.dim_in // self.blocks
        # Training reads whole sequences at once, and needs no more digits than its gradients have.
        wide = torch.where(valid(lengths, t)[..., None], x, 0.0).to(x.dtype if self.training else past.dtype)
        held = torch.cat([past.to(wide.dtype), wide], 1)
        i, j = self.pairs
        block = wide.reshape(len(x), t, self.blocks, size).transpose(1, 2)
        products = block.transpose(2, 3) @ block  # (b, blocks, size, size)
        apart = [(wide * held[:, LAGS[-1] - k : LAGS[-1] - k + t]).sum(1) for k in LAGS]
        squares = products.diagonal(dim1=2, dim2=3).flatten(1)
        sums = sums + torch.cat([wide.sum(1), squares, products[:, i // size, i % size, j % size], *apart], -1)
        count = count + lengths[:, None]
        newest = lengths[:, None] + torch.arange(LAGS[-1])  # where the last frames stand among all held
        past = held.gather(1, newest[..., None].expand(-1, -1, self.dim_in)).double()
        return self._statistics(count.clamp_min(1), sums).to(x.dtype), (count, sums, past)

    def start(self, b: int = 1) -> State:
        """The state of b new streams."""
        widths = (1,), (2 * self.dim_in + self.dim,), (LAGS[-1], self.dim_in)
        return tuple(torch.zeros(b, *width, dtype=torch.float64) for width in widths)

    def _statistics(self, n: Tensor, sums: Tensor) -> Tensor:
        """n (…, 1), sums (…, m) → (…, p)."""
        d, (i, j) = self.dim_in, self.pairs
        mean, square, products, apart = torch.split(sums, [d, d, len(i), len(LAGS) * d], -1)
        mean = mean / n
        variance = (square / n - mean.square()).clamp_min(0.0) + RELATIONS_VARIANCE
        spread = variance.sqrt()
        together = (products / n - mean[..., i] * mean[..., j]) / (spread[..., i] * spread[..., j])
        repeats = [
            torch.where(n > k, (s / (n - k).clamp_min(1) - mean.square()) / variance, 0.0)
            for k, s in zip(LAGS, apart.split(d, -1), strict=True)
        ]
        return torch.cat([together, *repeats], -1)
