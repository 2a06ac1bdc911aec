"""The head random_features: the Gaussian kernel in the limit, closed forms of it, saved, without torch, refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_data import views

from sensorium import heads, parts
from sensorium.errors import BadRecipe
from sensorium.fitting import closed_form
from sensorium.heads.random_features import RandomFeatures
from sensorium.numerics.moments import InputStats
from sensorium.objectives.cca import CCA, _leading
from sensorium.pairs import Pairs
from sensorium.stream import lite


def test_inner_products_of_features_are_the_gaussian_kernel() -> None:
    random = np.random.default_rng(0)
    x = (random.standard_normal((300, 5)) * [1, 2, 3, 4, 5]).astype(np.float32)
    for width in (0.7, 2.0):
        head = RandomFeatures(features=20000, width=width)
        head.build(5, InputStats.of(x, np.arange(len(x))))
        assert head.needs_statistics and head.lift_dim == 20000
        phi = head.lift(torch.from_numpy(x)).numpy()
        z = (x - x.mean(0)) / x.std(0)
        squared = ((z[:, None] - z[None]) ** 2).sum(2)
        sigma = width * np.sqrt(squared.mean())  # a multiple of the root mean square distance
        np.testing.assert_allclose(phi @ phi.T, np.exp(-squared / (2 * sigma**2)), atol=0.06)


def test_ridge_regression_of_the_features_is_not_linear(tmp_path) -> None:
    random = np.random.default_rng(1)
    x = random.uniform(-2, 2, (400, 2)).astype(np.float32)
    y = np.stack([np.sin(2 * x[:, 0]) * x[:, 1], np.cos(x[:, 1] - x[:, 0])], 1).astype(np.float32)
    left, right, pairs = views()
    left = replace(left, ids=np.arange(400).astype(str), vectors=x, meta={})
    right = replace(right, ids=np.arange(400).astype(str), vectors=y, meta={})
    pairs = Pairs.of(np.arange(400), np.arange(400), split=np.full(400, "train"))
    head = parts.make("heads", {"name": "random_features", "features": 800, "width": 0.5, "normalize": False})
    objective = parts.make("objectives", {"name": "ridge", "strengths": 1e-4, "center": False})
    as_is = {"name": "identity", "normalize": False}
    fitted = closed_form.solve(left, right, pairs, head, parts.make("heads", as_is), objective)
    assert fitted.left_head is head and head.dim == 2 and not fitted.names.get("left")
    z = heads.apply(head, x)
    assert np.square(z - y).mean() < 0.02
    linear = closed_form.solve(left, right, pairs, None, parts.make("heads", as_is), objective)
    assert np.square(linear.left_head.affine()(x.astype(np.float64)) - y).mean() > 0.2
    heads.save(head, tmp_path / "left", "random_features", {"name": "toy"})
    np.testing.assert_allclose(lite.Head(tmp_path / "left")(x[:9]), z[:9], atol=1e-5)
    np.testing.assert_array_equal(heads.apply(heads.load(tmp_path / "left"), x), z)


def test_few_components_of_many_are_those_of_the_whole_decomposition() -> None:
    random = np.random.default_rng(0)
    a, b = (np.linalg.qr(random.standard_normal((1100, 1100)))[0] for _ in range(2))
    s = 1 / (1 + np.arange(1100) / 40) ** 2
    u, found, v = _leading(a * s @ b, 20, exact=True)
    np.testing.assert_allclose(found[:20], s[:20], rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(u[:, :20] * a[:, :20], 0)), 1, atol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(v[:, :20] * b[:20].T, 0)), 1, atol=1e-6)


def test_one_head_for_one_table() -> None:
    left, _, pairs = views()
    tied = Pairs.of(pairs.left, (pairs.left + 1) % len(left), split=pairs.split, same_table=True)
    head = RandomFeatures(features=32)
    fitted = closed_form.solve(left, left, tied, head, head, CCA(dim=4))
    assert fitted.left_head is fitted.right_head is head and head.dim <= 4


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"features": 0}, "features=0; expected 1 to 65,536, such as 1024"),
        ({"features": 70000}, "features=70000; expected 1 to 65,536"),
        ({"width": 0.0}, "width=0.0; expected 0.01 to 100, such as 1.5"),
        ({"width": 101.0}, "width=101.0; expected 0.01 to 100"),
        ({"seed": -1}, "seed=-1; expected a whole number, 0 to 2,147,483,647"),
        ({"seed": 1 << 31}, "seed=2147483648; expected a whole number"),
    ],
)
def test_misuse(keys, message) -> None:
    with pytest.raises(BadRecipe, match=f"random_features: {message}"):
        RandomFeatures(**keys)


def test_a_closed_form_of_another_width_is_refused() -> None:
    left, right, pairs = views()
    both = [RandomFeatures(dim=5, features=16) for _ in range(2)]
    with pytest.raises(BadRecipe, match=r"dim=5, but the closed form is 3 wide; .* type: objective.dim=5"):
        closed_form.solve(left, right, pairs, *both, CCA(dim=3))
