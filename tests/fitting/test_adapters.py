"""Adapters between encoders: exact where the spaces are, of the rank that there is, and chosen on held-out items."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import heads
from sensorium.fitting import adapter_choice, adapters
from sensorium.heads.adapted import Adapted
from sensorium.heads.linear import Linear
from sensorium.heads.mlp import MLP
from sensorium.numerics.moments import InputStats


def orthogonal(d: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def linear(x: np.ndarray, y: np.ndarray) -> list[adapters.Adapter]:
    fits = adapters.LinearFits(x, y)
    return [fits.fit(name) for name in [*fits.names(), *fits.ranks("ridge 0.01")]]


def judged_by(y: np.ndarray):
    """Reciprocal rank of the own old vector among all of them, by inner product of unit rows."""
    unit = y / np.linalg.norm(y, axis=1, keepdims=True)

    def judge(places, z):
        scores = (z / np.linalg.norm(z, axis=1, keepdims=True)) @ unit.T
        own = scores[np.arange(len(places)), places]
        return 1 / (scores >= own[:, None]).sum(1)

    return judge


def head_of(y: np.ndarray) -> torch.nn.Module:
    torch.manual_seed(0)
    made = MLP(dim=6, hidden=16)
    made.build(y.shape[1], InputStats.of(y))
    return made.eval()


@given(
    d=st.integers(3, 12), shift=st.floats(-3, 3), scale=st.floats(0.1, 9), unit=st.booleans(), seed=st.integers(0, 99)
)
@settings(max_examples=25, deadline=None)
def test_of_a_turned_space_every_ranking_comes_back(d, shift, scale, unit, seed) -> None:
    random = np.random.default_rng(seed)
    y = random.normal(size=(80, d)).astype(np.float32)
    if unit:
        y /= np.linalg.norm(y, axis=1, keepdims=True)
    x = (scale * y @ orthogonal(d, seed) + shift).astype(np.float32)
    found = adapter_choice.choose(x[:60], y[:60], judged_by(y[:60]), None, np.arange(60), seed, network=False)
    assert found.adapter.name == "procrustes" and found.error < 1e-4
    np.testing.assert_allclose(found.adapter(x), y, atol=2e-4 * max(1, abs(y).max()))
    module, others = head_of(y), random.normal(size=(30, 6)).astype(np.float32)
    same, new = heads.apply(module, y) @ others.T, heads.apply(found.adapter.before("mlp", module), x) @ others.T
    in_its_order = np.take_along_axis(new, np.argsort(-same, axis=1), 1)
    assert (np.diff(in_its_order, axis=1) < 1e-3 * np.abs(same).max()).all()


@given(rank=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_of_a_new_space_of_low_rank_what_its_rank_allows_is_kept(rank, seed) -> None:
    """NEW = OLD P, P of rank r: least squares can give back the projection of OLD that P leaves, and no more."""
    random = np.random.default_rng(seed)
    y = random.normal(size=(400, 8))
    p = orthogonal(8, seed)[:, :rank] @ random.normal(size=(rank, 11))
    best = adapters.LinearFits(y[:300] @ p, y[:300]).fit("ridge 1e-06")
    kept = orthogonal(8, seed)[:, :rank]
    yc = y[:300] - y[:300].mean(0)
    wanted = yc @ kept @ np.linalg.lstsq(yc @ kept, yc, rcond=None)[0] + y[:300].mean(0)
    np.testing.assert_allclose(best(y[:300] @ p), wanted, atol=2e-3)
    assert np.linalg.matrix_rank(best.linear.weight, tol=1e-6) <= rank


def test_fewer_rows_than_numbers_and_constant_columns_give_finite_adapters() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(30, 64)), random.normal(size=(30, 5))
    x[:, :7] = 2.0
    for one in linear(x, y):
        assert np.isfinite(one(x)).all() and one(x).shape == (30, 5)


def test_the_residual_perceptron_learns_what_no_linear_map_can_and_is_chosen_then(monkeypatch) -> None:
    monkeypatch.setattr(adapters, "_STEPS", 300)
    monkeypatch.setattr(adapter_choice, "_NETWORK_FOLDS", 1)
    y = np.random.default_rng(1).uniform(-1, 1, size=(700, 3)).astype(np.float32)
    x = np.concatenate([np.sin(4 * y), np.cos(4 * y), np.abs(y)], 1)
    module = head_of(y)
    found = adapter_choice.choose(x[:500], y[:500], judged_by(y[:500]), module, np.arange(500), 0)
    best = max(one["MRR"] for one in found.tried if one["adapter"] != "residual mlp")
    assert found.adapter.name == "residual mlp" and found.tried[-1]["MRR"] > best
    error = np.square(found.adapter(x[500:]) - y[500:]).mean()
    assert error < 0.9 * min(np.square(one(x[500:]) - y[500:]).mean() for one in linear(x[:500], y[:500]))
    np.testing.assert_allclose(
        heads.apply(found.adapter.before("mlp", module), x[:50]), heads.apply(module, found.adapter(x[:50])), atol=1e-4
    )


def test_reduced_rank_keeps_the_main_directions_of_the_fitted_values() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(400, 50)), random.normal(size=(400, 2)) @ random.normal(size=(2, 40))
    y += x[:, :40] * 0.1
    fits = adapters.LinearFits(x, y)
    whole, reduced = fits.fit("ridge 0.01"), fits.fit("rank 32, ridge 0.01")
    assert fits.ranks("ridge 0.01") == ["rank 32, ridge 0.01"]
    assert np.linalg.matrix_rank(reduced.linear.weight) == 32
    fitted, near = (whole(x) - y.mean(0)).astype(np.float64), (reduced(x) - y.mean(0)).astype(np.float64)
    values = np.linalg.svd(fitted - fitted.mean(0), compute_uv=False)
    np.testing.assert_allclose(np.square(fitted - near).sum(), np.square(values[32:]).sum(), rtol=0.02)


def test_items_of_one_group_are_held_out_together() -> None:
    folds = adapter_choice._folds(np.repeat(np.arange(20), 5), 0)
    assert all(len(set(folds[5 * g : 5 * g + 5])) == 1 for g in range(20)) and len(set(folds)) == 5
    assert len(set(adapter_choice._folds(np.array([0, 0, 1, 1, 1, 1]), 0))) == 5  # too few groups: by item


def test_an_adapter_is_saved_before_the_head_and_is_the_same_without_torch(tmp_path) -> None:
    from sensorium.stream import lite

    random = np.random.default_rng(0)
    inner = tuple(random.normal(size=shape).astype(np.float32) for shape in ((4, 9), (4,), (5, 4)))
    one = adapters.Adapter("x", adapters.Affine(random.normal(size=(9, 5)), np.ones(5)), inner, True)
    module = Linear(dim=3)
    module.build(5, InputStats.of(random.normal(size=(40, 5))))
    made, x = one.before("linear", module.eval()), random.normal(size=(20, 9)).astype(np.float32)
    np.testing.assert_allclose(heads.apply(made, x), heads.apply(module, one(x)), atol=1e-5)
    heads.save(made, tmp_path / "left", "adapted", {"name": "new"})
    again = heads.restore(tmp_path / "left")[0]
    assert isinstance(again, Adapted) and again.arguments == made.arguments
    np.testing.assert_array_equal(heads.apply(again, x), heads.apply(made, x))
    np.testing.assert_allclose(lite.Head(tmp_path / "left")(x), heads.apply(made, x), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "adapted: width=0; expected a whole number, 1 to 65536"),
        ({"hidden": -1}, "adapted: hidden=-1; expected a whole number, 0 to 65536"),
        ({"hidden": 70_000}, "adapted: hidden=70000; expected a whole number, 0 to 65536"),
        ({"head": "lstm"}, "adapted: the lstm head does not take single vectors; name another, such as mlp"),
        ({"head": "lin"}, "no head"),
    ],
)
def test_invalid_values_are_refused(arguments, message) -> None:
    from sensorium.errors import BadRecipe

    with pytest.raises(BadRecipe, match=message):
        Adapted(**arguments)


def test_a_head_of_features_is_not_built_behind_an_adapter() -> None:
    from sensorium.errors import BadRecipe

    made = Adapted({"name": "face", "points": 2, "emotions": 1, "eyes": [[0], [1]]})
    with pytest.raises(BadRecipe, match="adapted: the face head reads features of its own input"):
        made.build(5, InputStats.of(np.random.default_rng(0).normal(size=(40, 5))))
