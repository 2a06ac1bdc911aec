"""The head of class probabilities: its closed form, its width, its score as the probability of one class."""

import numpy as np
import pytest

from sensorium import heads, parts
from sensorium.errors import BadRecipe
from sensorium.types import Affine


def made(dim_in=6, **keys):
    head = parts.make("heads", {"name": "posterior", **keys})
    head.build(dim_in)
    return head


def softmax(x):
    powers = np.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_a_closed_form_decides_the_classes_and_is_what_it_computes(tmp_path):
    random = np.random.default_rng(0)
    affine, x = Affine(random.normal(size=(6, 3)), random.normal(size=3)), random.normal(size=(20, 6))
    head = made()
    head.initialise(affine)
    assert head.dim == 3
    np.testing.assert_allclose(heads.apply(head, x.astype(np.float32)), softmax(affine(x)), atol=1e-5)
    np.testing.assert_allclose(head.logits().weight, affine.weight, atol=1e-6)
    heads.save(head, tmp_path / "left", "posterior", {"name": "toy"})
    again, _ = heads.restore(tmp_path / "left")
    x = x.astype(np.float32)
    np.testing.assert_array_equal(heads.apply(again, x), heads.apply(head, x))


def test_the_score_of_two_items_is_the_probability_of_one_class():
    """Classes drawn from both sides' probabilities agree as often as the inner product says."""
    random = np.random.default_rng(1)
    p, q = (softmax(2 * random.normal(size=(1, 4)))[0] for _ in range(2))
    drawn = [random.choice(4, 100_000, p=one) for one in (p, q)]
    assert np.mean(drawn[0] == drawn[1]) == pytest.approx(float(p @ q), abs=0.006)


def test_another_number_of_classes_than_asked_for_is_refused():
    with pytest.raises(BadRecipe, match=r"posterior: dim=5, but there are 3 classes; leave it out, or type: left.head"):
        made(dim=5).initialise(Affine(np.zeros((6, 3)), np.zeros(3)))
