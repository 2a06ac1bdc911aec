"""A fitted speech run in NumPy alone: features and head, streamed, without torch; for small devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadRecipe
from sensorium.modalities.audio import mel, pitch
from sensorium.modalities.audio.causal import Causal
from sensorium.modalities.audio.framing import Framer, Geometry
from sensorium.numerics import unit

Weights = Mapping[str, np.ndarray]
_LAGS = (5, 10, 20)  # of sensorium.heads._relations, which loads torch


class Lite:
    """One stream through a saved head and the encoder it was fitted on.

    >>> lite = Lite("runs/ravdess/left")                       # doctest: +SKIP
    >>> for chunk in chunks:                                   # doctest: +SKIP
    ...     logits = lite.push(chunk)                          # (k, c), one row a new frame

    The outputs equal those of the torch parts to 1e-5. Raises BadRecipe for heads or encoders other
    than lstm, gru, statistics, tcn and mfcc; Corrupt when the files are damaged.
    """

    def __init__(self, stem: Path | str) -> None:
        from safetensors.numpy import load

        stem = Path(stem)
        told = io.read_json(stem.with_name(stem.name + ".json"))
        path = stem.with_name(stem.name + ".safetensors")
        io.verify(path, told["checksum"], "fit the head again, or restore both of its files")
        if told["name"] not in _HEADS or told["encoder"].get("name") != "mfcc":
            raise BadRecipe(f"{stem}: head '{told['name']}' on '{told['encoder'].get('name')}'; without torch only "
                            f"{', '.join(_HEADS)} on mfcc run")  # fmt: skip
        self.weights, self.arguments = load(path.read_bytes()), told["arguments"]
        self.features = Features(told["encoder"])
        self.head = _HEADS[told["name"]](self.weights, self.arguments, told["dim_in"])

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


def _recurrent(weights: Weights, arguments: Mapping[str, Any], dim_in: int, kind: str) -> Callable[..., np.ndarray]:
    depth, hidden = arguments["depth"], arguments["hidden"]
    h, c = np.zeros((depth, hidden), np.float32), np.zeros((depth, hidden), np.float32)
    layers = [[weights[f"{kind}.{name}_l{k}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
              for k in range(depth)]  # fmt: skip

    def step(x: np.ndarray) -> np.ndarray:
        for k, (wx, wh, bx, bh) in enumerate(layers):
            fresh, held = wx @ x + bx, wh @ h[k] + bh
            if kind == "lstm":
                i, f, g, o = np.split(fresh + held, 4)
                c[k] = _sigmoid(f) * c[k] + _sigmoid(i) * np.tanh(g)
                h[k] = _sigmoid(o) * np.tanh(c[k])
            else:
                (r, z, n), (hr, hz, hn) = np.split(fresh, 3), np.split(held, 3)
                update = _sigmoid(z + hz)
                h[k] = (1 - update) * np.tanh(n + _sigmoid(r + hr) * hn) + update * h[k]
            x = h[k]
        return weights["fc.weight"] @ x + weights["fc.bias"]

    c_out = len(weights["fc.bias"])
    return lambda x: np.array([step(frame) for frame in x], np.float32).reshape(-1, c_out)


class _Statistics:
    """As :class:`sensorium.heads._pooling.Statistics` and the perceptrons after it."""

    def __init__(self, weights: Weights, arguments: Mapping[str, Any], dim_in: int) -> None:
        k = arguments["levels"]
        self.levels = [NormalDist().inv_cdf((i + 0.5) / k) for i in range(k)]
        self.scale = 1.0 / np.sqrt(weights["scale.running_var"] + 1e-5)
        self.mean = weights["scale.running_mean"]
        depth = arguments["depth"] + 1
        self.layers = [(weights[f"members.weights.{i}"], weights[f"members.biases.{i}"]) for i in range(depth)]
        self.n, self.window, self.fade = 0, 50, 0.5 ** (1.0 / 30.0)
        self.sums, self.early, self.fading = 0.0, np.zeros((2, dim_in)), np.zeros(dim_in)

        blocks = arguments.get("relations", 0)
        self.relations = _Relations(dim_in, blocks) if blocks else lambda frame: np.zeros(0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        pooled = [np.concatenate([self._pool(frame), self.relations(frame)]) for frame in x.astype(np.float64)]
        pooled = np.array(pooled).reshape(len(x), len(self.mean))
        h = ((pooled - self.mean) * self.scale)[None]
        for i, (weight, bias) in enumerate(self.layers):
            h = h @ weight + bias[:, None]
            h = np.maximum(h, 0.0) if i < len(self.layers) - 1 else h
        return h.mean(0).astype(np.float32)

    def _pool(self, x: np.ndarray) -> np.ndarray:
        d, window = len(x), self.window
        self.sums = self.sums + np.concatenate([x, x**2, abs(x), *[_sigmoid((x - q) / 0.25) for q in self.levels]])
        if self.n < 2 * window:
            self.early[self.n // window] += x
        self.fading = self.fade * self.fading + x
        self.n += 1
        mean, square, rest = np.split(self.sums / self.n, [d, 2 * d])
        deviation = np.sqrt(np.maximum(square - mean**2, 0.0) + 1e-4)
        inside = min(self.n - window, window)
        second = self.early[1] / inside if inside > 0 else mean
        recent = self.fading * (1.0 - self.fade) / (1.0 - self.fade**self.n)
        return np.concatenate([mean, deviation, rest, self.early[0] / min(self.n, window), second, recent])


class _Tcn:
    """As :class:`sensorium.heads.tcn.Tcn`."""

    def __init__(self, weights: Weights, arguments: Mapping[str, Any], dim_in: int) -> None:
        self.weights, taps, depth = weights, arguments["kernel"], arguments["depth"]
        widths = [dim_in, *[arguments["width"]] * (depth - 1)]
        self.past = [np.zeros(((taps - 1) * 2**i + 1, d), np.float32) for i, d in enumerate(widths)]
        self.sums = np.zeros((3, arguments["width"]))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.array([self._step(frame) for frame in x], np.float32).reshape(-1, len(self.weights["fc.bias"]))

    def _step(self, x: np.ndarray) -> np.ndarray:
        w = self.weights
        for i, past in enumerate(self.past):
            past[:-1], past[-1] = past[1:], x
            y = np.einsum("oik,ki->o", w[f"layers.{i}.weight"], past[:: 2**i]) + w[f"layers.{i}.bias"]
            y = (y - y.mean()) / np.sqrt(y.var() + 1e-5) * w[f"norms.{i}.weight"] + w[f"norms.{i}.bias"]
            x = np.maximum(y, 0.0) + (x if len(x) == len(y) else 0.0)
        attention = w["attention.weight"] @ x + w["attention.bias"]
        weight, wide = np.exp(4.0 * np.tanh(attention / 4.0)).astype(np.float64), x.astype(np.float64)
        self.sums += [weight, weight * wide, weight * wide * wide]
        mean, square = self.sums[1:] / np.maximum(self.sums[0], 1e-9)
        deviation = np.sqrt(np.maximum(square - mean * mean, 0.0) + 1e-3)
        return w["fc.weight"] @ np.concatenate([mean, deviation]) + w["fc.bias"]


class _Relations:
    """As :class:`sensorium.heads._relations.Relations`."""

    def __init__(self, dim_in: int, blocks: int) -> None:
        size = dim_in // blocks
        i, j = np.triu_indices(size, 1)
        starts = size * np.arange(blocks)[:, None]
        self.i, self.j = (starts + i).ravel(), (starts + j).ravel()
        self.n, self.sums, self.past = 0, 0.0, np.zeros((max(_LAGS), dim_in))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        d = len(x)
        apart = [x * self.past[-k] for k in _LAGS]
        self.sums = self.sums + np.concatenate([x, x**2, x[self.i] * x[self.j], *apart])
        self.past, self.n = np.concatenate([self.past[1:], x[None]]), self.n + 1
        mean, square, products, *apart = np.split(self.sums, [d, 2 * d, 2 * d + len(self.i), *self._ends(d)])
        mean = mean / self.n
        variance = np.maximum(square / self.n - mean**2, 0.0) + 0.05
        spread = np.sqrt(variance)
        together = (products / self.n - mean[self.i] * mean[self.j]) / (spread[self.i] * spread[self.j])
        repeats = [(s / (self.n - k) - mean**2) / variance if self.n > k else np.zeros(d)
                   for k, s in zip(_LAGS, apart, strict=True)]  # fmt: skip
        return np.concatenate([together, *repeats])

    def _ends(self, d: int) -> list[int]:
        return [2 * d + len(self.i) + k * d for k in range(1, len(_LAGS))]


_HEADS: dict[str, Callable[..., Callable[[np.ndarray], np.ndarray]]] = {
    "lstm": lambda *given: _recurrent(*given, kind="lstm"),
    "gru": lambda *given: _recurrent(*given, kind="gru"),
    "statistics": _Statistics,
    "tcn": _Tcn,
}


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0)))


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10.0 * np.log10(np.maximum(power, mel.FLOOR))


def _hann(size: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(size) / size)
