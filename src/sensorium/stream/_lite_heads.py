"""The streaming heads in NumPy, for :mod:`sensorium.stream.lite`: frames (t, d) in, outputs (t, c), state inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from sensorium.numerics import head_constants as constants

Weights = Mapping[str, np.ndarray]


def _recurrent(weights: Weights, arguments: Mapping[str, Any], dim_in: int, kind: str) -> Callable[..., np.ndarray]:
    depth, hidden = arguments["depth"], arguments["hidden"]
    h, c = np.zeros((depth, hidden), np.float32), np.zeros((depth, hidden), np.float32)
    layers = [[weights[f"{kind}.{name}_l{k}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
              for k in range(depth)]  # fmt: skip

    def step(x: np.ndarray) -> np.ndarray:
        for k, (wx, wh, bx, bh) in enumerate(layers):
            fresh, past = wx @ x + bx, wh @ h[k] + bh
            if kind == "lstm":
                i, f, g, o = np.split(fresh + past, 4)
                c[k] = _sigmoid(f) * c[k] + _sigmoid(i) * np.tanh(g)
                h[k] = _sigmoid(o) * np.tanh(c[k])
            else:
                (r, z, n), (hr, hz, hn) = np.split(fresh, 3), np.split(past, 3)
                update = _sigmoid(z + hz)
                h[k] = (1 - update) * np.tanh(n + _sigmoid(r + hr) * hn) + update * h[k]
            x = h[k]
        return weights["fc.weight"] @ x + weights["fc.bias"]

    c_out = len(weights["fc.bias"])
    return lambda x: np.array([step(frame) for frame in x], np.float32).reshape(-1, c_out)


class _Statistics:
    """As :class:`sensorium.numerics.pooling.Statistics` and the perceptrons after it."""

    def __init__(self, weights: Weights, arguments: Mapping[str, Any], dim_in: int) -> None:
        k = arguments["levels"]
        self.levels = [NormalDist().inv_cdf((i + 0.5) / k) for i in range(k)]
        self.scale = 1.0 / np.sqrt(weights["scale.running_var"] + constants.BATCH_NORM_EPSILON)
        self.mean = weights["scale.running_mean"]
        depth = arguments["depth"] + 1
        self.layers = [(weights[f"members.weights.{i}"], weights[f"members.biases.{i}"]) for i in range(depth)]
        self.n, self.window, self.fade = 0, constants.WINDOW, 0.5 ** (1.0 / constants.HALF_LIFE)
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
        self.sums = self.sums + np.concatenate(
            [x, x**2, abs(x), *[_sigmoid((x - q) / constants.LEVEL_WIDTH) for q in self.levels]]
        )
        if self.n < 2 * window:
            self.early[self.n // window] += x
        self.fading = self.fade * self.fading + x
        self.n += 1
        mean, square, rest = np.split(self.sums / self.n, [d, 2 * d])
        deviation = np.sqrt(np.maximum(square - mean**2, 0.0) + constants.STATISTICS_VARIANCE)
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
            y = (y - y.mean()) / np.sqrt(y.var() + constants.LAYER_NORM_EPSILON) * w[f"norms.{i}.weight"] + w[
                f"norms.{i}.bias"
            ]
            x = np.maximum(y, 0.0) + (x if len(x) == len(y) else 0.0)
        attention = w["attention.weight"] @ x + w["attention.bias"]
        reach = constants.ATTENTION_RANGE
        weight, wide = np.exp(reach * np.tanh(attention / reach)).astype(np.float64), x.astype(np.float64)
        self.sums += [weight, weight * wide, weight * wide * wide]
        mean, square = self.sums[1:] / np.maximum(self.sums[0], constants.ATTENTION_LEAST)
        deviation = np.sqrt(np.maximum(square - mean * mean, 0.0) + constants.TCN_VARIANCE)
        return w["fc.weight"] @ np.concatenate([mean, deviation]) + w["fc.bias"]


class _Relations:
    """As :class:`sensorium.numerics.pooling.Relations`."""

    def __init__(self, dim_in: int, blocks: int) -> None:
        size = dim_in // blocks
        i, j = np.triu_indices(size, 1)
        starts = size * np.arange(blocks)[:, None]
        self.i, self.j = (starts + i).ravel(), (starts + j).ravel()
        self.n, self.sums, self.past = 0, 0.0, np.zeros((max(constants.LAGS), dim_in))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        d = len(x)
        apart = [x * self.past[-k] for k in constants.LAGS]
        self.sums = self.sums + np.concatenate([x, x**2, x[self.i] * x[self.j], *apart])
        self.past, self.n = np.concatenate([self.past[1:], x[None]]), self.n + 1
        mean, square, products, *apart = np.split(self.sums, [d, 2 * d, 2 * d + len(self.i), *self._ends(d)])
        mean = mean / self.n
        variance = np.maximum(square / self.n - mean**2, 0.0) + constants.RELATIONS_VARIANCE
        spread = np.sqrt(variance)
        together = (products / self.n - mean[self.i] * mean[self.j]) / (spread[self.i] * spread[self.j])
        repeats = [(s / (self.n - k) - mean**2) / variance if self.n > k else np.zeros(d)
                   for k, s in zip(constants.LAGS, apart, strict=True)]  # fmt: skip
        return np.concatenate([together, *repeats])

    def _ends(self, d: int) -> list[int]:
        return [2 * d + len(self.i) + k * d for k in range(1, len(constants.LAGS))]


HEADS: dict[str, Callable[..., Callable[[np.ndarray], np.ndarray]]] = {
    "lstm": lambda *made_of: _recurrent(*made_of, kind="lstm"),
    "gru": lambda *made_of: _recurrent(*made_of, kind="gru"),
    "statistics": _Statistics,
    "tcn": _Tcn,
}


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0)))
