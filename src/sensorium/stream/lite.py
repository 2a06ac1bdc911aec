"""Streaming inference in NumPy alone, without torch: features and head of a fitted speech run, for small devices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadRecipe
from sensorium.modalities.audio import mel, pitch
from sensorium.modalities.audio.causal import Causal
from sensorium.modalities.audio.framing import Framer, Geometry
from sensorium.numerics import unit
from sensorium.stream._lite_heads import HEADS


class Lite:
    """One stream through a saved head and the encoder it was fitted on.

    >>> lite = Lite("runs/ravdess/left")                       # doctest: +SKIP
    >>> for chunk in chunks:                                   # doctest: +SKIP
    ...     logits = lite.push(chunk)                          # (k, c), one row per new frame

    The outputs equal those of the torch parts to 1e-5. Raises BadRecipe for heads or encoders other
    than lstm, gru, statistics, tcn and mfcc; Corrupt when the files are damaged.
    """

    def __init__(self, stem: Path | str) -> None:
        from safetensors.numpy import load

        stem = Path(stem)
        saved = io.read_json(stem.with_name(stem.name + ".json"))
        path = stem.with_name(stem.name + ".safetensors")
        io.verify(path, saved["checksum"], "fit the head again, or restore both of its files")
        if saved["name"] not in HEADS or saved["encoder"].get("name") != "mfcc":
            raise BadRecipe(f"{stem}: head '{saved['name']}' on '{saved['encoder'].get('name')}'; without torch only "
                            f"{', '.join(HEADS)} on mfcc run")  # fmt: skip
        self.weights, self.arguments = load(path.read_bytes()), saved["arguments"]
        self.features = Features(saved["encoder"])
        self.head = HEADS[saved["name"]](self.weights, self.arguments, saved["dim_in"])

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """Logits (k, c) after each frame that these samples (n,) complete; ``last`` ends the stream."""
        return self._read(self.features.push(samples, last))

    def _read(self, x: np.ndarray) -> np.ndarray:
        if "preprocess.mean" in self.weights:
            x = x - self.weights["preprocess.mean"]
        if "preprocess.scale" in self.weights:
            x = x * self.weights["preprocess.scale"]
        if "preprocess.matrix" in self.weights:
            x = x @ self.weights["preprocess.matrix"]
        if self.arguments["preprocess"] == "unit":
            x = unit(x)
        z = self.head(x.astype(np.float32))
        return unit(z) if self.arguments["normalize"] else z


class Features:
    """Causal frames of one stream, as the ``mfcc`` encoder of this fingerprint makes them."""

    def __init__(self, wants: Mapping[str, Any]) -> None:
        self.wants, self.rate = wants, int(wants["rate"])
        self.size, hop, self.span = Geometry.of(wants)
        self.framer = Framer(self.span, hop, self.span - self.size)
        self.causal = Causal.of(wants, hop / self.rate)
        self.state = self.causal.start(1)
        top = wants["fmax"] or self.rate / 2
        self.filters = mel.filters(wants["n_mels"], wants["fft"], self.rate, wants["fmin"], top)
        self.dct = mel.dct(wants["n_mels"], wants["n_mfcc"]) if wants["n_mfcc"] else None

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """New frames (k, d) of samples (n,)."""
        frames = self.framer.push(np.asarray(samples, np.float32))
        if last and not len(frames):
            frames = self.framer.finish()
        if not len(frames):
            return np.zeros((0, self.causal.dim), np.float32)
        base, level = self._spectra(frames)
        x, counted, _, self.state = self.causal.step(base[None], level[None], self.state)
        return x[0][counted[0]]

    def _spectra(self, long: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wants, short = self.wants, long[:, self.span - self.size :]
        level = _decibels((short.astype(np.float64) ** 2).mean(1))
        power = np.abs(np.fft.rfft(short * _hann(self.size), wants["fft"])) ** 2
        parts = []
        if wants["n_mfcc"] or wants["mels"]:
            mels = _decibels(power @ self.filters)
            parts += [mels @ self.dct] if wants["n_mfcc"] else []
            parts += [mels] if wants["mels"] else []
        if wants["energy"]:
            parts.append(level[:, None])
        if wants["pitch"]:
            parts.append(self._pitch(long))
        if wants["shape"]:
            parts.append(self._shape(power))
        return np.concatenate(parts, 1).astype(np.float32), level.astype(np.float32)

    def _pitch(self, frames: np.ndarray) -> np.ndarray:
        """As :func:`sensorium.modalities.audio.spectra.pitch`."""
        size = frames.shape[1]
        window = _hann(size)
        fft = 1 << (2 * size - 1).bit_length()
        first, last = pitch.lags(size, self.rate)

        def correlation(x: np.ndarray) -> np.ndarray:
            return np.fft.irfft(np.abs(np.fft.rfft(x, fft)) ** 2, fft)

        auto = correlation((frames - frames.mean(1, keepdims=True)) * window)
        own = correlation(window[None])
        ratio = (auto[:, first:last] / (auto[:, :1] + pitch.QUIET)) / (own[:, first:last] / own[:, :1])
        ratio = np.clip(ratio, -1.0, 1.0)
        score = pitch.SHARP * (ratio - pitch.SLOPE * np.arange(last - first))
        weight = np.exp(score - score.max(1, keepdims=True, initial=-np.inf))
        weight /= weight.sum(1, keepdims=True)
        log_pitch = weight @ np.log(self.rate / np.arange(first, last) / pitch.REFERENCE)
        return np.stack([log_pitch, np.maximum((weight * ratio).sum(1), 0.0)], 1)

    def _shape(self, power: np.ndarray) -> np.ndarray:
        """As :func:`sensorium.modalities.audio.spectra.shape`."""
        hz = mel.bins(self.wants["fft"], self.rate)
        total, split = power.sum(1) + mel.FLOOR, int(np.searchsorted(hz, 1000.0))
        tilt = np.log((power[:, split:].sum(1) + mel.FLOOR) / (power[:, :split].sum(1) + mel.FLOOR))
        flatness = np.log(power + mel.FLOOR).mean(1) - np.log(total / power.shape[1])
        return np.stack([np.log((power @ hz) / total + 1.0) - 7.0, tilt, flatness], 1)


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10.0 * np.log10(np.maximum(power, mel.FLOOR))


def _hann(size: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(size) / size)
