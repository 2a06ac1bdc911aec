"""Points as vectors whose inner products rank as Euclidean distances do."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.numerics import gaussian_features as features

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.floats(0.01, 1.0))
def test_inner_products_are_the_kernel(seed, size):
    x = np.random.default_rng(seed).uniform(-size, size, (40, 3))
    right = np.exp(-np.square(x[:, None] - x[None]).sum(2) / 6)
    z = features.lift(x)
    np.testing.assert_allclose(z @ z.T, right, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(features.points_of(z), x, atol=1e-6)
    np.testing.assert_allclose(features.distances((z[:1] @ z.T).astype(np.float64))[0],
                               np.linalg.norm(x[0] - x, axis=1), atol=4e-3)  # fmt: skip


@settings(max_examples=30)
@given(SEEDS)
def test_the_ranking_is_that_of_distances(seed):
    random = np.random.default_rng(seed)
    items, query = random.uniform(-1, 1, (300, 3)), random.uniform(-1, 1, 3)
    distance = np.linalg.norm(items - query, axis=1)
    order = np.argsort(-(features.lift(items).astype(np.float64) @ features.lift(query[None])[0]), kind="stable")
    ranked = distance[order]
    assert (ranked[1:] - ranked[:-1]).min() > -1e-3 and np.abs(ranked - np.sort(distance)).max() < 1e-3


def test_corners_and_what_lies_beyond_them():
    corners = np.array([[1, 1, 1], [-1, -1, -1], [1, -1, 1], [0, 0, 0]], np.float64)
    z = features.lift(corners).astype(np.float64)
    np.testing.assert_allclose(z @ z.T, np.exp(-np.square(corners[:, None] - corners[None]).sum(2) / 6), atol=4e-7)
    np.testing.assert_array_equal(features.lift(corners * 3), features.lift(corners))
    assert features.WIDTH == 220 and z.shape == (4, 220)
