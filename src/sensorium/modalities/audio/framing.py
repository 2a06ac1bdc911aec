"""Causal framing: frame k covers samples [k·hop, k·hop + size), however the signal arrives in chunks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sensorium.modalities.audio import pitch


class Geometry(NamedTuple):
    """Samples of a frame, from frame to frame, and of all that a frame's columns are computed from."""

    size: int
    hop: int
    span: int

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Geometry:
        """That of an mfcc encoder's arguments; pitch looks further back than the frame, which ends where it ends."""
        rate = arguments["rate"]
        size, hop = round(arguments["frame"] * rate / 1000), round(arguments["hop"] * rate / 1000)
        return cls(size, hop, max(size, round(pitch.SECONDS * rate)) if arguments["pitch"] else size)


def frames(samples: np.ndarray, size: int, hop: int) -> np.ndarray:
    """All whole frames of a recording, (t, size), as a view; samples (n,).

    A recording shorter than one frame is padded with zeros to one, so that t is at least 1.
    """
    if len(samples) < size:
        samples = np.pad(samples, (0, size - len(samples)))
    # As NumPy's sliding_window_view, in a tenth of its time: a stream takes a few frames very often.
    samples = np.ascontiguousarray(samples)
    step = samples.itemsize
    return np.ndarray((count(len(samples), size, hop), size), samples.dtype, samples, strides=(hop * step, step))


def count(n: int, size: int, hop: int) -> int:
    """Number of frames :func:`frames` makes of n samples."""
    return 1 + max(0, n - size) // hop


class Framer:
    """The same frames from a stream: stores only the samples that later frames still need.

    silence: samples of silence before the beginning. Attributes: emitted (frames returned so far).
    """

    def __init__(self, size: int, hop: int, silence: int = 0) -> None:
        self.size, self.hop = size, hop
        self.buffer = np.zeros(silence, np.float32)
        self.skip = 0  # samples still to be dropped before the next frame starts, where hop > size
        self.emitted = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Frames (k, size) completed by these samples (n,); k may be 0."""
        samples = np.concatenate([self.buffer, samples]) if len(self.buffer) else samples
        dropped = min(self.skip, len(samples))
        samples, self.skip = samples[dropped:], self.skip - dropped
        if len(samples) < self.size:
            self.buffer = samples
            return np.zeros((0, self.size), np.float32)
        found = frames(samples, self.size, self.hop)
        used = len(found) * self.hop
        self.skip = max(0, used - len(samples))
        self.buffer = samples[used:].copy()  # a copy, so that the chunk itself can be freed
        self.emitted += len(found)
        return found

    def finish(self) -> np.ndarray:
        """The end of the stream: one padded frame if none was complete, as offline; else (0, size)."""
        if self.emitted:
            return np.zeros((0, self.size), np.float32)
        self.emitted = 1
        return np.pad(self.buffer, (0, self.size - len(self.buffer)))[None]
