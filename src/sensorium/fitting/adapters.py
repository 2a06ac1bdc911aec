"""Adapters between two encoders: maps from the new encoder's vectors to the old one's, fitted on items that have both.

Orthogonal Procrustes, ridge, reduced-rank regression and a residual perceptron: the family of Vejendla 2025,
"Drift-Adapter" (arXiv:2509.23471). Which of them is used is :mod:`sensorium.fitting.adapter_choice`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sensorium.heads.adapted import Adapted
from sensorium.numerics import unit
from sensorium.types import Affine

STRENGTHS = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  #: of ridge, as shares of the mean variance of the new vectors
RANKS = (32, 128)  #: of reduced-rank regression
_HIDDEN, _STEPS, _BATCH, _RATE, _DECAY = 256, 1000, 128, 2e-3, 1e-2  # of the residual perceptron
_EVERY, _PATIENCE = 50, 6  # steps from one look at held-out rows to the next, and looks without a better loss
_CONSTANT = 1e-6  # a deviation below this share of the typical one is taken for constant


@dataclass(frozen=True)
class Adapter:
    """A fitted map x (n, d_new) → (n, d_old), float32. name: how it was fitted, such as "ridge 0.01".

    inner: V (h, d_new), c (h,), U (d_old, h) of U gelu(V x + c); None of a linear one. unit_length: rows are scaled.
    """

    name: str
    linear: Affine
    inner: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    unit_length: bool = False

    def before(self, name: str, head: Any) -> Adapted:
        """The head that applies this adapter and then ``head``, whose part is ``name``."""
        return Adapted.of(self.linear, name, head, inner=self.inner, unit_length=self.unit_length)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Vectors (n, d_new) in the old encoder's space, (n, d_old)."""
        x = np.asarray(x, np.float64)
        z = x @ self.linear.weight + self.linear.bias
        if self.inner is not None:
            from scipy.special import ndtr

            inside = x @ self.inner[0].T + self.inner[1]
            z = z + (inside * ndtr(inside)) @ self.inner[2].T
        return (unit(z) if self.unit_length else z).astype(np.float32)


def has_unit_length(y: np.ndarray) -> bool:
    """Whether all rows are of length 1, so that an adapter's outputs are scaled to it."""
    return bool(np.all(np.abs(np.linalg.norm(y, axis=1) - 1) < 1e-3))


class LinearFits:
    """Linear adapters of x (n, d_new) to y (n, d_old), by name; one eigendecomposition for every strength of ridge."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        self._unit, self._mx, self._my = has_unit_length(y), x.mean(0), y.mean(0)
        self._x = x - self._mx
        self._cross = self._x.T @ (y - self._my) / len(x)
        self._kept: tuple[str, Any] = "", None

    @cached_property
    def _eigen(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        values, vectors = _eigen(self._x)
        return values, vectors, vectors.T @ self._cross, max(float(values.sum()) / self._x.shape[1], 1e-30)

    def names(self) -> list[str]:
        """Procrustes and each strength of ridge, the simplest first."""
        return ["procrustes", *(f"ridge {strength:g}" for strength in reversed(STRENGTHS))]

    def ranks(self, ridge: str) -> list[str]:
        """Reduced-rank versions of a ridge, the simplest first."""
        return [f"rank {rank}, {ridge}" for rank in RANKS if rank < min(self._cross.shape)]

    def fit(self, name: str) -> Adapter:
        """The adapter of one of these names."""
        if name == "procrustes":
            weight = _procrustes(self._x, self._cross)
        else:
            rank, _, ridge = name.rpartition(", ")
            values, vectors, rotated, mean = self._eigen
            weight = vectors @ (rotated / (values + float(ridge.split()[1]) * mean)[:, None])
            if rank:
                main = self._directions(ridge, weight)[:, -int(rank.split()[1]) :]
                weight = weight @ main @ main.T
        return Adapter(name, Affine(weight, self._my - self._mx @ weight), None, self._unit)

    def _directions(self, ridge: str, weight: np.ndarray) -> np.ndarray:
        """Directions (d_old, d_old) of the fitted values, the main ones last: reduced-rank regression, Izenman 1975."""
        if self._kept[0] != ridge:
            fitted = self._x @ weight
            self._kept = ridge, np.linalg.eigh(fitted.T @ fitted)[1]
        return self._kept[1]


def _procrustes(xc: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """s Q of the least |y - x s Q|, Q with orthonormal rows or columns (Schönemann 1966; the scale: Gower 1975)."""
    u, s, vt = np.linalg.svd(cross, full_matrices=False)
    q = u @ vt
    return q * (s.sum() / max(float(np.square(xc @ q).sum(1).mean()), 1e-30))


def _eigen(xc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (r,) and eigenvectors (d, r) of the covariance of centred rows (n, d), the null space left out."""
    n, d = xc.shape
    if n < d:  # through the smaller matrix of inner products
        values, left = np.linalg.eigh(xc @ xc.T / n)
        keep = values > values[-1] * 1e-12
        values = values[keep]
        return values, xc.T @ left[:, keep] / np.sqrt(n * values)
    values, vectors = np.linalg.eigh(xc.T @ xc / n)
    keep = values > values[-1] * 1e-12
    return values[keep], vectors[:, keep]


def residual(start: Adapter, x: np.ndarray, y: np.ndarray, head: Callable[[Any], Any], seed: int = 0) -> Adapter:
    """A perceptron added to a linear adapter, both trained: near the old vectors, and near what ``head`` makes of them.

    head: a torch module, which stays as it is. A tenth of the rows stops the training. Loss: mean squared error over
    the variance of y, and 1 - cosine of the outputs.
    """
    import torch
    from torch.nn import functional as F

    random = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scale = np.maximum(x.std(0), _CONSTANT * max(float(x.std()), 1e-30))
        first = torch.nn.Linear(x.shape[1], _HIDDEN)
        torch.nn.init.normal_(first.weight, std=x.shape[1] ** -0.5)
        with torch.no_grad():
            first.weight /= torch.from_numpy(scale.astype(np.float32))
            first.bias.copy_(-first.weight @ torch.from_numpy(x.mean(0).astype(np.float32)))
    inner = first.weight.detach().numpy(), first.bias.detach().numpy(), np.zeros((y.shape[1], _HIDDEN), np.float32)
    made = Adapted.of(start.linear, "identity", _identity(y.shape[1]), inner=inner, unit_length=start.unit_length)
    order = random.permutation(len(x))
    held, rows = order[: len(x) // 10], order[len(x) // 10 :]
    tx, ty = torch.from_numpy(np.asarray(x, np.float32)), torch.from_numpy(np.asarray(y, np.float32))
    variance = float(y.var(0).sum()) or 1.0
    with torch.no_grad():
        target = head(ty)

    def loss(at: np.ndarray) -> Any:
        a = made.adapt(tx[at])
        near = 1 - F.cosine_similarity(head(a), target[at]).mean()
        return (a - ty[at]).square().sum(1).mean() / variance + near

    optimiser = torch.optim.AdamW(made.parameters(), _RATE, weight_decay=_DECAY)
    with torch.no_grad():
        best, kept, waited = float(loss(held)), _weights(made), 0
    for step in range(1, _STEPS + 1):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * (1 - step / (_STEPS + 1))
        optimiser.zero_grad()
        loss(random.choice(rows, min(_BATCH, len(rows)), replace=False)).backward()
        optimiser.step()
        if step % _EVERY:
            continue
        with torch.no_grad():
            now = float(loss(held))
        best, kept, waited = (now, _weights(made), 0) if now < best else (best, kept, waited + 1)
        if waited >= _PATIENCE:
            break
    weight, bias, *rest = kept
    return Adapter("residual mlp", Affine(weight.T.astype(np.float64), bias.astype(np.float64)),
                   (rest[0], rest[1], rest[2]), start.unit_length)  # fmt: skip


def _identity(dim: int) -> Any:
    from sensorium import parts

    made = parts.make("heads", "identity")
    made.build(dim)
    return made


def _weights(made: Adapted) -> list[np.ndarray]:
    tensors = (made.adapter.weight, made.adapter.bias, made.up.weight, made.up.bias, made.down.weight)
    return [tensor.detach().numpy().copy() for tensor in tensors]
