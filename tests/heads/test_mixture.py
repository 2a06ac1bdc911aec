"""Mixtures: scores are weighted sums of unlike members' scores, of vectors, files, graphs and NumPy alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import heads
from sensorium.errors import BadRecipe
from sensorium.heads.ensemble import Ensemble
from sensorium.heads.linear import Linear
from sensorium.heads.mixture import Mixture
from sensorium.heads.mlp import MLP
from sensorium.numerics.moments import InputStats
from sensorium.numerics.signed_power import Powered, signed_power
from sensorium.stream import lite

X = np.random.default_rng(0).normal(0.5, 2.0, (40, 12)).astype(np.float32)
NAMES = ["linear", "mlp", "ensemble"]


def members(power: float = 1.0, seed: int = 0) -> list[torch.nn.Module]:
    """Three built heads of unlike kinds and widths, standardised by the powers of X."""
    torch.manual_seed(seed)
    stats = InputStats.of(signed_power(X, power))
    made = [Linear(dim=3), MLP(dim=5, hidden=7, residual=True), *(MLP(dim=2, hidden=4) for _ in range(2))]
    for one in made:
        one.build(12, stats)
    return [*made[:2], Ensemble.of("mlp", made[2:])]


@given(
    weights=st.lists(st.floats(0, 9), min_size=3, max_size=3).filter(lambda w: sum(w) > 1e-3),
    power=st.sampled_from([0.5, 1.0, 2.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_scores_are_the_weighted_sums_of_the_members_scores(weights, power, seed) -> None:
    sides = [members(power, s) for s in (seed, seed + 1000)]
    zl, zr = (heads.apply(Mixture.of(NAMES, side, weights, power), X) for side in sides)
    given = np.sign(X) * np.abs(X) ** power
    each = [heads.apply(a, given) @ heads.apply(b, given).T for a, b in zip(*sides, strict=True)]
    np.testing.assert_allclose(zl @ zr.T, np.average(each, 0, weights), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(zl, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_saved_loaded_and_in_numpy_alone_it_gives_the_same_numbers(tmp_path, power: float) -> None:
    joined = Mixture.of(NAMES, members(power), [3, 1, 0.5], power)
    assert joined.normalize and joined.dim == 3 + 5 + 4
    heads.save(joined, tmp_path / "left", "mixture", {"name": "made up"})
    for again in (heads.restore(tmp_path / "left")[0], heads.load(tmp_path / "left.safetensors")):
        assert isinstance(again, Mixture) and again.arguments == joined.arguments
        assert np.array_equal(heads.apply(again, X), heads.apply(joined, X))
    np.testing.assert_allclose(lite.Head(tmp_path / "left")(X), heads.apply(joined, X), atol=1e-5)


def test_applied_within_a_step_in_bfloat16_it_gives_the_same_numbers() -> None:
    """As the teacher of objective=distill is, whose outputs are of float32."""
    joined = Mixture.of(NAMES, members(), [3, 1, 0.5])
    with torch.autocast("cpu", torch.bfloat16):
        inside = heads.apply(joined, X)
    np.testing.assert_allclose(inside, heads.apply(joined, X), atol=1e-6)


def test_as_onnx_it_gives_the_same_numbers(tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from sensorium.formats.onnx import export_onnx

    joined = Mixture.of(NAMES, members(0.5), [3, 1, 0.5], 0.5)
    inputs = export_onnx(joined, tmp_path / "head.onnx", "vectors")
    session = onnxruntime.InferenceSession(tmp_path / "head.onnx")
    np.testing.assert_allclose(session.run(["outputs"], {next(iter(inputs)): X})[0], heads.apply(joined, X), atol=1e-5)


def test_named_in_a_recipe_its_members_are_made_and_built() -> None:
    one = Mixture(["linear", {"name": "mlp", "hidden": 8}])
    assert one.needs_statistics and not one.open_width and one.trainable
    one.build(12, InputStats.of(X), 6)
    assert one.dim == 6 and [member.dim for member in one.members] == [3, 3]
    plain = Mixture(["identity"])
    plain.build(12)
    assert not plain.trainable and plain.dim == 12


def test_powers_of_a_table_are_those_of_its_rows() -> None:
    table = Powered(X, 0.5)
    assert table.shape == (40, 12) and len(table) == 40 and table.dtype == np.float32
    for which in (slice(3, 9), np.array([5, 1, 5]), 7):
        np.testing.assert_array_equal(table[which], signed_power(X[which], 0.5))
    np.testing.assert_allclose(signed_power(signed_power(X, 0.5), 2.0), X, rtol=1e-5)
    assert signed_power(np.float32([-4, 0, 9]), 0.5).tolist() == [-2, 0, 3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"members": []}, r"mixture: members=\[\]; expected a list of 1 to 1000 heads"),
        ({"members": "mlp"}, "expected a list of 1 to 1000 heads"),
        ({"members": ["mpl"]}, "no head 'mpl'"),
        ({"members": ["lstm"]}, "the lstm head does not take single vectors; name another, such as mlp"),
        ({"members": ["set_mean"]}, "the set_mean head does not take single vectors"),
        ({"members": ["mlp", "linear"], "weights": [1.0]}, "expected 2 numbers from 0 on, not all 0"),
        ({"members": ["mlp"], "weights": [0.0]}, "expected 1 numbers from 0 on, not all 0"),
        ({"weights": [-1.0]}, "expected 1 numbers from 0 on, not all 0"),
        ({"widths": [3, 3]}, r"mixture: widths=\[3, 3\]; expected 1 whole numbers, or leave them out"),
        ({"power": 0.0}, r"mixture: power=0.0; expected 0.01 to 10.0, such as 0.5"),
        ({"power": 0.5}, "members that standardise are fitted by objective=mixture"),
    ],
)
def test_misuse(given, message) -> None:
    with pytest.raises(BadRecipe, match=message):
        Mixture(**given)
