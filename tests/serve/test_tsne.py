"""t-SNE's repulsion against all pairs, its neighbourhoods against PCA's, and that it repeats itself."""

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from sensorium.serve.engine import layout, tsne


def clusters(n, d=20, k=8, seed=0):
    random = np.random.default_rng(seed)
    middles = random.standard_normal((k, d)) * 3
    return (middles[np.arange(n) % k] + random.standard_normal((n, d))).astype(np.float32)


@pytest.mark.parametrize("width", [0.01, 1.0, 8.0, 25.0])
def test_repulsion_is_that_of_all_pairs(width):
    y = np.random.default_rng(3).normal(0, width, (300, 2))
    difference = y[:, None] - y[None]
    q = 1 / (1 + (difference**2).sum(2))
    np.fill_diagonal(q, 0)
    want = (difference * (q * q)[..., None]).sum(1) / q.sum()
    assert np.abs(tsne.repulsion(y) - want).max() < 0.1 * np.abs(want).max()


def test_affinities_are_symmetric_and_of_the_nearest():
    x = clusters(60)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = tsne.affinities(x, 5).toarray()
    assert np.array_equal(found, found.T) and found.sum() == pytest.approx(1) and not found.diagonal().any()
    similar = x @ x.T - 2 * np.eye(60)
    nearest = np.argsort(-similar, 1)[:, :5]
    assert (np.take_along_axis(found, nearest, 1) > 0).all()


@pytest.mark.parametrize("first", [tsne.FIRST, 250])  # all at once; a sample first
def test_neighbourhoods_are_kept_better_than_by_pca(monkeypatch, first):
    monkeypatch.setattr(tsne, "FIRST", first)
    x = clusters(400)
    xy = tsne.tsne(x)
    assert xy.shape == (400, 2) and xy.dtype == np.float32 and np.isfinite(xy).all()
    assert np.array_equal(xy, tsne.tsne(x))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    (pca,), _ = layout.pca([unit])
    assert trustworthiness(unit, xy, n_neighbors=7) > 0.02 + trustworthiness(unit, pca, n_neighbors=7)
    labels = np.arange(400) % 8
    nearest = np.argsort(((xy[:, None] - xy[None]) ** 2).sum(2) + 1e9 * np.eye(400), 1)[:, :5]
    assert (labels[nearest] == labels[:, None]).mean() > 0.95


@pytest.mark.parametrize("x", [np.ones((12, 3), np.float32), np.arange(12, dtype=np.float32)[:, None] + 1])
def test_equal_vectors_and_vectors_of_one_number_are_laid_out(x):
    xy = tsne.tsne(x)
    assert np.isfinite(xy).all() and len(np.unique(xy, axis=0)) == len(x) and np.ptp(xy) > 1e-3
