"""The head ``cnn`` in NumPy, for :mod:`sensorium.stream.lite`: vectors (n, d) to pictures to outputs (n, c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium.modalities.image.pseudo import PseudoImage
from sensorium.stream._lite_gelu import gelu

_BATCH_NORM = 1e-5  # added to the variance, as torch's BatchNorm2d does by default
_VALUES = 1 << 25  # of the patches of one convolution at a time: 128 MB


def cnn(x: np.ndarray, weights: Mapping[str, np.ndarray], arguments: Mapping[str, Any]) -> np.ndarray:
    """As :class:`sensorium.heads.cnn.CNN`, which makes the pictures anew instead of reading them."""
    own = {key: arguments[key] for key in PseudoImage().asdict()}
    transform = PseudoImage(**own)
    layers = [_folded(weights, i) for i in range(2 * (arguments["stages"] + arguments["tail"]))]
    widest = max(len(kernel) for kernel, _ in layers[::2])  # rows of a kernel: 9 times the planes that go in
    rows = max(1, _VALUES // (transform.size**2 * widest))
    out = [_means(transform.to_image(x[i : i + rows]), layers, arguments["stages"]) for i in range(0, len(x), rows)]
    h = np.concatenate(out) if out else np.zeros((0, layers[-1][0].shape[1]), np.float32)
    if arguments["hidden"]:
        h = gelu(h @ weights["hidden.weight"].T + weights["hidden.bias"])
    return h @ weights["fc.weight"].T + weights["fc.bias"]


def _folded(weights: Mapping[str, np.ndarray], i: int) -> tuple[np.ndarray, np.ndarray]:
    """Convolution i with the batch norm after it as one matrix (9 a, b) and a bias (b,)."""
    norm = {key: weights[f"norms.{i}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}
    scale = norm["weight"] / np.sqrt(norm["running_var"] + _BATCH_NORM)
    kernel = weights[f"convolutions.{i}.weight"] * scale[:, None, None, None]  # (b, a, 3, 3)
    return kernel.transpose(2, 3, 1, 0).reshape(-1, len(scale)), norm["bias"] - norm["running_mean"] * scale


def _means(image: np.ndarray, layers: list[tuple[np.ndarray, np.ndarray]], stages: int) -> np.ndarray:
    """Pictures (n, 3, s, s) through the convolutions and pools, and the mean over places: (n, b)."""
    h = image.transpose(0, 2, 3, 1)
    for i, (kernel, bias) in enumerate(layers):
        n, high, wide, _ = h.shape
        padded = np.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
        patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))  # (n, s, s, a, 3, 3)
        h = gelu(patches.transpose(0, 1, 2, 4, 5, 3).reshape(n * high * wide, -1) @ kernel + bias)
        h = h.reshape(n, high, wide, -1)
        if i % 2 and i < 2 * stages:
            even = h[:, : high // 2 * 2, : wide // 2 * 2]
            h = even.reshape(n, high // 2, 2, wide // 2, 2, -1).max((2, 4))
    return h.mean((1, 2))
