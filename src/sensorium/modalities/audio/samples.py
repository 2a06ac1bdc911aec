"""Samples as arrays: accepted types, their scale, what is refused. One rule for recordings and for streams."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.errors import BadData

LOUDEST = 1000.0  # times full scale, of float samples; beyond it they are integers of some format, or damaged
_WIDEST = 2  # bytes of an integer whose type says its full scale


def as_array(samples: Any, name: str = "samples") -> np.ndarray:
    """Samples as an array. Raises BadData where they make none, such as rows of unequal length."""
    try:
        return np.asarray(samples)
    except ValueError as error:
        raise BadData(f"{name} are no array of numbers ({error}); expected (n,) float32 or int16") from None


def as_rate(rate: Any, name: str = "") -> int:
    """A sampling rate as an integer. Raises BadData for anything but a whole number."""
    if (
        isinstance(rate, (int, float, np.integer, np.floating))
        and not isinstance(rate, bool)
        and np.isfinite(rate)
        and rate == int(rate)
    ):
        return int(rate)
    raise BadData(f"{name}{': ' if name else ''}sampling rate {rate!r}; expected a whole number of Hz, such as 48000")


def to_float(samples: np.ndarray, name: str = "samples") -> np.ndarray:
    """Samples of any shape as float32, where full scale is 1.

    Integers of 8 and 16 bits are divided by the full scale of their type; unsigned ones are offset binary.
    Raises BadData for NaN and infinity, for floats beyond ``LOUDEST``, and for every other type. int32 and
    int64 are refused because arrays of them hold samples of 16, 24 and 32 bits: scaled by their type, 16-bit
    samples would be near-silence.
    """
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind in "iu" and size <= _WIDEST:
        half = 2.0 ** (8 * size - 1)
        if kind == "u":
            return ((samples.astype(np.float64) - half) / half).astype(np.float32)
        return samples * np.float32(1 / half)  # exact: float32 holds all of them
    if kind in "iu":
        raise BadData(
            f"{name}: samples of type {samples.dtype}, whose full scale is unknown; send 16-bit samples as int16 "
            "(samples.astype('int16')), or floats between -1 and 1 (32-bit samples: samples / 2**31)"
        )
    if kind != "f":
        raise BadData(f"{name}: samples of type {samples.dtype}; expected numbers: float between -1 and 1, or int16")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        samples = np.asarray(samples, np.float32)
    if not samples.size:
        return samples
    # NaN and infinity go through maximum and minimum, which are several times faster than a test of each sample.
    largest = max(float(samples.max()), -float(samples.min()))
    if largest <= LOUDEST:
        return samples
    if bad := int(np.count_nonzero(~np.isfinite(samples))):
        raise BadData(
            f"{name}: {bad} of {samples.size} samples are NaN or infinite; expected finite numbers between -1 and 1"
        )
    raise BadData(
        f"{name}: samples up to {largest:.3g} times full scale; expected float samples between -1 and 1. If they are "
        "16-bit integers, send them as int16 or divide them by 32768"
    )
