"""Causal maps of frame sequences with their state: deltas, voice activity, running normalisation.

Each gives the same result however the frames are cut into blocks. Each comes as a function of many
streams at once, whose state is given and returned, and as an object that is one stream.
"""

from __future__ import annotations

import numpy as np

REACH = 2  # frames to either side that a slope is taken from
PRIOR = 1.0  # added to running variances (dB²): the first frames are not blown up to noise


def slopes(x: np.ndarray, past: np.ndarray, reach: int = REACH) -> tuple[np.ndarray, np.ndarray]:
    """The usual regression deltas, delayed by ``reach`` frames: (b, t, d) of frames x (b, t, d), and the past.

    d_t = Σ_n n (x_{t-reach+n} - x_{t-reach-n}) / (2 Σ_n n²), n = 1 … reach. past (b, 2·reach, d): the
    frames before these; a stream begins with its first frame in all of them.
    """
    known = np.concatenate([past, x], 1)
    centre, t = reach, x.shape[1]
    total = np.zeros_like(x)
    for n in range(1, reach + 1):
        total += n * (known[:, centre + n : centre + n + t] - known[:, centre - n : centre - n + t])
    return total / (2 * sum(n * n for n in range(1, reach + 1))), known[:, t:].copy()


def voiced(level: np.ndarray, peak: np.ndarray, below: float, floor: float, fade: float) -> tuple[np.ndarray, ...]:
    """Which frames are voice, (b, t) bool, and the fading peaks (b,); level (b, t) and peak in dBFS.

    Voice is within ``below`` dB of the loudest so far, which fades by ``fade`` dB a frame, and above
    ``floor``. A peak of -inf is a stream that heard nothing yet; its first frame counts as voice.
    """
    first = np.isneginf(peak)
    # max-accumulate of a line that rises as fast as the peak fades gives the fading peak
    rise = fade * np.arange(1, level.shape[1] + 1)
    peaks = np.maximum.accumulate(np.maximum(level + rise, peak[:, None]), 1) - rise
    active = (level > peaks - below) & (level > floor)
    active[:, 0] |= first
    return active, peaks[:, -1].copy()


def normalised(
    x: np.ndarray, counted: np.ndarray, n: np.ndarray, total: np.ndarray, squares: np.ndarray, prior: float = PRIOR
) -> tuple[np.ndarray, ...]:
    """Running mean and variance normalisation (CMVN) of frames x (b, t, d), and n (b,), sums (b, d) and squares.

    By the counted frames up to and including each one; counted (b, t) bool.
    """
    wide, counts = x.astype(np.float64), counted[..., None]
    n_now = n[:, None] + np.cumsum(counted, 1)
    sums = total[:, None] + np.cumsum(wide * counts, 1)
    sums2 = squares[:, None] + np.cumsum(wide**2 * counts, 1)
    n_safe = np.maximum(n_now, 1)[..., None]
    mean = sums / n_safe
    deviation = np.sqrt(np.maximum(sums2 / n_safe - mean**2, 0.0) + prior)
    return ((wide - mean) / deviation).astype(x.dtype), n_now[:, -1], sums[:, -1].copy(), sums2[:, -1].copy()


class Deltas:
    """Slopes over the last 2·reach + 1 frames of one stream; before the first frame, the first frame."""

    def __init__(self, reach: int = REACH) -> None:
        self.reach = reach
        self.past: np.ndarray | None = None

    def push(self, x: np.ndarray) -> np.ndarray:
        """Slopes (t, d) of frames (t, d)."""
        if not len(x):
            return x
        if self.past is None:
            self.past = np.repeat(x[:1], 2 * self.reach, 0)
        y, past = slopes(x[None], self.past[None], self.reach)
        self.past = past[0]
        return y[0]


class Activity:
    """Which frames of one stream are voice: within ``below`` dB of the loudest so far, and above ``floor`` dBFS.

    release: dB a second by which "the loudest so far" fades, so that a long stream recovers from a
    bang; 0 never forgets. The first frame is always active, so that something is left of silence.
    """

    def __init__(self, below: float, floor: float, release: float, hop: float) -> None:
        self.below, self.floor, self.fade = below, floor, release * hop
        self.peak = np.array([-np.inf])

    def push(self, level: np.ndarray) -> np.ndarray:
        """Whether each frame is active, (t,) bool; level (t,) in dBFS."""
        if not len(level):
            return np.zeros(0, bool)
        active, self.peak = voiced(level[None], self.peak, self.below, self.floor, self.fade)
        return active[0]


class RunningNorm:
    """Running mean and variance normalisation of one stream: by the frames up to and including this one."""

    def __init__(self, prior: float = PRIOR) -> None:
        self.prior = prior
        self.n, self.sum, self.squares = np.zeros(1, np.int64), np.zeros((1, 1)), np.zeros((1, 1))

    def push(self, x: np.ndarray) -> np.ndarray:
        """Normalised frames (t, d)."""
        if not len(x):
            return x
        counted = np.ones((1, len(x)), bool)
        y, self.n, self.sum, self.squares = normalised(x[None], counted, self.n, self.sum, self.squares, self.prior)
        return y[0]
