"""Candidates of many queries, put in order together: what the definition gives for each alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sensorium import scores
from sensorium.indexes import _reranking as reranking

N, D = 60, 8
VECTORS = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
VECTORS[20:30] = VECTORS[3]  # equal scores
VECTORS[40:50] = VECTORS[4] + np.float32(1e-7) * np.random.default_rng(1).standard_normal((10, D)).astype(np.float32)


def by_definition(query, row, k):
    some = np.unique(row[row >= 0])
    score = scores.pair_scores(np.broadcast_to(query, (len(some), D)), VECTORS[some])
    order = np.lexsort((some, -score))[:k]
    short = k - len(order)
    return np.append(some[order], np.full(short, -1)), np.append(score[order], np.full(short, -np.inf))


@given(
    st.lists(st.lists(st.integers(-1, N - 1), min_size=17, max_size=17), max_size=7), st.integers(1, 20), st.booleans()
)
def test_the_best_are_those_of_each_query_alone(candidates, k, small):
    candidates = np.array(candidates, np.int64).reshape(-1, 17)
    queries = np.random.default_rng(len(candidates)).standard_normal((len(candidates), D)).astype(np.float32)
    queries[::2] = VECTORS[4]
    before = reranking._NUMBERS
    try:
        reranking._NUMBERS = 2 * 17 * D if small else before  # several blocks
        positions, score = reranking.best(queries, candidates, k, lambda at: VECTORS[at])
    finally:
        reranking._NUMBERS = before
    for i, row in enumerate(candidates):
        expected = by_definition(queries[i], row, k)
        np.testing.assert_array_equal(positions[i], expected[0])
        np.testing.assert_array_equal(score[i], expected[1].astype(np.float32))


def test_vectors_are_read_in_the_order_of_the_file():
    asked = []
    candidates = np.array([[9, 2, 30, -1], [8, 9, 1, 1]])
    reranking.best(VECTORS[:2], candidates, 2, lambda at: asked.append(at) or VECTORS[at])
    assert len(asked) == 1 and (np.diff(asked[0]) >= 0).all()


def test_no_candidates():
    positions, score = reranking.best(VECTORS[:2], np.zeros((2, 0), np.int64), 3, lambda at: VECTORS[at])
    assert (positions == -1).all() and (score == -np.inf).all() and positions.shape == (2, 3)
