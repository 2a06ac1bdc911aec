"""Input normalisation (standardize, whiten, unit length) as a head's first layer; unit length as its last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine

#: Modes of preprocessing: none, unit length per row, or by the mean and covariance of the training rows.
MODES = ("none", "unit", "center", "standardize", "whiten")

EPSILON = 1e-12  # smallest length a row is divided by
_SHRINK = 1e-2  # whitening adds this share of the mean variance, so that noise directions are not blown up
_CONSTANT = 1e-6  # a coordinate whose deviation is below this share of the typical one is constant: left out


def unit(x: Tensor) -> Tensor:
    """Rows (n, d) scaled to unit length: their inner products are cosines."""
    return nn.functional.normalize(x, dim=-1, eps=EPSILON)


class AffineLayers(NamedTuple):
    """A head as linear layers with elementwise functions between them, for the fused training step.

    Of x: preprocess, input_dropout; then for each layer but the last: linear, norm if any, activation, dropout; the
    last layer is linear. ``skip`` of the first one's input is added to its output; then unit length if ``normalize``.
    """

    preprocess: nn.Module
    layers: Sequence[nn.Linear]
    norms: Sequence[nn.LayerNorm]
    skip: nn.Linear | None
    activation: str  #: relu, gelu, tanh or silu
    dropout: float
    normalize: bool
    input_dropout: float = 0.0


class Preprocess(nn.Module):
    """x (n, d) ↦ (x - mean) · scale, or (x - mean) @ matrix to whiten; rows of unit length for "unit".

    Buffers: ``mean`` (d,), and ``scale`` (d,) for "standardize" or ``matrix`` (d, d) for "whiten".
    Whitening is the symmetric (ZCA) root (C + ε I)^-½, ε being 1% of the mean variance: it keeps
    every coordinate as near to itself as it can (Kessy, Lewin & Strimmer, 2018).

    Without statistics the buffers are neutral, to be filled by ``load_state_dict``.
    Raises BadRecipe for an unknown mode.
    """

    def __init__(self, mode: str, dim: int, stats: InputStats | None) -> None:
        super().__init__()
        check_mode(mode)
        if stats is not None and len(stats.mean) != dim:
            raise BadData(f"input statistics are {len(stats.mean)} wide, the head's input is {dim}")
        self.mode = mode
        if mode in ("none", "unit"):
            return
        self.register_buffer("mean", torch.zeros(dim) if stats is None else _float(stats.mean))
        if mode == "standardize":
            self.register_buffer("scale", torch.ones(dim) if stats is None else _float(scale_of(stats.covariance)))
        if mode == "whiten":
            self.register_buffer("matrix", torch.eye(dim) if stats is None else _float(_whitening(stats)))

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d) to (n, d)."""
        if self.mode == "none":
            return x
        if self.mode == "unit":
            return unit(x)
        x = x - self.mean
        if self.mode == "standardize":
            return x * self.scale
        return x @ self.matrix if self.mode == "whiten" else x

    def fold_in(self, affine: Affine) -> Affine:
        """The map that, applied after this layer, equals ``affine`` of the raw input.

        (x - m) A W' + b' = x W + b when W' = A⁻¹ W and b' = b + m W. A coordinate that was constant
        in training, and is left out by "standardize", keeps its constant part only.
        """
        if self.mode == "none":
            return affine
        if self.mode == "unit":
            raise BadRecipe("preprocess='unit' is not linear, so no closed form can be folded in; use 'standardize'")
        bias = affine.bias + _double(self.mean) @ affine.weight
        if self.mode == "standardize":
            scale = _double(self.scale)[:, None]
            return Affine(np.divide(affine.weight, scale, out=np.zeros_like(affine.weight), where=scale != 0), bias)
        if self.mode == "whiten":
            return Affine(np.linalg.solve(_double(self.matrix), affine.weight), bias)
        return Affine(affine.weight, bias)

    def unfold(self, affine: Affine) -> Affine | None:
        """The map of the raw input equal to this layer followed by ``affine``; None for "unit" (not linear)."""
        if self.mode == "none":
            return affine
        if self.mode == "unit":
            return None
        weight = affine.weight
        if self.mode == "standardize":
            weight = _double(self.scale)[:, None] * weight
        if self.mode == "whiten":
            weight = _double(self.matrix) @ weight
        return Affine(weight, affine.bias - _double(self.mean) @ weight)


def check_mode(mode: str) -> None:
    """Raise BadRecipe, naming the nearest, for an unknown way of preprocessing."""
    if mode not in MODES:
        raise BadRecipe(f"preprocess '{mode}'; {nearest(mode, MODES)}")


def set_linear(layer: nn.Linear, affine: Affine) -> None:
    """Make a Linear layer compute ``affine``. Raises BadRecipe when the widths differ."""
    if affine.weight.shape != (layer.in_features, layer.out_features):
        a, b = affine.weight.shape
        raise BadRecipe(
            f"a closed form of {a} to {b} numbers does not fit a head of {layer.in_features} to {layer.out_features}; "
            f"type: left.head.dim={b} or right.head.dim={b}"
        )
    with torch.no_grad():
        layer.weight.copy_(_float(affine.weight.T))
        layer.bias.copy_(_float(affine.bias))


def affine_of(layer: nn.Linear) -> Affine:
    """What a Linear layer computes, in float64."""
    bias = np.zeros(layer.out_features) if layer.bias is None else _double(layer.bias)
    return Affine(_double(layer.weight).T, bias)


def typical_length(affine: Affine, stats: InputStats) -> float:
    """Root mean square length of ``affine``'s output over the training rows, √(tr Wᵀ C W + |m W + b|²)."""
    spread = np.einsum("ij,ij->", affine.weight, stats.covariance @ affine.weight)
    return float(np.sqrt(spread + np.sum(affine(stats.mean) ** 2)))


def scale_of(covariance: np.ndarray) -> np.ndarray:
    """1 / deviation of each coordinate (d,); 0 for a constant one."""
    if not len(covariance):
        return np.zeros(0)
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    constant = deviation <= _CONSTANT * np.sqrt(np.mean(deviation**2))
    return np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation))


def _whitening(stats: InputStats) -> np.ndarray:
    values, vectors = np.linalg.eigh(stats.covariance)
    mean = values.mean()
    if not mean > 0:
        raise BadData("preprocess='whiten': all training inputs are equal, so there is nothing to whiten")
    return (vectors / np.sqrt(np.maximum(values, 0.0) + _SHRINK * mean)) @ vectors.T


def _float(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(x, np.float32))


def _double(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy().astype(np.float64)
