"""Which steps of sound are more than steady background: louder than the noise floor, or periodic as a voice is.

A level alone cannot tell: the noise of a quiet room is the loudest there is until somebody speaks. NumPy alone.
A recording that begins within a word whose pitch moves fast is speech from its first dip in level on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.modalities.audio.pitch import HIGH, LOW

RISE = 6.0  # dB over the noise floor
FLOOR_SECONDS = 2.0  # the quietest step of so many seconds is the floor (minimum statistics: Martin 2001)
PERIODIC = 0.5  # correlation with the signal one period before, of the differenced signal
_SILENT = 1e-12  # power added, so that silence has a level


def levels(samples: np.ndarray) -> np.ndarray:
    """Levels (b,) in dB of steps of samples (b, n), of differences between neighbours: rumble and hum hardly count."""
    steps = samples[:, 1:] - samples[:, :-1]
    return 10.0 * np.log10(np.einsum("bn,bn->b", steps, steps) / max(1, steps.shape[1]) + _SILENT)


def periodicity(samples: np.ndarray, rate: int) -> np.ndarray:
    """Largest normalised autocorrelation (b,) of steps of samples (b, n) at lags of 60 to 500 Hz; 0 for short ones.

    Of differences between neighbours, as for the level: rumble correlates at every lag.
    """
    x = np.diff(np.asarray(samples, np.float64), axis=1)
    n, first, end = x.shape[1], int(rate / HIGH), int(rate / LOW)
    end = min(end, n // 2)
    if end <= first + 1:
        return np.zeros(len(x))
    spectrum = np.fft.rfft(x, 1 << (n + end - 1).bit_length(), axis=1)
    found = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, axis=1)[:, first:end]
    energy = np.cumsum(x**2, 1)
    lags = np.arange(first, end)
    head, tail = energy[:, n - 1 - lags], energy[:, -1:] - energy[:, lags - 1]
    return (found / (np.sqrt(head * tail) + _SILENT)).max(1)


def is_speech(
    samples: np.ndarray, rate: int, before: Sequence[Sequence[float]], level: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """Which steps (b,) of samples (b, n) may be speech. level (b,): theirs; before: levels of the steps before each.

    asked (b,): which of them are to be looked at; the others are not speech.
    """
    floor = np.array([min(one, default=np.inf) for one in before])
    found = asked & (level - np.minimum(floor, level) >= RISE)
    rest = np.flatnonzero(asked & ~found)
    if len(rest):
        found[rest] = periodicity(samples[rest], rate) >= PERIODIC
    return found
