"""Ragged rows and connected components, against plain Python and SciPy."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sensorium.evaluate import duplicates
from sensorium.pairs import Pairs, csr
from sensorium.pairs.components import components

COUNTS = st.lists(st.integers(0, 5), max_size=12)


@given(COUNTS, st.data())
def test_ranges_are_those_of_python(counts, data):
    starts = data.draw(st.lists(st.integers(0, 50), min_size=len(counts), max_size=len(counts)))
    expected = [start + k for start, count in zip(starts, counts, strict=True) for k in range(count)]
    found = csr.ranges(np.array(starts, int), np.array(counts, int))
    assert found.tolist() == expected and found.dtype == np.int64
    assert csr.positions(np.array(counts, int)).tolist() == [k for count in counts for k in range(count)]


@given(COUNTS.filter(bool), st.data())
def test_rows_are_taken_as_from_a_list_of_lists(counts, data):
    rows = [[100 * i + k for k in range(count)] for i, count in enumerate(counts)]
    ragged = csr.Ragged(csr.offsets_of(np.array(counts)), np.array(list(itertools.chain(*rows)), np.int64))
    chosen = data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=10))
    some = ragged.take(np.array(chosen, int))
    assert some.values.tolist() == list(itertools.chain(*(rows[i] for i in chosen)))
    assert some.counts.tolist() == [counts[i] for i in chosen]
    assert some.offsets[0] == 0 and some.offsets[-1] == len(some.values)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 99)), max_size=20))
def test_grouping_keeps_the_order_within_each_key(edges):
    keys, values = (np.array([edge[i] for edge in edges], np.int64) for i in (0, 1))
    grouped = csr.group(keys, values, 7)
    for key in range(7):
        inside = grouped.values[grouped.offsets[key] : grouped.offsets[key + 1]].tolist()
        assert inside == [v for k, v in edges if k == key]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.sampled_from([1, 8, 40, csr._NUMBERS]), st.data())
def test_means_are_those_of_each_row_however_many_are_gathered_at_once(counts, numbers, data):
    x = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32) + 100
    rows = [data.draw(st.lists(st.integers(0, 8), min_size=n, max_size=n)) for n in counts]
    ragged = csr.Ragged(csr.offsets_of(np.array(counts)), np.array(list(itertools.chain(*rows)), np.int64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csr, "_NUMBERS", numbers)
        found = csr.means(x, ragged)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [x[row].astype(np.float64).mean(0) for row in rows], rtol=2e-7)


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(
    st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=60))))  # fmt: skip
def test_components_are_those_of_scipy(graph):
    n, edges = graph
    a, b = (np.array([edge[i] for edge in edges], np.int64) for i in (0, 1))
    label = components(n, a, b)
    _, expected = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(n, n)), directed=False)
    assert (np.equal.outer(label, label) == np.equal.outer(expected, expected)).all()
    assert all(label[i] == np.flatnonzero(expected == expected[i])[0] for i in range(n)), "the smallest vertex"


@given(st.lists(st.integers(0, 4), min_size=1, max_size=15), st.data())
def test_equal_content_and_edges_join_the_same_classes(content, data):
    n = len(content)
    edges = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=10))
    a, b = (np.array([edge[i] for edge in edges], np.int64) for i in (0, 1))
    label = duplicates.classes(n, (a, b), np.array(content, np.uint64))
    equal = [(i, j) for i in range(n) for j in range(n) if content[i] == content[j]]
    more = np.array(equal + edges, np.int64).reshape(-1, 2)
    _, expected = connected_components(coo_array((np.ones(len(more)), tuple(more.T)), shape=(n, n)), directed=False)
    assert (np.equal.outer(label, label) == np.equal.outer(expected, expected)).all()


@pytest.mark.parametrize("same_table", [True, False])
def test_a_long_chain_of_pairs_is_one_group_in_no_time(same_table):
    """Its components once took minutes: the time must not grow with the square of the chain."""
    n = 50_000
    v = np.random.default_rng(0).permutation(n + 1)
    left, right = (v[:-1], v[1:]) if same_table else (np.r_[v[:-1], v[1:]], np.r_[v[:-1], v[:-1]])
    started = time.perf_counter()
    pairs = Pairs.of(left, right, same_table=same_table)
    assert len(np.unique(pairs.group)) == 1
    assert time.perf_counter() - started < 2.0  # 10 ms on an idle core
