"""Relations by class: the same as all their pairs listed, for ranks, for losses and for closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadData
from sensorium.pairs import Pairs, classes
from sensorium.pairs.classes import Classes
from sensorium.pairs.positives import BatchPositives

SPLITS = np.array(["train", "validation", "test"])


@st.composite
def relations(draw) -> tuple[Pairs, list]:
    """Rows of one table of p right rows and c texts each, as listed pairs, with the labels of the pairs."""
    p, c = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    label = draw(st.lists(st.sampled_from(["a", "b", "c", None, ""]), min_size=p, max_size=p))
    split = SPLITS[draw(st.lists(st.integers(0, 2), min_size=p, max_size=p))]
    right = np.repeat(np.arange(p), c)
    pairs = Pairs.of(np.arange(p * c), right, group=right % 4, split=np.repeat(split, c))
    labels = [label[row] for row in right]
    return replace(pairs, classes=Classes.of(labels, pairs.left, pairs.right, p * c, p)), labels


def listed(pairs: Pairs, labels: list) -> Pairs:
    """The same relation with every pair of it: in no group that matters here."""
    i, j = (m.ravel() for m in np.meshgrid(np.arange(len(pairs)), np.arange(len(pairs)), indexing="ij"))
    words = np.array([one or "" for one in labels], object)
    own = pairs.right[i] == pairs.right[j]
    keep = (pairs.split[i] == pairs.split[j]) & (own | ((words[i] == words[j]) & (words[i] != "")))
    keys = np.stack([pairs.left[i[keep]], pairs.right[j[keep]]], 1)
    first = np.unique(keys, axis=0, return_index=True)[1]
    i, j = i[keep][first], j[keep][first]
    return Pairs.of(pairs.left[i], pairs.right[j], group=pairs.group[i], split=pairs.split[i])


@settings(max_examples=60, deadline=None)
@given(relations(), st.sampled_from(["left->right", "right->left"]), st.sampled_from(SPLITS.tolist()))
def test_relevance_is_that_of_all_pairs(made, direction, split):
    found, expected = (one.relevance(direction, split) for one in (made[0], listed(*made)))
    for name in ("queries", "candidates", "offsets", "relevant", "own"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    rows = made[0].left if direction == "left->right" else made[0].right
    for query, group in zip(found.queries, found.group, strict=True):
        assert group in made[0].group[rows == query]


@settings(max_examples=40, deadline=None)
@given(relations(), st.integers(0, 2**32 - 1))
def test_positives_of_a_batch_are_those_of_all_pairs(made, seed):
    pairs = made[0].where("train")
    if not len(pairs):
        return
    batch = np.random.default_rng(seed).integers(0, len(pairs), 8)
    left, right = pairs.left[batch], pairs.right[batch]
    masks = [BatchPositives(one.where("train")).of(left, right).block(slice(0, 8)).numpy()
             for one in (made[0], listed(*made))]  # fmt: skip
    np.testing.assert_array_equal(*masks)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12), st.integers(0, 2**32 - 1))
def test_spanning_pairs_name_each_row_that_has_a_partner(x, y, seed):
    x, y = np.array(x, np.int64), np.array(y, np.int64)
    random = np.random.default_rng(seed)
    rows, others = (np.flatnonzero(random.random(len(one)) < 0.7) for one in (x, y))
    i, j = Classes(x, y).spanning(rows, others)
    assert (x[i] == y[j]).all()
    assert set(i) == set(rows[np.isin(x[rows], y[others])]) and set(j) == set(others[np.isin(y[others], x[rows])])
    counts = [(np.count_nonzero(x[rows] == c), np.count_nonzero(y[others] == c)) for c in range(4)]
    assert len(i) == sum(max(pair) for pair in counts if min(pair))
    assert len(set(zip(i, j, strict=True))) == len(i)


def test_a_row_of_two_labels_is_refused():
    with pytest.raises(BadData, match="1 left rows have pairs of different labels, such as row 0: calm, sad; expected"):
        Classes.of(["calm", "sad"], np.array([0, 0]), np.array([0, 1]), 1, 2)


def test_too_many_to_rank_say_what_to_type(monkeypatch):
    monkeypatch.setattr(classes, "MOST", 8)
    rows = np.arange(3)
    pairs = Pairs.of(rows, rows, split=["test"] * 3)
    pairs = replace(pairs, classes=Classes.of(["a"] * 3, rows, rows, 3, 3))
    with pytest.raises(
        BadData, match="the test split has 3 queries with 9 relevant items in all; at most 8 are ranked"
    ):
        pairs.relevance("left->right", "test")
