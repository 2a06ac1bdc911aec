"""Short-time spectra: power, decibels, pitch and spectral shape of frames, in torch."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from sensorium import mel
from sensorium.mel import FLOOR

_SHARP = 200.0  # of the soft maximum over lags
_SLOPE = 1e-3  # of correlation a sample of lag


@functools.lru_cache(16)
def mel_filters(n_mels: int, fft: int, rate: int, fmin: float, fmax: float) -> Tensor:
    """:func:`sensorium.mel.filters` as a tensor (fft // 2 + 1, n_mels) float64."""
    return torch.from_numpy(mel.filters(n_mels, fft, rate, fmin, fmax))


@functools.lru_cache(16)
def dct(n_in: int, n_out: int) -> Tensor:
    """:func:`sensorium.mel.dct` as a tensor (n_in, n_out) float64."""
    return torch.from_numpy(mel.dct(n_in, n_out))


@functools.lru_cache(16)
def hann(size: int) -> Tensor:
    """Periodic Hann window, (size,)."""
    return torch.hann_window(size, periodic=True)


def power(frames: Tensor, fft: int) -> Tensor:
    """Power spectra (t, fft // 2 + 1) of frames (t, size), Hann-windowed and zero-padded to ``fft``."""
    spectrum = torch.view_as_real(torch.fft.rfft(frames * hann(frames.shape[1]), n=fft))
    return spectrum.square_().sum(-1)


def decibels(power: Tensor) -> Tensor:
    """10 log10 with librosa's floor, and no ceiling relative to the clip's maximum, which cannot stream."""
    return power.clamp_min(FLOOR).log10_().mul_(10.0)


def pitch(frames: Tensor, rate: int, low: float = 60.0, high: float = 500.0) -> Tensor:
    """Pitch and voicing of frames (t, size) by normalised autocorrelation (Boersma 1993), (t, 2).

    Columns: natural logarithm of pitch / 150 Hz; voicing from 0 to 1, which says how far to believe it.
    The size must hold at least two periods of ``low`` Hz.
    """
    size = frames.shape[1]
    window = hann(size)
    fft = 1 << (2 * size - 1).bit_length()
    centred = (frames - frames.mean(1, keepdim=True)) * window
    first, last = int(rate / high), min(math.ceil(rate / low), size // 2 + size // 4)
    auto = _autocorrelation(centred, fft)
    own = _autocorrelation(window[None], fft)
    lags = torch.arange(first, last)
    # 1e-6 keeps silence unvoiced.
    ratio = (auto[:, first:last] / (auto[:, :1] + 1e-6)) / (own[:, first:last] / own[:, :1])
    ratio = ratio.clamp(-1.0, 1.0)
    # A soft maximum: a hard one would jump octaves between a stream and its file on a rounding error.
    # The slope prefers the shortest of equal periods.
    weight = torch.softmax(_SHARP * (ratio - _SLOPE * torch.arange(len(lags))), 1)
    return torch.stack([weight @ torch.log(rate / lags / 150.0), (weight * ratio).sum(1).clamp_min(0.0)], 1)


def _autocorrelation(x: Tensor, fft: int) -> Tensor:
    spectrum = torch.view_as_real(torch.fft.rfft(x, n=fft))
    return torch.fft.irfft(spectrum.square().sum(-1), n=fft)


def shape(power: Tensor, rate: int) -> Tensor:
    """Shape of power spectra (t, f), (t, 3).

    Columns: ln(centroid in Hz) - 7; ln(energy above / below 1 kHz); ln(flatness), 0 for white noise.
    """
    hz = torch.linspace(0.0, rate / 2, power.shape[1])
    total = power.sum(1) + FLOOR
    split = int(torch.searchsorted(hz, 1000.0))
    tilt = torch.log((power[:, split:].sum(1) + FLOOR) / (power[:, :split].sum(1) + FLOOR))
    flatness = (power + FLOOR).log().mean(1) - torch.log(total / power.shape[1])
    return torch.stack([torch.log((power @ hz) / total + 1.0) - 7.0, tilt, flatness], 1)
