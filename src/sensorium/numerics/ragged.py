"""Frame sequences of unequal length: padding, SpecAugment, heads applied to sequences, states of streams."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sensorium.contracts import Head
from sensorium.errors import BadData
from sensorium.types import Rows

_FRAMES = 1 << 15  # padded frames a pass


def valid(lengths: Tensor, t: int) -> Tensor:
    """Which of t padded frames are real, (b, t) bool; lengths (b,)."""
    return torch.arange(t, device=lengths.device) < lengths[:, None]


def spec_augment(x: Tensor, lengths: Tensor, probability: float) -> Tensor:
    """Frames x (b, t, d) of zero mean, of which some sequences have spans of time and of columns set to zero.

    Each sequence with this probability: twice up to a tenth of its ``lengths`` (b,) frames, once up to a
    fifth of its columns, of random width and place (SpecAugment, Park et al. 2019, without warping).
    """
    b, t, d = x.shape
    chosen = torch.rand(b, 1, device=x.device) < probability

    def span(count: int, size: Tensor, most: float) -> Tensor:
        """Which of ``count`` places lie in a random span of up to ``most`` of ``size`` (b, 1), (b, count)."""
        width = torch.rand(b, 1, device=x.device) * most * size
        start = torch.rand(b, 1, device=x.device) * (size - width)
        at = torch.arange(count, device=x.device)
        return chosen & (at >= start) & (at < start + width)

    frames = span(t, lengths[:, None], 0.1) | span(t, lengths[:, None], 0.1)
    columns = span(d, torch.full((b, 1), d, device=x.device), 0.2)
    return x.masked_fill(frames[:, :, None] | columns[:, None], 0.0)


def apply_frames(head: Head, vectors: Rows, offsets: np.ndarray) -> np.ndarray:
    """Every sequence through a frame head, (n, c) float32, sequences of like length together.

    vectors (t, d): frames of all sequences; item i owns rows ``offsets[i]`` to ``offsets[i + 1]``.
    Raises BadData when a sequence is empty or the frames are not as wide as the head's input.
    """
    lengths = np.diff(offsets)
    if vectors.shape[1] != head.dim_in:
        raise BadData(f"frames of width {vectors.shape[1]} do not fit the head, which takes {head.dim_in}")
    if (lengths < 1).any():
        raise BadData(f"{np.count_nonzero(lengths < 1)} items have no frames; leave them out")
    z = np.empty((len(lengths), head.dim), np.float32)
    training = head.training
    head.eval()
    try:
        with torch.inference_mode():
            for rows in alike(lengths, _FRAMES):
                x = np.zeros((len(rows), int(lengths[rows].max()), vectors.shape[1]), np.float32)
                for at, row in enumerate(rows):
                    x[at, : lengths[row]] = vectors[int(offsets[row]) : int(offsets[row + 1])]
                z[rows] = head(torch.from_numpy(x), torch.from_numpy(lengths[rows])).numpy()
    finally:
        head.train(training)
    return z


def alike(lengths: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Rows in groups of similar length, longest first, of at most ``most`` padded frames or else of one row."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, most // max(1, int(lengths[order[start]])))
        yield order[start : start + size]
        start += size


def gather(states: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """States of single streams, each of batch 1, as one batched state."""
    return tuple(torch.cat(parts) for parts in zip(*states, strict=True))


def scatter(state: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
    """A batched state as states of single streams, each of batch 1."""
    return [tuple(part[i : i + 1] for part in state) for i in range(len(state[0]))]
