"""Statistics and correlations of a sequence of frames as running sums, the same offline and streamed."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist

import torch
from torch import Tensor, nn

from sensorium.numerics import head_constants as constants
from sensorium.numerics.head_constants import LAGS, RELATIONS_VARIANCE
from sensorium.numerics.ragged import valid

State = tuple[Tensor, ...]


class Statistics(nn.Module):
    """Statistics of each column of a sequence so far, from running sums.

    Mean, deviation, mean magnitude and the share of frames above each of K levels, of all frames; and
    the mean over the first ``window`` frames, over the next ``window``, and fading into the past with
    half-life ``half_life`` frames, which describe the trend of the sequence.

    Columns are expected at zero mean and unit variance over the training frames; the levels are then
    the normal quantiles (k + ½) / K, and "above" is a soft step, so that the shares are a smooth
    histogram: the information of percentiles, computed as a stream. Nothing is learned here.
    """

    def __init__(
        self, dim: int, levels: int = 5, window: int = constants.WINDOW, half_life: float = constants.HALF_LIFE
    ) -> None:
        super().__init__()
        self.dim_in, self.window, self.fade = dim, window, 0.5 ** (1.0 / half_life)
        self.dim = dim * (6 + levels)
        self.levels = [NormalDist().inv_cdf((k + 0.5) / levels) for k in range(levels)]

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Frames x (b, t, d), of which the first ``lengths`` (b,) of each are real → (b, p)."""
        real = valid(lengths, x.shape[1]).to(x.dtype)
        past = (lengths[:, None] - 1 - torch.arange(x.shape[1])).clamp_min(0)
        # Sums of x and x² in float64, as the variance is a difference of them; for the others it is not worth the time.
        wide = [torch.float64] * 2 + [x.dtype] * (1 + len(self.levels))
        terms = zip(self._terms(x), wide, strict=True)
        sums = torch.cat([torch.einsum("bt,btd->bd", real.to(w), term.to(w)).double() for term, w in terms], -1)
        windows = self._windows(torch.arange(x.shape[1])).to(x.dtype)
        early = torch.einsum("bwt,btd->bwd", windows * real[:, None], x)
        fading = torch.einsum("bt,btd->bd", real * self.fade**past, x)
        return self._statistics(lengths.clamp_min(1)[:, None].double(), sums, early, fading).to(x.dtype)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """More frames x (b, t, d) → the statistics up to each of them (b, t, p), and the state.

        The state is the number of frames (b, 1), their sums (b, m), those of both windows (b, 2, d)
        and the fading ones (b, d), in float64, as a stream may be long.
        """
        count, sums, early, fading = state
        t = x.shape[1]
        wide, index = x.double(), count[:, None] + torch.arange(t)[:, None]  # (b, t, 1): frames before this one
        inside = self._windows(index[..., 0]).transpose(1, 2)  # (b, t, 2)
        running = sums[:, None] + torch.cat(list(self._terms(x)), -1).double().cumsum(1)
        windows = early[:, None] + (inside[..., None] * wide[:, :, None]).cumsum(1)
        ages = torch.arange(t)[:, None] - torch.arange(t)
        decay = torch.where(ages >= 0, self.fade ** ages.clamp_min(0).double(), 0.0)
        faded = decay @ wide + self.fade ** torch.arange(1, t + 1, dtype=torch.float64)[:, None] * fading[:, None]
        pooled = self._statistics(index + 1, running, windows, faded).to(x.dtype)
        return pooled, (index[:, -1] + 1, running[:, -1].clone(), windows[:, -1].clone(), faded[:, -1].clone())

    def advance(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, State]:
        """More frames x (b, t, d), the first ``lengths`` (b,) of each real → statistics after these (b, p), state."""
        count, sums, early, fading = state
        t, n = x.shape[1], lengths[:, None]
        real = valid(lengths, t)
        within = real.to(x.dtype)
        # x and x² are summed in float64, as the variance is a difference of them.
        wide, exact = x.double(), real.double()
        added = [torch.einsum("bt,btd->bd", exact, wide), torch.einsum("bt,btd->bd", exact, wide.square())]
        added += [torch.einsum("bt,btd->bd", within, term).double() for term in self._terms(x, first=2)]
        sums = sums + torch.cat(added, -1)
        if bool((count < 2 * self.window).any()):
            inside = self._windows(count + torch.arange(t)) * real[:, None]
            early = early + torch.einsum("bwt,btd->bwd", inside.to(x.dtype), x)
        age = (n - 1 - torch.arange(t)).clamp_min(0)
        fading = self.fade ** n.double() * fading + torch.einsum("bt,btd->bd", self.fade ** age.double() * exact, wide)
        count = count + n
        pooled = self._statistics(count.clamp_min(1), sums, early, fading).to(x.dtype)
        return pooled.reshape(-1, self.dim), (count, sums, early, fading)

    def start(self, b: int = 1) -> State:
        """The state of b new streams."""
        widths = (1,), (self.dim - 3 * self.dim_in,), (2, self.dim_in), (self.dim_in,)
        return tuple(torch.zeros(b, *width, dtype=torch.float64) for width in widths)

    def _terms(self, x: Tensor, first: int = 0) -> Iterator[Tensor]:
        """What is summed over frames, (…, d) each, from the ``first`` on: one at a time, as together they are large."""
        if not first:
            yield x
            yield x.square()
        yield x.abs()
        for level in self.levels:
            yield torch.sigmoid((x - level) / constants.LEVEL_WIDTH)

    def _windows(self, index: Tensor) -> Tensor:
        """Whether frames (…, t) are in the first and in the second window, (…, 2, t)."""
        return torch.stack([index < self.window, (index >= self.window) & (index < 2 * self.window)], -2)

    def _statistics(self, n: Tensor, sums: Tensor, early: Tensor, fading: Tensor) -> Tensor:
        """n (…, 1), sums (…, m), early (…, 2, d), fading (…, d) → (…, p)."""
        mean, square, rest = torch.split(sums / n, [self.dim_in, self.dim_in, sums.shape[-1] - 2 * self.dim_in], -1)
        deviation = (square - mean.square()).clamp_min(0.0).add(constants.STATISTICS_VARIANCE).sqrt()
        first = early[..., 0, :] / n.clamp_max(self.window)
        inside = (n - self.window).clamp(0, self.window)
        # Until the second window begins, the mean of all frames stands for it.
        second = torch.where(inside > 0, early[..., 1, :] / inside.clamp_min(1), mean)
        recent = fading * (1.0 - self.fade) / (1.0 - self.fade**n)
        return torch.cat([mean, deviation, rest, first, second, recent], -1)


class Relations(nn.Module):
    """Correlations between columns and autocorrelations of each, of all frames so far, (…, p).

    blocks: number of equal blocks of the d columns, such as features and their slopes;
    correlations are taken within each. A correlation is cov(i, j) / √((var i + s)(var j + s)); an
    autocorrelation at lag k is (mean of x_t x_{t-k} - mean²) / (var + s), 0 while no frame is k after
    another; s bounds both where the variance of a column is near 0.

    Second-order statistics separate emotions where means do not: Ye et al. 2008; for covariance
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
        frames = torch.cat([past, wide], 1)
        i, j = self.pairs
        apart = [wide * frames[:, LAGS[-1] - k : LAGS[-1] - k + t] for k in LAGS]
        running = sums[:, None] + torch.cat([wide, wide.square(), wide[..., i] * wide[..., j], *apart], -1).cumsum(1)
        index = count[:, None] + torch.arange(1, t + 1)[:, None]
        after = index[:, -1].clone(), running[:, -1].clone(), frames[:, -LAGS[-1] :].clone()
        return self._statistics(index, running).to(x.dtype), after

    def advance(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, State]:
        """More frames x (b, t, d), the first ``lengths`` (b,) of each real → statistics after these (b, p), state."""
        count, sums, past = state
        t, size = x.shape[1], self.dim_in // self.blocks
        # Training reads whole sequences at once, and needs no more digits than its gradients have.
        wide = torch.where(valid(lengths, t)[..., None], x, 0.0).to(x.dtype if self.training else past.dtype)
        frames = torch.cat([past.to(wide.dtype), wide], 1)
        i, j = self.pairs
        block = wide.reshape(len(x), t, self.blocks, size).transpose(1, 2)
        products = block.transpose(2, 3) @ block  # (b, blocks, size, size)
        apart = [(wide * frames[:, LAGS[-1] - k : LAGS[-1] - k + t]).sum(1) for k in LAGS]
        squares = products.diagonal(dim1=2, dim2=3).flatten(1)
        sums = sums + torch.cat([wide.sum(1), squares, products[:, i // size, i % size, j % size], *apart], -1)
        count = count + lengths[:, None]
        newest = lengths[:, None] + torch.arange(LAGS[-1])  # positions of the last frames among all
        past = frames.gather(1, newest[..., None].expand(-1, -1, self.dim_in)).double()
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
