"""Causal post-processing of frames: deltas, voice activity and running normalisation, with an explicit state.

The result never depends on how the frames are cut into blocks, so a stream gives what the file gives. NumPy only:
the mfcc encoder and the runtime without torch (:mod:`sensorium.stream.lite`) share this code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

State = tuple[np.ndarray, ...]

REACH = 2  # frames to either side from which a slope is estimated
PRIOR = 1.0  # added to running variances (dB²), so that the first frames are not amplified to noise


def slopes(x: np.ndarray, past: np.ndarray, reach: int = REACH) -> tuple[np.ndarray, np.ndarray]:
    """Regression deltas, delayed by ``reach`` frames: (b, t, d) of frames x (b, t, d), and the new past.

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
    """Voice activity by level: which frames are voice, (b, t) bool, and the fading peaks (b,).

    level (b, t) and peak (b,) in dBFS; a peak of -inf is a stream without a frame so far. Voice is within
    ``below`` dB of the loudest frame so far, which fades by ``fade`` dB a frame, and above ``floor``.
    """
    # max-accumulate of a line that rises as fast as the peak fades gives the fading peak
    rise = fade * np.arange(1, level.shape[1] + 1)
    peaks = np.maximum.accumulate(np.maximum(level + rise, peak[:, None]), 1) - rise
    return (level > peaks - below) & (level > floor), peaks[:, -1].copy()


def normalised(
    x: np.ndarray, counted: np.ndarray, n: np.ndarray, total: np.ndarray, squares: np.ndarray
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
    deviation = np.sqrt(np.maximum(sums2 / n_safe - mean**2, 0.0) + PRIOR)
    return ((wide - mean) / deviation).astype(x.dtype), n_now[:, -1], sums[:, -1].copy(), sums2[:, -1].copy()


def columns(arguments: Mapping[str, Any]) -> int:
    """Columns of a frame before deltas, by the arguments of an mfcc encoder."""
    counts = {"n_mfcc": 1, "n_mels": arguments["mels"], "energy": 1, "pitch": 2, "shape": 3}
    return sum(int(arguments[key]) * count for key, count in counts.items())


class Frames(NamedTuple):
    """Frames x (b, t, d); counted (b, t), false for dropped silence; voice (b, t), None without a level."""

    x: np.ndarray
    counted: np.ndarray
    voice: np.ndarray | None
    state: State


@dataclass(frozen=True)
class Causal:
    """The causal chain of the mfcc encoder: deltas, then dropped or marked silence, then running CMVN.

    width: columns of a base frame. deltas: 0, 1 or 2 orders of slopes appended. silence: "keep", "mark" or
    "drop". below (dB), floor (dBFS), fade (dB a frame): see :func:`voiced`. running: whether to normalise.
    """

    width: int
    deltas: int
    silence: str
    below: float
    floor: float
    fade: float
    running: bool

    @classmethod
    def of(cls, arguments: Mapping[str, Any], seconds: float) -> Causal:
        """The chain of the arguments of an mfcc encoder; ``seconds`` from frame to frame."""
        return cls(columns(arguments), arguments["deltas"], arguments["silence"], arguments["silence_db"],
                   arguments["silence_floor"], arguments["silence_release"] * seconds,
                   arguments["cmvn"] == "running")  # fmt: skip

    @property
    def dim(self) -> int:
        """Width d of a finished frame."""
        return self.width * (1 + self.deltas) + (self.silence == "mark")

    def start(self, b: int = 1) -> State:
        """The state of b new streams: frames so far, peaks, past frames of each order of deltas, running sums."""
        pasts = [np.zeros((b, 2 * REACH, self.width), np.float32) for _ in range(self.deltas)]
        wide = self.width * (1 + self.deltas)
        sums = (np.zeros(b, np.int64), np.zeros((b, wide)), np.zeros((b, wide))) if self.running else ()
        return (np.zeros(b, np.int64), np.full(b, -np.inf), *pasts, *sums)

    def step(self, base: np.ndarray, level: np.ndarray | None, state: State) -> Frames:
        """t more frames of b streams: base (b, t, width) and their level (b, t) in dBFS, t of 1 or more.

        level may be None where silence is neither dropped nor marked; there is no ``voice`` then. With "drop" and
        "mark" the first frame of a stream counts whatever its level is, so that a silent recording keeps a frame.
        """
        n, peak, *rest = state
        b, t = base.shape[:2]
        new, voice, parts, pasts = n == 0, None, [base], []
        counted, active = np.ones((b, t), bool), None
        if level is not None:
            voice, peak = voiced(level, peak, self.below, self.floor, self.fade)
            active = voice.copy()
            active[:, 0] |= new
            counted = active if self.silence == "drop" else counted
        for past in rest[: self.deltas]:
            past = np.where(new[:, None, None], parts[-1][:, :1], past) if new.any() else past
            slope, past = slopes(parts[-1], past)
            parts.append(slope)
            pasts.append(past)
        x, sums = np.concatenate(parts, 2) if len(parts) > 1 else base, ()
        if self.running:
            x, *sums = normalised(x, counted, *rest[self.deltas :])
        if self.silence == "mark":
            x = np.concatenate([x, active[..., None].astype(np.float32)], 2)
        return Frames(x, counted, voice, (n + t, peak, *pasts, *sums))
