"""Linear discriminant analysis with a shrunk covariance: logits of classes as an affine map."""

from __future__ import annotations

import numpy as np

from sensorium.types import Affine

_EXACT = 1e-10  # share of the largest eigenvalue below which a direction is rounding


class Discriminants:
    """Linear discriminants of x (n, d), standardised, with memberships (n, c): every shrinkage from one decomposition.

    x is given as Gaussian in each class with one covariance C (Fisher 1936), shrunk towards a multiple of I (Friedman
    1989, with λ = 1). Memberships: the share of each item in each class, rows adding up to 1.
    """

    def __init__(self, x: np.ndarray, members: np.ndarray) -> None:
        self.mean, deviation = x.mean(0), x.std(0)
        self.scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-9 * deviation.max())
        x = (x - self.mean) * self.scale
        n, d = x.shape
        self.middles = (members.T @ x) / members.sum(0)[:, None]
        # Each item is compared with its expected class mean, the mean of its class where memberships are 0 and 1.
        rest = x - members @ self.middles
        wide = d > n
        values, vectors = np.linalg.eigh((rest @ rest.T if wide else rest.T @ rest) / n)
        keep = values > _EXACT * max(float(values[-1]), 1e-300)
        self.eigs, vectors = values[keep], vectors[:, keep]
        self.basis = rest.T @ vectors / np.sqrt(self.eigs * n) if wide else vectors
        self.unit = float(np.square(rest).sum() / (n * d)) or 1.0  # mean variance within classes

    def affine(self, shrinkage: float, temperature: float) -> Affine:
        """Logits of raw x. Outside the directions that the items span C is the same everywhere: s · unit."""
        plain = shrinkage * self.unit
        share = 1 / ((1 - shrinkage) * self.eigs + plain) - 1 / plain
        weight = self.middles.T / plain + self.basis @ (share[:, None] * (self.basis.T @ self.middles.T))
        bias = -0.5 * np.einsum("kd,dk->k", self.middles, weight)
        weight = self.scale[:, None] * weight
        return Affine(weight / temperature, (bias - self.mean @ weight) / temperature)
