"""The mel scale, its filters and the DCT as NumPy arrays: shared by training, streaming and the NumPy runtime."""

from __future__ import annotations

import math

import numpy as np

FLOOR = 1e-10  # of power before the logarithm, as librosa's amin


def hz_to_mel(hz: np.ndarray | float) -> np.ndarray:
    """Slaney's mel scale (Auditory Toolbox 1998): linear to 1 kHz, logarithmic above."""
    hz = np.asarray(hz, np.float64)
    return np.where(hz >= 1000.0, 15.0 + np.log(np.maximum(hz, 1.0) / 1000.0) * 27.0 / math.log(6.4), hz * 3.0 / 200.0)


def mel_to_hz(mel: np.ndarray | float) -> np.ndarray:
    """The inverse of :func:`hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    return np.where(mel >= 15.0, 1000.0 * np.exp((mel - 15.0) * math.log(6.4) / 27.0), mel * 200.0 / 3.0)


def bins(fft: int, rate: int) -> np.ndarray:
    """Frequency of each bin of a spectrum, (fft // 2 + 1,) Hz float64; of an odd ``fft`` the last is below rate / 2."""
    return np.arange(fft // 2 + 1) * (rate / fft)


def filters(n_mels: int, fft: int, rate: int, fmin: float, fmax: float) -> np.ndarray:
    """Triangular filters of equal area, (fft // 2 + 1, n_mels) float64, as librosa's ``norm="slaney"``."""
    edge = mel_to_hz(np.linspace(hz_to_mel(fmin), hz_to_mel(fmax), n_mels + 2))
    hz = bins(fft, rate)[:, None]
    rising = (hz - edge[:-2]) / (edge[1:-1] - edge[:-2])
    falling = (edge[2:] - hz) / (edge[2:] - edge[1:-1])
    area = 2.0 / (edge[2:] - edge[:-2])
    return np.maximum(0.0, np.minimum(rising, falling)) * area


def dct(n_in: int, n_out: int) -> np.ndarray:
    """Orthonormal DCT-II as a matrix (n_in, n_out), float64."""
    k, i = np.arange(n_out), np.arange(n_in)[:, None]
    basis = np.cos(np.pi * k * (2 * i + 1) / (2 * n_in)) * math.sqrt(2.0 / n_in)
    basis[:, 0] /= math.sqrt(2.0)
    return basis
