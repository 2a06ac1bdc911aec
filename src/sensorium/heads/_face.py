"""The inputs of the ``face`` head: principal components of upright landmarks; the rest standardised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.heads._components import leading
from sensorium.heads._preprocess import scale_of
from sensorium.numerics import face_shape
from sensorium.numerics.moments import InputStats

_SHRINK = 1e-3  # share of the largest variance that is added to each: components of noise are not blown up
_WIDE = 256  # coordinates above which only the leading components are computed


class FaceFeatures(nn.Module):
    """Vectors (n, d) to the same width: landmarks upright, as :func:`sensorium.numerics.face_shape.features` says.

    In float64 within, so that a shift of the face in the picture costs no digits. No weights, no statistics.
    """

    def __init__(
        self, points: int | None, emotions: int | None, eyes: Sequence[Sequence[int]] | None, logarithm: bool
    ) -> None:
        super().__init__()
        self.points, self.emotions, self.eyes, self.logarithm = points, emotions, eyes, logarithm

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d) to (n, d), of x's own type."""
        many, axes, _, emotions = face_shape.layout(x.shape[1], self.points, self.emotions)
        wide, end = x.double(), x.shape[1] - emotions
        points = wide[:, : axes * many].unflatten(1, (many, axes))
        right, left = (points[:, list(side)].mean(1) for side in face_shape.eyes_of(many, self.eyes))
        across = (left - right)[:, :2]
        flat = points[..., :2]
        size = (flat - flat.mean(1, keepdim=True)).square().sum(2).mean(1).sqrt().clamp_min(face_shape.LEAST)
        apart = across.square().sum(1).sqrt().clamp_min(face_shape.LEAST)
        cosine, sine = (across / apart[:, None]).unsqueeze(2).unbind(1)
        moved = (points - ((right + left) / 2)[:, None]) / size[:, None, None]
        u, v = moved[..., 0], moved[..., 1]
        shape = torch.stack([u * cosine + v * sine, v * cosine - u * sine, *moved[..., 2:].unbind(2)], 2)
        last = wide[:, end:]
        if self.logarithm:
            last = torch.log(last.clamp_min(0) + face_shape.FLOOR)
        return torch.cat([shape.flatten(1), wide[:, axes * many : end], last], 1).to(x.dtype)


class FaceInput(nn.Module):
    """Vectors (n, d) to what the layers take, (n, k + blendshapes + emotions).

    The landmarks' ``components`` leading principal components k, each of deviation ``weight`` over the training rows;
    then blendshapes of the same weight; then emotions of deviation 1. components: 0 takes every coordinate instead.
    Without statistics the buffers are neutral, to be filled by ``load_state_dict``.
    """

    def __init__(self, features: FaceFeatures, dim: int, components: int, weight: float,
                 stats: InputStats | None) -> None:  # fmt: skip
        super().__init__()
        points, axes, blendshapes, emotions = face_shape.layout(dim, features.points, features.emotions)
        face_shape.eyes_of(points, features.eyes)
        self.features, self.shape = features, axes * points
        k = min(components, self.shape) or self.shape
        self.dim = k + blendshapes + emotions
        mean, scale, basis = np.zeros(dim), np.ones(self.dim), np.eye(self.shape, k)
        if stats is not None:
            mean = stats.mean
            scale = np.full(self.dim, weight)
            own = stats.covariance[: self.shape, : self.shape]
            if components:
                values, basis = _components(own, k)
                largest = max(float(values.max(initial=0.0)), np.finfo(np.float32).tiny)
                scale[:k] /= np.sqrt(np.maximum(values, 0.0) + _SHRINK * largest)
            else:
                scale[:k] *= scale_of(own)
            deviations = scale_of(stats.covariance[self.shape :, self.shape :])
            scale[k : k + blendshapes] *= deviations[:blendshapes]
            scale[k + blendshapes :] = deviations[blendshapes:]
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("scale", torch.from_numpy(scale.astype(np.float32)))
        if components:
            self.register_buffer("components", torch.from_numpy(basis.astype(np.float32)))
        self.reduced = bool(components)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d) to (n, dim)."""
        f = self.features(x) - self.mean
        if self.reduced:
            f = torch.cat([f[:, : self.shape] @ self.components, f[:, self.shape :]], 1)
        return f * self.scale


def _components(covariance: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues of a covariance, descending, and their vectors (d, k), largest weight positive."""
    values, vectors = leading(covariance, k) if len(covariance) > _WIDE else np.linalg.eigh(covariance)
    values, vectors = values[::-1][:k], vectors[:, ::-1][:, :k]
    largest = np.abs(vectors).argmax(axis=0)
    return values, vectors * np.sign(vectors[largest, np.arange(k)])
