"""Maximal marginal relevance against its definition, written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadRecipe
from sensorium.search import mmr


def by_definition(relevance, vectors, k, trade):
    """Carbonell and Goldstein's formula, candidate by candidate."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    taken: list[int] = []
    while len(taken) < min(k, len(relevance)):
        best, value = -1, -np.inf
        for i in range(len(relevance)):
            if i not in taken:
                like = max((float(unit[i] @ unit[j]) for j in taken), default=0.0)
                mine = trade * relevance[i] - (1 - trade) * like
                if mine > value + 1e-9:
                    best, value = i, mine
        taken.append(best)
    return taken


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 15), st.integers(1, 20), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_it_is_the_definition(m, k, trade, seed):
    dice = np.random.default_rng(seed)
    relevance, vectors = np.sort(dice.random(m))[::-1], dice.standard_normal((m, 5)).astype(np.float32)
    assert mmr.mmr(relevance, vectors, k, trade).tolist() == by_definition(relevance, vectors, k, trade)


def test_relevance_alone_keeps_the_order_and_twins_come_late():
    vectors = np.array([[1, 0], [1, 0.001], [0, 1]], np.float32)
    assert mmr.mmr(np.array([0.9, 0.8, 0.3]), vectors, 3, 1.0).tolist() == [0, 1, 2]
    assert mmr.mmr(np.array([0.9, 0.8, 0.3]), vectors, 3, 0.5).tolist() == [0, 2, 1]
    assert mmr.mmr(np.zeros(0), np.zeros((0, 2)), 3, 0.5).tolist() == []


def test_another_trade_is_refused():
    with pytest.raises(BadRecipe, match="mmr=2"):
        mmr.mmr(np.zeros(1), np.ones((1, 2)), 1, 2)
