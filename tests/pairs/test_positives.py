"""Positives of a batch against the dense relation: masks, counts, and rows that are one item."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.pairs import Pairs
from sensorium.pairs.positives import BatchPositives, Positives

keys = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=9)
relations = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25, unique=True)


@given(keys)
@settings(deadline=None, max_examples=100)
def test_equal_keys_are_positives_and_are_counted_so(table):
    left, right = np.array(table).T
    found = Positives(len(left), keys=(left, right))
    dense = left[:, None] == right
    assert len(found) == len(left) and not found.diagonal_only
    np.testing.assert_array_equal(found.block(slice(0, None)), dense)
    np.testing.assert_array_equal(found.block(slice(1, 3)), dense[1:3])
    counts = found.counts()
    np.testing.assert_array_equal(counts[0], dense.sum(1))
    np.testing.assert_array_equal(counts[1], dense.sum(0))


def test_without_keys_and_edges_each_row_has_its_own_positive_alone():
    found = Positives(5)
    assert found.diagonal_only
    np.testing.assert_array_equal(found.block(slice(2, 5)), np.eye(5, dtype=bool)[2:])
    assert [side.tolist() for side in found.counts()] == [[1] * 5, [1] * 5]


@pytest.mark.parametrize("same_table", [False, True])
@given(table=relations, data=st.data())
@settings(deadline=None, max_examples=100)
def test_the_positives_of_any_batch_equal_brute_force(same_table, table, data):
    left, right = np.array(table).T
    label = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(left), max_size=len(left))))
    label[0] = 1
    relation = np.zeros((7, 7), bool)
    relation[left[label == 1], right[label == 1]] = True
    if same_table:
        relation |= relation.T
    true = np.flatnonzero(label)
    batch = np.array(data.draw(st.lists(st.sampled_from(true.tolist()), min_size=1, max_size=12, unique=True)))
    rows, columns = left[batch], right[batch]
    found = BatchPositives(Pairs.of(left, right, label=label, same_table=same_table)).of(rows, columns)
    dense = relation[rows[:, None], columns]
    np.testing.assert_array_equal(found.block(slice(0, None)), dense)
    np.testing.assert_array_equal(found.block(slice(1, 4)), dense[1:4])
    assert found.diagonal_only == (dense.sum() == len(batch))
    for side, count in zip(found.counts(), (dense.sum(1), dense.sum(0)), strict=True):
        assert side.dtype == torch.int64
        np.testing.assert_array_equal(side, count)
    one = rows[:, None] == columns
    same = found.same_block(slice(0, None))
    if same_table and one.any():
        np.testing.assert_array_equal(same, one)
    else:
        assert same is None
    np.testing.assert_array_equal(found.rows, (rows, columns))


@pytest.mark.parametrize(
    ("left", "right", "complete"),
    [
        (np.arange(12), np.arange(12) % 3, True),  # utterances of a class
        (np.repeat(np.arange(4), 5), np.arange(20), True),  # captions of a clip
        ([0, 0, 0, 1, 1, 1, 2], [0, 1, 2, 0, 1, 2, 3], True),
        ([0, 0, 1], [0, 1, 1], False),
        ([0, 0, 0, 1, 1, 1, 2], [0, 1, 2, 0, 1, 3, 2], False),
    ],
)
def test_components_that_are_complete_are_compared_by_keys(left, right, complete):
    """Where each item on the left goes with each on the right, which needs no table of the batch's pairs."""
    left, right = np.array(left), np.array(right)
    found = BatchPositives(Pairs.of(left, right)).of(left, right)
    assert (found.keys is not None, found.edges is not None) == (complete, not complete)
    dense = {(int(a), int(b)) for a, b in zip(left, right, strict=True)}
    np.testing.assert_array_equal(found.block(slice(0, None)), [[(a, b) in dense for b in right] for a in left])
