"""Held-out retrieval by which closed forms choose: exact ranks are the oracle; what is chosen is solved exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import scores
from sensorium.fitting.held_out import PAIRS, HeldOut
from sensorium.numerics.moments import Moments
from sensorium.objectives.cca import CCA
from sensorium.objectives.ridge import Ridge
from sensorium.pairs import Pairs
from sensorium.types import Affine


class Rows:
    """A side whose objective sees the vectors as they are."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    def rows(self, which: np.ndarray) -> np.ndarray:
        return self.vectors[which]


def reciprocal_ranks(x: np.ndarray, y: np.ndarray, pairs: Pairs) -> float:
    """Mean over both directions, by :func:`sensorium.scores.ranks`."""
    found = []
    for direction, q, c in (("left->right", x, y), ("right->left", y, x)):
        asked = pairs.relevance(direction)
        first = np.minimum.reduceat(scores.ranks(q, c, asked), asked.offsets[:-1])
        found.append(np.mean(1 / first))
    return float(np.mean(found))


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.booleans(), st.booleans())
def test_ranks_of_one_matrix_are_the_exact_ones(seed: int, n: int, same: bool, repeated: bool) -> None:
    random = np.random.default_rng(seed)
    x, y = (random.standard_normal((n, 6)).astype(np.float32) for _ in range(2))
    if repeated:  # whole rows are equal, which counts against
        x[n // 2 :], y[n // 2 :] = x[0], y[0]
    left, right = random.integers(0, n, (2, 2 * n))
    if same:
        left, right = left[left != right], right[left != right]
        y = x
    if not len(left):
        return
    pairs = Pairs.of(left, right, split=np.full(len(left), "validation"), same_table=same)
    held_out = HeldOut.of((Rows(x), Rows(y)), pairs)
    plain = unit(held_out.x), unit(held_out.y)
    assert held_out.measure()(None, None) == pytest.approx(reciprocal_ranks(*plain, held_out.pairs), abs=1e-12)
    turn = np.linalg.qr(random.standard_normal((6, 6)))[0]  # both sides turned alike: nothing changes
    turned = held_out.measure()(*(Affine(turn, np.zeros(6)),) * 2)
    assert turned == pytest.approx(held_out.measure()(None, None), abs=1e-12)


def test_constant_outputs_are_the_worst() -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 300, 40)).astype(np.float32)
    at = np.arange(300)
    pairs = Pairs.of(at, at, split=np.full(300, "validation"))
    constant = Affine(np.zeros((40, 7)), np.arange(1.0, 8.0))
    assert HeldOut.of((Rows(x), Rows(y)), pairs).measure()(constant, constant) == pytest.approx(1 / 300)


def test_at_most_so_many_pairs_and_the_same_ones_every_time() -> None:
    x = np.random.default_rng(0).standard_normal((3000, 4)).astype(np.float32)
    pairs = Pairs.of(np.arange(3000), np.arange(3000), split=np.full(3000, "validation"))
    one, other = (HeldOut.of((Rows(x), Rows(x)), pairs) for _ in range(2))
    assert len(one.x) == len(one.pairs) == PAIRS
    np.testing.assert_array_equal(one.x, other.x)
    assert HeldOut.of((Rows(x), Rows(x)), Pairs.of(np.arange(9), np.arange(9), split=np.full(9, "train"))) is None


@pytest.mark.parametrize("objective", [CCA(strengths=(1e-3, 0.1, 1.0)), CCA(4, (0.01, 1.0), (0.0, 1.0)), Ridge()])
def test_the_choice_is_that_of_exact_maps(objective) -> None:
    random = np.random.default_rng(1)
    z = random.standard_normal((900, 12))
    x = z @ random.standard_normal((12, 40)) + 3 * random.standard_normal((900, 40)) + 5
    y = np.tanh(z @ random.standard_normal((12, 25))) + 0.5 * random.standard_normal((900, 25))
    pairs = Pairs.of(np.arange(900), np.arange(900), split=np.repeat(["train", "validation"], [500, 400]))
    moments = Moments(40, 25).update(x[:500], y[:500])
    measure = HeldOut.of((Rows(x), Rows(y)), pairs).measure()
    found = objective.solve(moments, measure)
    assert found.notes["chosen_by"] == "validation"
    keys = {"powers": found.notes["power"]} if isinstance(objective, CCA) else {}
    if isinstance(objective, CCA):
        keys["dim"] = objective.dim
    alone = type(objective)(strengths=(found.notes["strength"],) * 2, **keys).solve(moments)
    np.testing.assert_allclose(np.abs(found.left.weight), np.abs(alone.left.weight), rtol=0, atol=1e-12)
    best = max(found.notes["tried"].values())
    assert best == pytest.approx(measure(found.left, found.right), abs=2e-3)


def test_directions_that_are_rounding_are_left_out() -> None:
    """12 rows have at most 11 directions; the others say nothing and are 0, also where all count alike."""
    random = np.random.default_rng(0)
    x, y = random.standard_normal((12, 30)), random.standard_normal((12, 20))
    found = CCA(strengths=0.1, powers=0.0).solve(Moments(30, 20).update(x, y))
    lengths = np.linalg.norm(found.left.weight, axis=0)
    assert (lengths[:11] > 0.1).all() and not lengths[11:].any()
