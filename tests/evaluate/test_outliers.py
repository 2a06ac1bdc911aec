"""Items that repeat another or lie apart, by nearest neighbours: exact, or around landmarks."""

import numpy as np
import pytest

from sensorium.evaluate import outliers
from sensorium.numerics import unit


def clusters(n: int = 600, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (3 * random.standard_normal((8, 16))[random.integers(0, 8, n)] + random.standard_normal((n, 16))).astype(
        np.float32
    )


@pytest.fixture(params=["exact", "landmarks"])
def way(request, monkeypatch):
    if request.param == "landmarks":
        monkeypatch.setattr(outliers, "EXACT", 0)
        monkeypatch.setattr(outliers, "_LANDMARKS", 6)
    return request.param


def test_neighbours_are_the_most_similar_other_rows(way):
    x = clusters()
    found = outliers.neighbours(x, 3)
    alike = unit(x) @ unit(x).T
    np.fill_diagonal(alike, -np.inf)
    assert (found.positions != np.arange(len(x))[:, None]).all()
    assert all(len(set(row)) == 3 for row in found.positions.tolist())
    np.testing.assert_allclose(found.cosines, np.take_along_axis(alike, found.positions, 1), atol=1e-5)
    best = alike.max(1)
    share = np.mean(np.abs(found.cosines[:, 0] - best) < 1e-5)
    assert share == 1 if way == "exact" else share > 0.9


def test_repeats_are_found_by_vector_and_by_content(way):
    x = clusters()
    x[10], x[500] = 2 * x[3], x[3]  # a multiple has the same direction
    content = np.arange(len(x))
    content[77] = content[400]
    first = outliers.repeats(outliers.neighbours(x), content)
    moved = np.flatnonzero(first != np.arange(len(x)))
    assert moved.tolist() == [10, 400, 500] and first[moved].tolist() == [3, 77, 3]


def test_an_item_apart_is_found_and_the_rest_is_not(way):
    x = clusters(1500)
    away = [5, 700]
    x[away] = 9 * np.eye(16, dtype=np.float32)[[0, 1]] * np.array([[1], [-1]])
    found = outliers.outliers(outliers.neighbours(x))
    assert (found.probability[away] > 0.5).all() and (found.times[away] > 1.5).all()
    assert (np.delete(found.probability, away) > 0.5).sum() <= 3


def test_few_items_have_no_outlier():
    found = outliers.outliers(outliers.neighbours(clusters(40)))
    assert not found.probability.any() and (found.times == 1).all()
