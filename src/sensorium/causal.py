"""Causal maps of frame sequences with their state: deltas, voice activity, running normalisation.

Each has ``push(x (t, d)) -> …`` and gives the same result however the frames are cut into blocks.
"""

from __future__ import annotations

import numpy as np


class Deltas:
    """Slopes over the last 2·reach + 1 frames: the usual regression delta, delayed by ``reach`` frames.

    d_t = Σ_n n (x_{t-reach+n} - x_{t-reach-n}) / (2 Σ_n n²), n = 1 … reach; before the first frame, the first frame.
    """

    def __init__(self, reach: int = 2) -> None:
        self.reach = reach
        self.past: np.ndarray | None = None

    def push(self, x: np.ndarray) -> np.ndarray:
        """Slopes (t, d) of frames (t, d)."""
        if not len(x):
            return x
        if self.past is None:
            self.past = np.repeat(x[:1], 2 * self.reach, 0)
        known = np.concatenate([self.past, x])
        self.past = known[len(known) - 2 * self.reach :].copy()
        centre, t = self.reach, len(x)
        total = np.zeros_like(x)
        for n in range(1, self.reach + 1):
            total += n * (known[centre + n : centre + n + t] - known[centre - n : centre - n + t])
        return total / (2 * sum(n * n for n in range(1, self.reach + 1)))


class Activity:
    """Which frames are voice: within ``below`` dB of the loudest so far, and above ``floor`` dBFS.

    release: dB a second by which "the loudest so far" fades, so that a long stream recovers from a
    bang; 0 never forgets. The first frame is always active, so that something is left of silence.
    """

    def __init__(self, below: float, floor: float, release: float, hop: float) -> None:
        self.below, self.floor, self.fade = below, floor, release * hop
        self.peak: float | None = None

    def push(self, level: np.ndarray) -> np.ndarray:
        """Whether each frame is active, (t,) bool; level (t,) in dBFS."""
        if not len(level):
            return np.zeros(0, bool)
        first = self.peak is None
        # max-accumulate of a line that rises as fast as the peak fades gives the fading peak
        rise = self.fade * np.arange(1, len(level) + 1)
        peaks = np.maximum.accumulate(np.maximum(level + rise, -np.inf if first else self.peak)) - rise
        self.peak = float(peaks[-1])
        active = (level > peaks - self.below) & (level > self.floor)
        active[0] |= first
        return active


class RunningNorm:
    """Running mean and variance normalisation (CMVN): by the frames up to and including this one."""

    def __init__(self, prior: float = 1.0) -> None:
        self.prior = prior  # added to the variance (dB²): the first frames are not blown up to noise
        self.n = 0
        self.sum: np.ndarray | float = 0.0
        self.squares: np.ndarray | float = 0.0

    def push(self, x: np.ndarray) -> np.ndarray:
        """Normalised frames (t, d)."""
        if not len(x):
            return x
        wide = x.astype(np.float64)
        n = self.n + np.arange(1, len(x) + 1)[:, None]
        total = self.sum + np.cumsum(wide, 0)
        squares = self.squares + np.cumsum(wide**2, 0)
        self.n, self.sum, self.squares = int(n[-1, 0]), total[-1], squares[-1]
        mean = total / n
        deviation = np.sqrt(np.maximum(squares / n - mean**2, 0.0) + self.prior)
        return ((wide - mean) / deviation).astype(x.dtype)
