"""Constants of pitch by normalised autocorrelation, for the torch and the NumPy implementation alike."""

from __future__ import annotations

import math

SECONDS = 0.05  # of signal that pitch is taken from: three periods of LOW
LOW, HIGH = 60.0, 500.0  # Hz
REFERENCE = 150.0  # Hz: of log pitch
SHARP = 200.0  # of the soft maximum over lags
SLOPE = 1e-3  # of correlation a sample of lag: of equal periods the shortest wins
QUIET = 1e-6  # added to the energy of a frame: silence stays unvoiced


def lags(size: int, rate: int) -> tuple[int, int]:
    """First lag and end of lags, in samples, that are looked at in frames of ``size`` samples at ``rate`` Hz."""
    return int(rate / HIGH), min(math.ceil(rate / LOW), size // 2 + size // 4)
