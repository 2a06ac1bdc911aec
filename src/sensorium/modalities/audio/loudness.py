"""Loudness of a recording in LUFS, by Recommendation ITU-R BS.1770-4: K-weighting, blocks of 400 ms, two gates."""

from __future__ import annotations

import functools
import math

import numpy as np

ABSOLUTE, RELATIVE = -70.0, -10.0  # gates: LUFS, and LU below the loudness of what passes the first
SEGMENTS = 4  # of 100 ms in a block; blocks overlap by three of them
_OFFSET = -0.691  # dB, so that a sine of 997 Hz at full scale in one channel has -3.01 LUFS


def weights(channels: int) -> np.ndarray:
    """Weight (channels,) of each channel, in the order L R C, surround; L R C LFE, surround with six."""
    if channels == 6:
        return np.array([1.0, 1.0, 1.0, 0.0, 1.41, 1.41])
    return np.array([1.0 if at < 3 else 1.41 for at in range(channels)])


@functools.lru_cache(16)
def k_weighting(rate: int) -> np.ndarray:
    """Second-order sections (2, 6) of the K-weighting filter at ``rate`` Hz: a high shelf, then a high pass.

    At 48 kHz these are the coefficients of the Recommendation; at other rates the same analogue filters by the
    bilinear transform, as in libebur128.
    """
    k, q, gain = math.tan(math.pi * 1681.974450955533 / rate), 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    bent, low = gain**0.4996667741545416, 1 + k / q + k * k
    shelf = [(gain + bent * k / q + k * k) / low, 2 * (k * k - gain) / low, (gain - bent * k / q + k * k) / low,
             1.0, 2 * (k * k - 1) / low, (1 - k / q + k * k) / low]  # fmt: skip
    k, q = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    low = 1 + k / q + k * k
    return np.array([shelf, [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / low, (1 - k / q + k * k) / low]])


def integrated(energy: np.ndarray, samples: np.ndarray) -> float:
    """Integrated loudness of segments of 100 ms: their weighted energies (t,) and numbers of samples (t,).

    Of a recording shorter than a block, all of it is one block. NaN where no block passes the gate of -70 LUFS.
    """
    if not len(energy):
        return math.nan
    size = min(SEGMENTS, len(energy))
    total, count = (np.convolve(column, np.ones(size), "valid") for column in (energy, samples.astype(np.float64)))
    power = total / count
    passed = power[_lufs(power) > ABSOLUTE]
    if not len(passed):
        return math.nan
    passed = passed[_lufs(passed) > _lufs(passed.mean()) + RELATIVE]
    return float(_lufs(passed.mean()))


def _lufs(power: np.ndarray) -> np.ndarray:
    return _OFFSET + 10 * np.log10(np.maximum(power, 1e-30))
