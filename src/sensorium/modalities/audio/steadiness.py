"""Steadiness of a recording: whether the level, pitch and timbre of its two halves are those of one emotion.

A clip whose emotion changes midway is a bad prompt for text to speech. The measure needs no labels and hears no words.
"""

from __future__ import annotations

import math

import numpy as np

from sensorium.modalities.audio import pitch

RATE = 8_000  # Hz that pitch and timbre are taken at, or a little above
LONGEST = 60.0  # seconds that are looked at
_HOP = 0.025  # seconds
_LEAST = 12  # active frames of a half, below which nothing is said
_VOICED = 0.5  # normalised autocorrelation from which a frame is voiced
#: First half less second half: median and standard deviation over 180 recordings of one emotion each (RAVDESS, actors
#: 1 to 6), of the median and the 80th percentile of level (dB), pitch (semitones) and brightness (dB above 1 kHz).
MEANS = (-2.12, 0.84, 2.57, 2.48, 5.22, 9.04)
SCALES = (4.74, 3.52, 2.60, 4.80, 4.33, 5.62)


def steadiness(samples: np.ndarray, rate: int, active: np.ndarray) -> float:
    """1 for a recording whose halves are alike, towards 0 for one that changes; NaN where it is too short to say.

    samples (n,): mono. active (t,): which hops of 10 ms are not silence. The first half of the active frames is
    compared with the second in six numbers, see :data:`MEANS`, each less its usual value and over its standard
    deviation, as voices fall towards the end of a sentence. With d their root mean square the value is exp(-d / 2).
    """
    level, tone, bright, there = _frames(samples, rate, active)
    half = int(there.sum()) // 2
    if half < _LEAST:
        return math.nan
    found = []
    for at, values in enumerate((level[there], tone[there], bright[there])):
        first, second = values[:half], values[-half:]
        first, second = first[np.isfinite(first)], second[np.isfinite(second)]
        if min(len(first), len(second)) < _LEAST // 4:
            continue  # whispered: no pitch
        for place, share in enumerate((50, 80)):
            difference = float(np.percentile(first, share) - np.percentile(second, share))
            found.append((difference - MEANS[2 * at + place]) / SCALES[2 * at + place])
    return math.exp(-math.sqrt(float(np.mean(np.square(found)))) / 2)


def _frames(samples: np.ndarray, rate: int, active: np.ndarray) -> tuple[np.ndarray, ...]:
    """Level in dB, pitch in semitones (NaN unvoiced), brightness in dB, and activity of each frame (f,)."""
    step = max(1, rate // RATE)
    samples = samples[: int(LONGEST * rate)]
    x = samples[: len(samples) // step * step].reshape(-1, step).mean(axis=1, dtype=np.float32)
    rate = rate // step
    size, hop = int(pitch.SECONDS * rate), max(1, int(_HOP * rate))
    if len(x) < size:
        return (np.zeros(0),) * 3 + (np.zeros(0, bool),)
    frames = np.lib.stride_tricks.sliding_window_view(x, size)[::hop]
    frames = (frames - frames.mean(axis=1, keepdims=True)) * np.hanning(size).astype(np.float32)
    energy = np.square(frames).sum(axis=1)
    spectrum = np.square(np.abs(np.fft.rfft(frames, 2 * size)))
    low, high = pitch.lags(size, rate)
    correlation = np.fft.irfft(spectrum)[:, :size]
    window = np.fft.irfft(np.square(np.abs(np.fft.rfft(np.hanning(size), 2 * size))))[:size]
    normal = correlation / np.maximum(correlation[:, :1], 1e-12) / np.maximum(window / window[0], 1e-3)
    span = normal[:, low:high] - 2e-4 * np.arange(high - low)
    best = span.argmax(axis=1)
    voiced = span[np.arange(len(span)), best] > _VOICED
    tone = np.where(voiced, 12 * np.log2(rate / (low + best) / pitch.REFERENCE), np.nan)
    edge = int(1000 / (rate / (2 * size)))
    bright = 10 * np.log10((spectrum[:, edge:].sum(1) + 1e-9) / (spectrum[:, 1:edge].sum(1) + 1e-9))
    middle = np.minimum((np.arange(len(frames)) * hop + size / 2) / rate * 100, max(0, len(active) - 1)).astype(
        np.int64
    )
    there = active[middle] if len(active) else np.zeros(len(frames), bool)
    return 10 * np.log10(energy / size + 1e-10), tone, bright, there
