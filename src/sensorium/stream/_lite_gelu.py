"""The activation GELU in NumPy, for :mod:`sensorium.stream.lite`."""

from __future__ import annotations

import numpy as np


def gelu(x: np.ndarray) -> np.ndarray:
    """x Φ(x), within 1e-6: the error function of Abramowitz & Stegun 7.1.26, which is exact to 1.5e-7."""
    wide = x.astype(np.float64)
    s = np.abs(wide) / np.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * s)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(wide) * (1.0 - series * np.exp(-s * s))
    return (0.5 * wide * (1.0 + erf)).astype(np.float32)
