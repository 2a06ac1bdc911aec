"""Principal components of one side's training vectors: a head fitted without training and without the other side."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.errors import BadRecipe, nearest
from sensorium.heads._components import leading
from sensorium.heads._preprocess import unit
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine

SOLVERS = ("exact", "randomised")


class PCA(nn.Module, Head):
    """z = (x - mean) @ components, at unit length with ``normalize``.

    rank: number of components; None takes the other side's width, or else 256, but no more
    than the input has. whiten: components at unit variance.
    normalize: outputs of unit length.
    solver: of the covariance, which is summed up block by block in either case. "exact", which None is too, takes all
    its eigenvectors; "randomised" the leading ones alone, by subspace iteration from random directions, the same ones
    every time (Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.3): for inputs of thousands of numbers.
    Each component points so that its largest weight is positive, as scikit-learn's do.
    """

    trainable = False
    needs_statistics = True

    def __init__(
        self, rank: int | None = None, whiten: bool = False, normalize: bool = True, solver: str | None = None
    ) -> None:
        super().__init__()
        if solver is not None and solver not in SOLVERS:
            raise BadRecipe(f"pca: solver '{solver}'; {nearest(solver, SOLVERS)}")
        if rank is not None and rank < 1:
            raise BadRecipe(f"pca: rank is {rank}; expected at least 1")
        self.arguments = {"rank": rank, "whiten": whiten, "normalize": normalize, "solver": solver}
        self.normalize = normalize

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Compute the components from ``stats`` of the training rows; None when ``load_state_dict`` follows.

        Raises BadRecipe when the recipe's rank is more than the training rows span.
        """
        rank = self.arguments["rank"]
        self.dim_in, self.dim = dim_in, rank or min(like or 256, dim_in)
        if self.dim > dim_in:
            raise BadRecipe(f"pca: rank {self.dim} of vectors that are {dim_in} wide; expected at most {dim_in}")
        mean, components = np.zeros(dim_in), np.zeros((dim_in, self.dim))
        if stats is not None:
            mean, components = stats.mean, self._components(stats, explicit=rank is not None)
        self.dim = components.shape[1]
        # Statistics, not parameters: no optimizer sees them.
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("components", torch.from_numpy(components.astype(np.float32)))

    def _components(self, stats: InputStats, explicit: bool) -> np.ndarray:
        if self.arguments["solver"] == "randomised":
            values, vectors = leading(stats.covariance, self.dim)
        else:
            values, vectors = np.linalg.eigh(stats.covariance)
        values, vectors = values[::-1], vectors[:, ::-1]
        spanned = int(np.count_nonzero(values > values[0] * len(vectors) * np.finfo(np.float64).eps))
        if self.dim > spanned and (explicit or not spanned):
            raise BadRecipe(f"pca: rank {self.dim}, but {stats.n} training rows span {spanned} directions; lower rank")
        keep = min(self.dim, spanned)
        vectors = vectors[:, :keep]
        largest = np.abs(vectors).argmax(axis=0)
        vectors = vectors * np.sign(vectors[largest, np.arange(keep)])
        # Unit variance with n - 1 in the denominator, as the sample's is counted.
        return vectors / np.sqrt(values[:keep] * stats.n / max(1, stats.n - 1)) if self.arguments["whiten"] else vectors

    @property
    def open_width(self) -> bool:
        """Whether the number of components takes the width of the other side."""
        return self.arguments["rank"] is None

    def affine(self) -> Affine:
        """What it computes before the normalisation: x @ components - mean @ components."""
        mean, weight = (b.cpu().numpy().astype(np.float64) for b in (self.mean, self.components))
        return Affine(weight, -mean @ weight)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, rank)."""
        z = (x - self.mean) @ self.components
        return unit(z) if self.normalize else z
