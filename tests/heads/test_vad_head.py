"""The head of valence, arousal and dominance: its map, its distances, gradients, and closed forms written into it."""

import numpy as np
import pytest
import torch

from sensorium import heads, parts
from sensorium.errors import BadRecipe
from sensorium.numerics import gaussian_features
from sensorium.types import Affine


def made(dim_in):
    torch.manual_seed(0)
    head = parts.make("heads", "vad")
    head.build(dim_in)
    return head


def test_three_numbers_are_ratings_already():
    x = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    head = made(3)
    np.testing.assert_allclose(heads.apply(head, x), gaussian_features.lift(x), atol=1e-7)
    np.testing.assert_array_equal(head.ratings(torch.from_numpy(x)).detach(), x)


def test_a_closed_form_is_what_it_computes_saved_and_loaded(tmp_path):
    random = np.random.default_rng(1)
    affine = Affine(random.standard_normal((8, 3)) / 8, random.standard_normal(3) / 4)
    head, x = made(8), random.standard_normal((20, 8)).astype(np.float32)
    head.initialise(affine)
    np.testing.assert_allclose(head.rating_map().weight, affine.weight, atol=1e-6)
    right = gaussian_features.lift(affine(x.astype(np.float64)))
    np.testing.assert_allclose(heads.apply(head, x), right, atol=1e-6)
    heads.save(head, tmp_path / "left", "vad", {"name": "toy"})
    again, _ = heads.restore(tmp_path / "left")
    np.testing.assert_array_equal(heads.apply(again, x), heads.apply(head, x))


def test_a_closed_form_of_another_width_is_refused():
    with pytest.raises(
        BadRecipe, match=r"maps to 3 ratings, this closed form gives 5 numbers; type: objective=vad, or"
    ):
        made(8).initialise(Affine(np.zeros((8, 5)), np.zeros(5)))


def test_gradients_are_finite_where_a_rating_is_zero():
    head = made(3)
    head(torch.zeros(4, 3)).sum().backward()
    assert torch.isfinite(head.layers[0].weight.grad).all() and head.layers[0].bias.grad.abs().max() > 0
