"""t-SNE (van der Maaten & Hinton 2008) in seconds: a graph of neighbours pulls, a convolution on a grid pushes.

The repulsion of all pairs is interpolated on a grid and convolved there by FFT (Linderman, Rachh, Hoskins,
Steinerberger & Kluger 2019). The affinities are uniform over the nearest neighbours, which gives nearly the same
picture as those of a perplexity (Böhm, Berens & Kobak 2022).
"""

from __future__ import annotations

from typing import Any

import numpy as np

NEIGHBOURS = 15
FIRST = 6000  # vectors up to which all are laid out from the start
_EARLY, _LATE, _REFINING = 100, 250, 60  # iterations: with strong attraction, which forms clusters; with weak; of all
_EXAGGERATION = (12.0, 1.5)  # of the attraction, early and later; above 1, clusters are more compact, as in UMAP
_MOMENTUM = (0.5, 0.8)
_LAST = (_EXAGGERATION[1], _MOMENTUM[1])
_NODES = 600  # of the grid along its longer side at most
_SPACING = 0.5  # of the grid's nodes; the kernel has a width of 1
_LONGEST = 5.0  # of one step along each axis


def tsne(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n, 2) float32 of vectors (n, d) by cosine, begun at their two principal axes; the same for the same vectors.

    Of more than FIRST vectors, a random sample is laid out first; the others begin at the mean of their nearest in it.
    """
    from sensorium.numerics import unit

    x = unit(np.asarray(vectors, np.float32))
    if len(x) <= FIRST:
        pull = affinities(x, max(1, min(NEIGHBOURS, len(x) // 4)))
        y = descend(pull, start(x, seed), _EARLY, _EXAGGERATION[0], _MOMENTUM[0])
        return descend(pull, y, _LATE, *_LAST).astype(np.float32)
    from sensorium.scores.exact_topk import topk

    random = np.random.default_rng(seed)
    some = np.sort(random.choice(len(x), FIRST, replace=False))
    nearest, _ = topk(x, x[some], 3)
    y = tsne(x[some], seed)[nearest].mean(1) * np.sqrt(len(x) / FIRST)  # as many places each take up as before
    y += random.normal(0, 0.1, y.shape)
    return descend(affinities(x, NEIGHBOURS), y.astype(float), _REFINING, *_LAST).astype(np.float32)


def descend(pull: Any, y: np.ndarray, steps: int, exaggeration: float, momentum: float) -> np.ndarray:
    """Places (n, 2) after steps of gradient descent on t-SNE's loss, with momentum and a gain for each coordinate.

    pull: sparse affinities (n, n), of which exaggeration multiplies the attraction.
    """
    from scipy.sparse import csr_array

    n = len(y)
    rows = np.repeat(np.arange(n), np.diff(pull.indptr))
    step, gains = np.zeros_like(y), np.ones_like(y)
    rate = max(4.0, n / _EXAGGERATION[0])
    for _ in range(steps):
        a, b = y.T  # the columns one by one, which is faster than sums over two
        near = pull.data / (1 + (a[rows] - a[pull.indices]) ** 2 + (b[rows] - b[pull.indices]) ** 2)
        found = csr_array((near, pull.indices, pull.indptr), shape=pull.shape) @ np.column_stack([y, np.ones(n)])
        gradient = 4 * (exaggeration * (found[:, 2:] * y - found[:, :2]) - repulsion(y))
        gains = np.maximum(np.where(np.sign(gradient) != np.sign(step), gains + 0.2, gains * 0.8), 0.01)
        step = momentum * step - rate * gains * gradient
        y = y + np.clip(step, -_LONGEST, _LONGEST, out=step)
        y -= y.mean(0)
    return y


def start(x: np.ndarray, seed: int) -> np.ndarray:
    """(n, 2) along the two principal axes, 1e-2 wide, with a little noise that sets equal vectors apart."""
    centred = x - x.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    y = np.zeros((len(x), 2))
    y[:, : axes.shape[1]] = centred @ (axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])]))
    y *= 1e-2 / max(y.std(), 1e-12)
    return y + np.random.default_rng(seed).normal(0, 1e-4, y.shape)


def affinities(x: np.ndarray, k: int) -> Any:
    """Symmetric affinities of unit vectors (n, d), a sparse (n, n) that sums to 1: alike for the k nearest of each."""
    from scipy.sparse import csr_array

    from sensorium.scores.exact_topk import topk

    n = len(x)
    nearest, _ = topk(x, x, k, own=np.arange(n))
    one = csr_array((np.ones(n * k), nearest.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
    both = (one + one.T).tocsr()
    both.data /= both.data.sum()
    return both


def repulsion(y: np.ndarray) -> np.ndarray:
    """The repulsive part of t-SNE's gradient for places (n, 2): sum_j (y_i - y_j) q_ij^2 / sum_kl q_kl, (n, 2).

    q = 1 / (1 + distance²). Charges are spread over the 3 × 3 nodes around each place by quadratic interpolation.
    """
    from scipy.fft import irfft2, next_fast_len, rfft2
    from scipy.sparse import csr_array

    n = len(y)
    low, extent = y.min(0), np.ptp(y, 0)
    h = max(_SPACING, extent.max() / _NODES)
    shape = np.ceil(extent / h).astype(int) + 4
    place = (y - low) / h + 1.5
    node = np.rint(place).astype(int)
    t = place - node  # -1/2 … 1/2
    weights = np.stack([t * (t - 1) / 2, 1 - t * t, t * (t + 1) / 2], 2)  # (n, 2, 3): Lagrange at -1, 0, 1
    index = (node[:, 0, None, None] + np.arange(-1, 2)[:, None]) * shape[1] + node[:, 1, None, None] + np.arange(-1, 2)
    spread = csr_array(
        ((weights[:, 0, :, None] * weights[:, 1, None, :]).ravel(), index.ravel(), np.arange(0, 9 * n + 1, 9)),
        shape=(n, int(shape.prod())),
    )
    charges = (spread.T @ np.column_stack([np.ones(n), y])).T.reshape(3, *shape)
    size = [next_fast_len(int(2 * s - 1), real=True) for s in shape]
    distance = [h * np.minimum(np.arange(s), s - np.arange(s)) for s in size]
    q = 1 / (1 + distance[0][:, None] ** 2 + distance[1][None, :] ** 2)
    waves = rfft2(charges.astype(np.float32), size, workers=1)
    kernel, square = rfft2(np.stack([q, q * q]).astype(np.float32), size, workers=1)
    potential = irfft2(np.concatenate([waves[:1] * kernel, waves * square]), size, workers=1)
    found = spread @ potential[:, : shape[0], : shape[1]].reshape(4, -1).T  # (n, 4)
    total = max(found[:, 0].sum() - n, 1e-12)  # without each place's own
    return (y * found[:, 1:2] - found[:, 2:]) / total
