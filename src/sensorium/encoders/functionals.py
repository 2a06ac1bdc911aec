"""A voice as 1,378 statistics of its cepstra, pitch, energy and spectral shape, without any download or training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from typing import Any, ClassVar, NamedTuple

import numpy as np

from sensorium import parts
from sensorium.contracts import Encoder
from sensorium.errors import BadRecipe, require
from sensorium.modalities.audio import files
from sensorium.numerics import threads
from sensorium.numerics.head_constants import LAGS

#: Settings of the frames, which are those of the recipe ravdess-best: 26 columns and their slopes.
FRAMES = {"n_mfcc": 20, "n_mels": 64, "energy": True, "pitch": True, "shape": True, "deltas": 1, "silence": "drop"}
COLUMNS = (*(f"mfcc {k}" for k in range(20)), "energy", "log pitch", "voicing", "centroid", "tilt", "flatness")
#: Mean and deviation of each column, and deviation of its slope, over the frames of RAVDESS's actors 1 to 8 at -26
#: dBFS. Any constants near these do: others, a deviation away, changed the accuracy in emotions by less than a point.
MEANS = (-313, 60.4, -4.98, 14, -7.67, -5.8, -11.7, -8.4, -5.89, -3.73, -5.71, -3.39, -4, -3.2, -4.35, -3.75, -2.18,
         -2.37, -3.06, -1.88, -32.6, 0.41, 0.682, -0.441, -1.73, -4.89)  # fmt: skip
DEVIATIONS = (80.9, 48.1, 31.1, 24.1, 22.9, 15.8, 14.6, 13.1, 12.7, 11.9, 11.5, 11.7, 10.8, 11, 10, 10, 9.97, 9.81, 9.6,
              9.3, 10.3, 0.464, 0.275, 1.06, 2.75, 2.04)  # fmt: skip
SLOPES = (18.1, 8.64, 5.86, 4.15, 4.14, 3.16, 3.26, 2.89, 2.52, 2.43, 2.43, 2.39, 2.32, 2.31, 2.27, 2.25, 2.23, 2.2,
          2.2, 2.17, 2.32, 0.0966, 0.0652, 0.237, 0.595, 0.441)  # fmt: skip
LOUD = 10**-3.5  # power of the quietest block that counts for the level, as a share of the loudest one's
BLOCK = 400  # samples
_TOGETHER = 1 << 15  # frames of which sums are made in one go
_MOST = 100  # levels


class Functionals(Encoder):
    """The utterance statistics of the head ``statistics`` as one vector a recording, for heads of vectors.

    levels: of the soft histogram of each column; 0 for none.
    relations: correlations between columns, and autocorrelations at 50, 100 and 200 ms.
    level: dBFS to which the voice of a recording is brought first, -80 or above; 0 leaves recordings unchanged.

    Frames of 25 ms every 10 ms at 16 kHz, without those 35 dB below the loudest so far: 20 cepstra, energy, pitch,
    voicing, centroid, tilt, flatness, and their slopes. Of each column: mean, deviation, mean magnitude, soft
    histogram, and the means of the first half second, the next one, and the last ones. The frames are standardised by
    constants, where the head does so by the training frames. Scales differ: a head after it should have
    preprocess=standardize. A recording's statistics are computed alone, so its companions change nothing.

    Raises BadRecipe for levels beyond 0 to 100, or a level beyond -80 to 0.
    """

    takes: ClassVar[str] = "audio"
    batch: ClassVar[int] = 256
    sample_rate: ClassVar[int] = files.RATE
    taken_from: ClassVar[str] = "statistics of 52 measures of the recording's frames of 25 ms every 10 ms"

    def __init__(self, levels: int = 5, relations: bool = True, level: float = -26.0) -> None:
        if not 0 <= levels <= _MOST:
            raise BadRecipe(f"functionals: levels={levels!r}; expected 0 to {_MOST}")
        if not -80 <= level <= 0:
            raise BadRecipe(f"functionals: level={level!r}; expected -80 to 0 dBFS, 0 to leave recordings unchanged")
        self.levels, self.relations, self.level = int(levels), bool(relations), float(level)
        self._frames = parts.make("encoders", {"name": "mfcc", **FRAMES}, "functionals.frames")

    @property
    def dim(self) -> int:
        """Width of a vector: the number of statistics."""
        each, pairs = len(COLUMNS), len(COLUMNS) * (len(COLUMNS) - 1)
        return 2 * each * (6 + self.levels) + (pairs + 2 * each * len(LAGS)) * self.relations

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors."""
        return {"name": "functionals", "revision": 1, "frames": dict(self._frames.fingerprint), "levels": self.levels,
                "relations": self.relations, "level": self.level}  # fmt: skip

    @property
    def names(self) -> list[str]:
        """What each number is, such as "mfcc 1: mean" or "energy, log pitch: correlation"."""
        columns = [*COLUMNS, *(f"slope of {name}" for name in COLUMNS)]
        shares = [f"share above level {k + 1} of {self.levels}" for k in range(self.levels)]
        which = ["mean", "deviation", "magnitude", *shares, "mean of the first 0.5 s", "mean of the next 0.5 s",
                 "fading mean"]  # fmt: skip
        found = [f"{name}: {what}" for what in which for name in columns]
        if self.relations:
            blocks = columns[: len(COLUMNS)], columns[len(COLUMNS) :]
            found += [f"{a}, {b}: correlation" for block in blocks for a, b in combinations(block, 2)]
            found += [f"{name}: autocorrelation at {10 * lag} ms" for lag in LAGS for name in columns]
        return found

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Vectors (n, d) float32 of paths or ``(samples, rate)``. Raises BadData for what cannot be read."""
        import torch

        frames = self._frames.encode([_Levelled(value, self.level) for value in values] if self.level else values)
        found = threads.each(self._pooled, frames, torch)
        return np.stack(found) if found else np.zeros((0, self.dim), np.float32)

    def _pooled(self, frames: np.ndarray) -> np.ndarray:
        """Statistics (d,) of the frames (t, 52) of one recording, by running sums over parts of it."""
        import torch

        mean, scale = standardisation()
        found = []
        with torch.inference_mode():
            parted = torch.from_numpy((frames - mean) * scale).split(_TOGETHER)
            for part in self._pool:
                state = part.start(1)
                for some in parted:
                    made, state = part.advance(some[None], torch.tensor([len(some)]), state)
                found.append(made[0])
        return torch.cat(found).numpy()

    @cached_property
    def _pool(self) -> list[Any]:
        require("torch", "audio")
        from sensorium.numerics.pooling import Relations, Statistics

        width = 2 * len(COLUMNS)
        made = [Statistics(width, self.levels), *([Relations(width, 2)] if self.relations else [])]
        return [part.eval() for part in made]


class _Levelled(NamedTuple):
    """A recording whose voice is brought to a level where ``files.read`` reads it."""

    value: Any
    level: float

    def samples(self, rate: int) -> np.ndarray:
        """Mono float32 samples (n,) at ``rate`` Hz."""
        x = files.read(self.value, rate)
        found = voice_level(x)
        return x * np.float32(10.0 ** ((self.level - found) / 20.0)) if np.isfinite(found) else x


def voice_level(samples: np.ndarray) -> float:
    """Level of the voice in samples (n,), dBFS RMS over the blocks of 25 ms at most 35 dB below the loudest.

    -inf for silence. Its purpose is that of the active speech level of ITU-T P.56, its method is simpler.

    >>> t = np.arange(16_000) / 16_000
    >>> round(voice_level(np.sin(2 * np.pi * 400 * t)), 2)
    -3.01
    """
    blocks = np.pad(samples, (0, -len(samples) % BLOCK)).reshape(-1, BLOCK)
    power = np.square(blocks, dtype=np.float64).mean(1)
    loud = power[power >= LOUD * power.max()]
    return float(10 * np.log10(loud.mean())) if loud.mean() > 0 else -np.inf


def standardisation() -> tuple[np.ndarray, np.ndarray]:
    """What is taken from each of the 52 columns, and what it is multiplied by, float32."""
    mean = np.concatenate([MEANS, np.zeros(len(COLUMNS))])
    return mean.astype(np.float32), (1 / np.concatenate([DEVIATIONS, SLOPES])).astype(np.float32)
