"""Many live streams through one encoder and one head: whatever arrives together is computed as one batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from sensorium import audio, sequences
from sensorium.errors import BadRecipe


class Streams:
    """Open streams of one run, each with its own resampler, past frames and head state.

    encoder: one that streams, such as ``mfcc``. head: one that steps, such as ``lstm``. What a stream
    reads equals what it would read alone, and what the whole file gives, to 1e-5.
    Raises BadRecipe for parts that cannot stream.
    """

    def __init__(self, encoder: Any, head: Any) -> None:
        for part, needed in ((encoder, "stream"), (head, "step")):
            if not hasattr(part, needed):
                raise BadRecipe(
                    f"{type(part).__name__} cannot stream; choose an encoder such as mfcc and a head such as lstm"
                )
        self.encoder, self.head = encoder, head.eval()
        self._open: dict[int, _Stream] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._open)

    def open(self, rate: int = audio.RATE) -> int:
        """A new stream of sound at ``rate`` Hz; its key. Raises BadData for a rate that no recording has."""
        stream = _Stream(audio.Resampler(rate, self.encoder.rate), self.encoder.stream(), self.head.start())
        key, self._next = self._next, self._next + 1
        self._open[key] = stream
        return key

    def close(self, key: int) -> None:
        """Forget a stream; one that is not open is no error."""
        self._open.pop(key, None)

    def reset(self, key: int) -> None:
        """Begin a stream anew, such as after a long silence: nothing heard before counts any more."""
        held = self._open[key]
        held.features, held.state = self.encoder.stream(), self.head.start()

    def push(self, chunks: Mapping[int, np.ndarray], last: bool = False) -> dict[int, np.ndarray]:
        """Samples (n_i,) of some streams in → what the head reads after each new frame, (k_i, c) float32.

        k_i may be 0. ``last`` ends these streams and closes them.
        """
        keys = list(chunks)
        held = [self._open[key] for key in keys]
        samples = [s.resampler.push(chunks[key], last) for key, s in zip(keys, held, strict=True)]
        frames = self.encoder.push([s.features for s in held], samples, last)
        found = {key: np.zeros((0, self.head.dim), np.float32) for key in keys}
        counts = np.array([len(x) for x in frames])
        for count in np.unique(counts[counts > 0]):  # streams with as many new frames make one batch
            at = np.flatnonzero(counts == count).tolist()
            with torch.inference_mode():
                x = torch.from_numpy(np.stack([frames[i] for i in at]))
                z, state = self.head.step(x, sequences.gather([held[i].state for i in at]))
            for i, own, logits in zip(at, sequences.scatter(state), z.numpy(), strict=True):
                held[i].state = own
                found[keys[i]] = logits
        if last:
            for key in keys:
                self.close(key)
        return found


class _Stream:
    """What one stream remembers."""

    def __init__(self, resampler: audio.Resampler, features: Any, state: tuple[torch.Tensor, ...]) -> None:
        self.resampler, self.features, self.state = resampler, features, state
