"""Sets of items as queries: the default against a loop, a head of one's own, what is refused."""

import numpy as np
import pytest
import torch

from sensorium import heads
from sensorium.contracts import SetHead
from sensorium.errors import BadData
from sensorium.heads.linear import Linear
from sensorium.pairs.sets import ragged


class Weighted(torch.nn.Module, SetHead):
    """Sum of the vectors, each times one more than its category, plus the slot."""

    categories = ("a", "b", "c")

    def build(self, dim_in, stats=None, like=None):
        self.dim_in = self.dim = dim_in

    def forward(self, x):
        return x

    def compose(self, x, lengths, category, slot):
        there = torch.arange(x.shape[1]) < lengths[:, None]
        return (x * (there * (category + 1))[:, :, None]).sum(1) + slot[:, None]


def test_the_mean_of_a_heads_outputs_is_the_default():
    random = np.random.default_rng(0)
    x = random.normal(size=(30, 6)).astype(np.float32)
    head = Linear(dim=4)
    head.build(6)
    sets = [random.choice(30, size, replace=False) for size in (1, 3, 2, 5)]
    made = heads.compose(head, x, ragged(sets), np.full(30, -1), np.full(4, -1))
    z = heads.apply(head, x)
    assert np.allclose(made, [z[one].mean(0) for one in sets], atol=1e-6)


def test_a_head_that_takes_sets_composes_them(monkeypatch):
    monkeypatch.setattr(heads._base, "_MEMBERS", 4)  # several passes
    random = np.random.default_rng(1)
    x = random.normal(size=(20, 5)).astype(np.float32)
    category, slot = random.integers(-1, 3, 20), np.array([2, -1, 0, 1])
    head = Weighted()
    head.build(5)
    sets = [[4, 5, 6], [0], [7, 1], [9, 2, 3, 8, 11]]
    made = heads.compose(head, x, ragged(sets), category, slot)
    expected = [sum(x[i] * (category[i] + 1) for i in one) + s for one, s in zip(sets, slot, strict=True)]
    assert np.allclose(made, expected, atol=1e-5)
    with pytest.raises(BadData, match="1 of 2 sets are empty"):
        heads.compose(head, x, ragged([[1], []]), category, slot[:2])
