"""The one-euro filter: a low-pass filter of noisy live values whose cutoff rises with their speed.

Casiez, Roussel & Vogel, "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems",
CHI 2012. With the time dt since the value before:

    alpha(f) = 1 / (1 + 1 / (2 pi f dt))                         the weight of the new value at cutoff f
    speed    = low-pass of (x - filtered) / dt, at derivative_cutoff
    cutoff   = min_cutoff + beta |speed|
    filtered = filtered + alpha(cutoff) (x - filtered)

So values at rest are smoothed strongly, at ``min_cutoff``, and values that move follow with little delay.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe


class OneEuro:
    """Filters arrays of one shape, each element by itself.

    min_cutoff: Hz, of values at rest; lower is smoother. beta: how much the cutoff rises, Hz per unit of speed. Each
    is a number, or an array that broadcasts against the values. derivative_cutoff: Hz, of the speed.
    Attribute filtered: the last result, None before the first value.

    Raises BadRecipe for parameters that are not finite, a cutoff that is not positive, or a negative beta.
    """

    def __init__(self, min_cutoff: Any = 1.0, beta: Any = 0.0, derivative_cutoff: float = 1.0) -> None:
        self.min_cutoff, self.beta = np.asarray(min_cutoff, np.float64), np.asarray(beta, np.float64)
        self.derivative_cutoff = float(derivative_cutoff)
        for name, value, is_zero_good in (
            ("min_cutoff", self.min_cutoff, False), ("beta", self.beta, True),
            ("derivative_cutoff", np.asarray(self.derivative_cutoff), False),
        ):  # fmt: skip
            if not (np.isfinite(value).all() and ((value >= 0) if is_zero_good else (value > 0)).all()):
                raise BadRecipe(f"{name}={value}; expected finite numbers {'from 0' if is_zero_good else 'above 0'}")
        self.filtered: np.ndarray | None = None
        self._speed: Any = 0.0

    def push(self, x: np.ndarray, seconds: float, scale: Any = 1.0) -> np.ndarray:
        """The filtered value, of the shape of ``x``; the first value is its own result.

        seconds: since the value before; values of the same moment (0 or less) count as 1 ms apart. scale: the unit in
        which the speed is measured, such as the size of the object, so that ``beta`` does not depend on it.
        Raises BadData for another shape than before and for values that are not finite; the filter stays as it was.
        """
        x = np.asarray(x, np.float64)
        if not np.isfinite(x).all():
            raise BadData(f"{int((~np.isfinite(x)).sum())} of {x.size} values are NaN or infinite; expected numbers")
        if self.filtered is None:
            self.filtered = x
            return x
        if x.shape != self.filtered.shape:
            raise BadData(f"values of shape {x.shape}; those before were {self.filtered.shape}")
        seconds = max(seconds, _LEAST) if math.isfinite(seconds) else _LEAST
        step = x - self.filtered
        self._speed = self._speed + _alpha(self.derivative_cutoff, seconds) * (step / seconds / scale - self._speed)
        cutoff = self.min_cutoff + self.beta * np.abs(self._speed)
        self.filtered = self.filtered + _alpha(cutoff, seconds) * step
        return self.filtered

    def reset(self) -> None:
        """Forget all values."""
        self.filtered, self._speed = None, 0.0


def _alpha(cutoff: Any, seconds: float) -> Any:
    """The weight of a new value at a cutoff in Hz, between 0 and 1."""
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff * seconds))


_LEAST = 1e-3  # seconds between two values, at least
