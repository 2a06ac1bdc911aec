"""Vectors projected to two dimensions: PCA at once; t-SNE, UMAP and PaCMAP in a process of their own.

``python -m sensorium.serve.engine.layout METHOD IN.npy OUT.npy`` is that process: they hold
the interpreter for as long as they compute, which a server cannot afford.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium import io
from sensorium.errors import BadRecipe, nearest
from sensorium.serve.engine.tsne import tsne
from sensorium.types import blocks

#: Method → the module it needs, and how it is called.
METHODS = {"tsne": (None, "t-SNE"), "pca": (None, "PCA"), "umap": ("umap", "UMAP"), "pacmap": ("pacmap", "PaCMAP")}
INSTALL = "pip install 'sensorium[map]'"
FITTED = 50_000  # rows of each side that the axes of PCA are found from
_BLOCK = 16_384


def installed(method: str) -> bool:
    """Whether a method can run here; nothing is imported."""
    module, _ = METHODS[method]
    return module is None or importlib.util.find_spec(module) is not None


def pca(sides: Sequence[np.ndarray], seed: int = 0) -> tuple[list[np.ndarray], list[float]]:
    """Both sides, each (n, d), on the two axes along which they vary most: (n, 2) float32 each, and their shares.

    Each side counts alike, however many rows it has; above FITTED rows a random sample stands for it.
    An axis points where its largest component is positive, so equal vectors give equal pictures.
    """
    random = np.random.default_rng(seed)
    mean, second = 0.0, 0.0
    for vectors in sides:
        rows = slice(None) if len(vectors) <= FITTED else np.sort(random.choice(len(vectors), FITTED, replace=False))
        x = np.asarray(vectors[rows], np.float64)
        mean = mean + x.mean(0) / len(sides)
        second = second + x.T @ x / (len(x) * len(sides))
    values, axes = np.linalg.eigh(second - np.outer(mean, mean))
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    if axes.shape[1] < 2:  # vectors of one number
        axes = np.pad(axes, ((0, 0), (0, 2 - axes.shape[1])))
    explained = np.maximum(values[::-1][:2], 0) / max(values.clip(0).sum(), 1e-30)
    weight, bias = axes.astype(np.float32), (mean @ axes).astype(np.float32)
    laid = []
    for vectors in sides:
        xy = np.empty((len(vectors), 2), np.float32)
        for part in blocks(len(vectors), _BLOCK):
            xy[part] = vectors[part] @ weight - bias
        laid.append(xy)
    return laid, explained.tolist()


def umap(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n, 2) by UMAP (McInnes, Healy & Melville 2018), by cosine, the same for the same vectors."""
    import umap as library

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that a seed costs its threads
        return library.UMAP(n_neighbors=min(15, len(vectors) - 1), metric="cosine", random_state=seed).fit_transform(
            vectors
        )


def pacmap(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n, 2) by PaCMAP (Wang, Huang, Rudin & Shaposhnik 2021), by angle, the same for the same vectors."""
    import pacmap as library

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return library.PaCMAP(n_components=2, distance="angular", random_state=seed).fit_transform(vectors, init="pca")


SLOW = {"tsne": tsne, "umap": umap, "pacmap": pacmap}


def main(method: str, source: str, target: str) -> None:
    """Lay out the vectors of one file into another. Raises BadRecipe for an unknown method."""
    if method not in SLOW:
        raise BadRecipe(f"no layout '{method}'; {nearest(method, SLOW)}")
    os.nice(10)  # searches go first
    vectors = np.load(source, allow_pickle=False)
    xy = np.asarray(SLOW[method](vectors), np.float32)
    io.write(Path(target), lambda file: np.save(file, xy, allow_pickle=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
