"""Floats narrower than NumPy's own, widened to float32, which holds each of their values."""

from __future__ import annotations

import numpy as np


def bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 as uint16 bits: the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def float8_e4m3(bits: np.ndarray) -> np.ndarray:
    """float8 of 4 exponent and 3 mantissa bits, bias 7, without infinities (e4m3fn), as uint8 bits."""
    return _E4M3[bits]


def float8_e5m2(bits: np.ndarray) -> np.ndarray:
    """float8 of 5 exponent and 2 mantissa bits: the upper half of a float16."""
    return (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)


def _e4m3() -> np.ndarray:
    bits = np.arange(256)
    exponent, mantissa = (bits >> 3) & 15, bits & 7
    size = np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7))
    size[(bits & 127) == 127] = np.nan
    return np.where(bits & 128, -size, size).astype(np.float32)


_E4M3 = _e4m3()
