"""The heads of vectors in NumPy, for :mod:`sensorium.stream.lite`: prepared vectors (n, d) in, outputs (n, c)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sensorium.numerics import affect, face_shape, gaussian_features, unit
from sensorium.stream import _lite_images
from sensorium.stream._lite_gelu import gelu

Weights = Mapping[str, np.ndarray]
Arguments = Mapping[str, Any]
_LAYER_NORM = 1e-5  # added to the variance, as torch's LayerNorm does by default


def _linear(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _identity(x: np.ndarray, weights: Weights, arguments: Arguments) -> np.ndarray:
    return x


def _pca(x: np.ndarray, weights: Weights, arguments: Arguments) -> np.ndarray:
    return (x - weights["mean"]) @ weights["components"]


def _one_linear(x: np.ndarray, weights: Weights, arguments: Arguments) -> np.ndarray:
    return _linear(x, weights, "layers.0")


def _mlp(x: np.ndarray, weights: Weights, arguments: Arguments) -> np.ndarray:
    """As :class:`sensorium.heads.mlp.MLP`."""
    z, depth = x, arguments["depth"]
    for i in range(depth):
        z = _linear(z, weights, f"layers.{i}")
        if arguments["layer_norm"]:
            z = _normed(z, weights, f"norms.{i}")
        z = ACTIVATIONS[arguments["activation"]](z)
    z = _linear(z, weights, f"layers.{depth}")
    return z + _linear(x, weights, "skip") if arguments["residual"] else z


def _layers(x: np.ndarray, weights: Weights, arguments: Arguments) -> np.ndarray:
    """As :class:`sensorium.heads.layers.Layers`, of vectors."""
    share = np.exp(weights["weight"] - weights["weight"].max())
    h = np.einsum("l,nld->nd", share / share.sum(), x.reshape(len(x), arguments["layers"], -1))
    if arguments["hidden"]:
        h = gelu(_linear(h, weights, "hidden"))
    return _linear(h, weights, "fc")


def _vad(x: np.ndarray, weights: Weights, arguments: Arguments) -> np.ndarray:
    """As :class:`sensorium.heads.vad.Vad`."""
    z = _linear(x, weights, "layers.0")
    if arguments.get("emotions"):
        share = np.exp(z - z.max(axis=1, keepdims=True))
        z = share / share.sum(axis=1, keepdims=True) @ affect.vads(affect.EMOTIONS)
    return gaussian_features.lift(z)


def _posterior(x: np.ndarray, weights: Weights, arguments: Arguments) -> np.ndarray:
    """As :class:`sensorium.heads.posterior.Posterior`."""
    logits = _linear(x, weights, "layers.0")
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    z = powers / powers.sum(-1, keepdims=True)
    return z @ weights["classes"] if arguments.get("points") else z


def _random_features(x: np.ndarray, weights: Weights, arguments: Arguments) -> np.ndarray:
    """As :class:`sensorium.heads.random_features.RandomFeatures`."""
    scale = np.float32((2 / arguments["features"]) ** 0.5)
    return _linear(scale * np.cos(x @ weights["omega"] + weights["theta"]), weights, "layers.0")


def _normed(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    """As torch's LayerNorm over the last axis."""
    z = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + _LAYER_NORM)
    return z * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _face(x: np.ndarray, weights: Weights, arguments: Arguments) -> np.ndarray:
    """As :class:`sensorium.heads.face.Face`."""
    points, emotions = arguments["points"], arguments["emotions"]
    z = (
        face_shape.features(x, points, emotions, arguments["eyes"], arguments["logarithm"]).astype(np.float32)
        - weights["inputs.mean"]
    )
    if "inputs.components" in weights:
        basis = weights["inputs.components"]
        z = np.concatenate([z[:, : len(basis)] @ basis, z[:, len(basis) :]], 1)
    z = z * weights["inputs.scale"]
    for i in range(arguments["depth"]):
        z = ACTIVATIONS[arguments["activation"]](_linear(z, weights, f"layers.{i}"))
    return _linear(z, weights, f"layers.{arguments['depth']}")


def _residual(x: np.ndarray, weights: Weights, arguments: Arguments) -> np.ndarray:
    """As :class:`sensorium.heads.residual.Residual`."""
    h, depth = x, arguments["depth"]
    for i in range(depth):
        h = h + _linear(gelu(_linear(_normed(h, weights, f"norms.{i}"), weights, f"up.{i}")), weights, f"down.{i}")
    return _linear(_normed(h, weights, f"norms.{depth}"), weights, "fc")


def _star(x: np.ndarray, weights: Weights, arguments: Arguments) -> np.ndarray:
    """As :class:`sensorium.heads.star.Star`."""
    h, depth = _linear(x, weights, "stem"), arguments["depth"]
    for i in range(depth):
        first, second = np.split(_linear(_normed(h, weights, f"norms.{i}"), weights, f"maps.{i}"), 2, -1)
        first = first if arguments["activation"] == "none" else ACTIVATIONS[arguments["activation"]](first)
        h = h + _linear(first * second, weights, f"back.{i}")
    return _linear(_normed(h, weights, f"norms.{depth}"), weights, "fc")


def adapted(x: np.ndarray, weights: Weights, arguments: Arguments) -> np.ndarray:
    """The input of the head behind an adapter: see :class:`sensorium.heads.adapted.Adapted`."""
    z = _linear(x, weights, "adapter")
    if arguments["hidden"]:
        z = z + gelu(_linear(x, weights, "up")) @ weights["down.weight"].T
    return unit(z) if arguments["unit_length"] else z


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (1.0 + np.exp(-np.clip(x, -80.0, 80.0)))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "gelu": gelu,
    "tanh": np.tanh,
    "silu": _silu,
}
#: Heads of vectors by name; of "layers" the frames of an item are averaged before.
VECTOR_HEADS: dict[str, Callable[[np.ndarray, Weights, Arguments], np.ndarray]] = {
    "identity": _identity,
    "linear": _one_linear,
    "mlp": _mlp,
    "pca": _pca,
    "layers": _layers,
    "vad": _vad,
    "posterior": _posterior,
    "random_features": _random_features,
    "residual": _residual,
    "star": _star,
    "cnn": _lite_images.cnn,
    "face": _face,
}
SET_HEADS = ("set_attention", "set_mean", "type_aware")  # whose single items pass an MLP


def item_tower(weights: Weights, arguments: Arguments) -> tuple[Weights, Arguments]:
    """Weights and arguments of the MLP of single items of a head of sets: see :mod:`sensorium.heads._sets`."""
    own = {name.removeprefix("item."): value for name, value in weights.items() if name.startswith("item.")}
    return own, {**arguments, "depth": 1, "layer_norm": False, "residual": False, "normalize": True}
