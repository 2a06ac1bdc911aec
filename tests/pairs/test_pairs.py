"""Pairs: joined by id, split by group, queries for relevance; against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadData, BadRecipe
from sensorium.pairs import Pairs, rows_of

edges = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(0, 1)),
    min_size=1,
    max_size=30,
    unique_by=lambda e: e[:2],
)


@given(edges)
@settings(deadline=None, max_examples=200)
def test_relevance_equals_brute_force(table):
    left, right, label = np.array(table).T
    pairs = Pairs.of(left, right, label=label)
    for direction, q, c in (("left->right", left, right), ("right->left", right, left)):
        found = pairs.relevance(direction)
        expected = {int(a): {int(b) for b, other, y in zip(c, q, label, strict=True) if other == a and y} for a in q}
        expected = {a: b for a, b in expected.items() if b}
        got = {
            int(a): set(found.candidates[found.relevant[i:j]].tolist())
            for a, i, j in zip(found.queries, found.offsets, found.offsets[1:], strict=False)
        }
        assert got == expected
        assert set(found.candidates.tolist()) == set(c.tolist())
        assert (found.own == -1).all()


@given(edges)
@settings(deadline=None, max_examples=100)
def test_one_table_counts_both_ways_and_never_finds_itself(table):
    left, right, label = np.array(table).T
    pairs = Pairs.of(left, right, label=label, same_table=True)
    found = pairs.relevance("left->right")
    rows = set(left.tolist()) | set(right.tolist())
    assert set(found.candidates.tolist()) == rows
    for i, query in enumerate(found.queries):
        assert found.candidates[found.own[i]] == query
        expected = {int(b) for a, b, y in zip(left, right, label, strict=True) if y and a == query}
        expected |= {int(a) for a, b, y in zip(left, right, label, strict=True) if y and b == query}
        assert set(found.candidates[found.relevant[found.offsets[i] : found.offsets[i + 1]]].tolist()) == expected


@given(edges)
@settings(deadline=None, max_examples=200)
def test_default_groups_are_connected_components(table):
    import networkx

    left, right, _ = np.array(table).T
    graph = networkx.Graph([(f"l{a}", f"r{b}") for a, b in zip(left, right, strict=True)])
    component = {node: i for i, nodes in enumerate(networkx.connected_components(graph)) for node in nodes}
    expected = np.array([component[f"l{a}"] for a in left])
    group = Pairs.of(left, right).group
    assert ((group[:, None] == group) == (expected[:, None] == expected)).all()


@given(edges, st.integers(0, 3), st.floats(0.1, 0.45), st.floats(0.1, 0.45))
@settings(deadline=None, max_examples=100)
def test_no_group_stands_in_two_splits(table, seed, test, validation):
    left, right, _ = np.array(table).T
    pairs = Pairs.of(left, right)
    if len(np.unique(pairs.group)) < 6:
        return
    split = pairs.split_by_group({"test": test, "validation": validation}, seed)
    for group in np.unique(split.group):
        assert len(np.unique(split.split[split.group == group])) == 1
    again = pairs.split_by_group({"test": test, "validation": validation}, seed)
    assert (again.split == split.split).all()


def test_split_counts_may_be_absolute():
    pairs = Pairs.of(np.arange(100), np.arange(100)).split_by_group({"test": 30, "validation": 0.2}, 1)
    assert [(pairs.split == s).sum() for s in ("train", "validation", "test")] == [50, 20, 30]


def test_join_reports_what_it_dropped():
    pairs, report = Pairs.join(
        np.array(["a", "b"]),
        np.array(["x", "y"]),
        ["a", "a", "q", "b", "b"],
        ["x", "x", "x", "z", "y"],
        allow_missing=True,
    )
    assert report == {
        "pairs_read": 5,
        "pairs_kept": 2,
        "dropped_unknown_left": 1,
        "dropped_unknown_right": 1,
        "dropped_repeated": 1,
        "dropped_self": 0,
    }
    assert pairs.left.tolist() == [0, 1] and pairs.right.tolist() == [0, 1]


def test_join_refuses_unknown_ids_by_name_and_count():
    with pytest.raises(BadData, match=r"2 of 3 name a right id .* such as 'w', 'z'.*data.allow_missing=true"):
        Pairs.join(np.array(["a"]), np.array(["x"]), ["a", "a", "a"], ["x", "z", "w"])


def test_an_item_is_no_partner_of_itself_within_one_table():
    ids = np.array(["a", "b", "c"])
    queries = ["a", "a", "b", "c", "a"], ["b", "a", "c", "c", "b"]
    pairs, report = Pairs.join(ids, ids, *queries, same_table=True)
    assert (pairs.left.tolist(), pairs.right.tolist()) == ([0, 1], [1, 2])
    assert report["dropped_self"] == 2 and report["dropped_repeated"] == 1 and report["pairs_kept"] == 2
    pairs, report = Pairs.join(ids, ids, *queries)  # two tables that happen to share ids
    assert len(pairs) == 4 and report["dropped_self"] == 0


def test_join_with_nothing_left():
    with pytest.raises(BadData, match="none of 1 pairs joins"):
        Pairs.join(np.array(["a"]), np.array(["x"]), ["b"], ["x"], allow_missing=True)


def test_integer_ids_join_text_ids():
    pairs, _ = Pairs.join(np.array(["7", "8"]), np.array(["1"]), [8, 7], [1, 1])
    assert pairs.left.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"label": [2]}, "labels must be 1"),
        ({"label": [0.5]}, "labels must be 1"),
        ({"split": ["banana"]}, "split value 'banana'; expected train"),
        ({"group": [1, 2]}, "2 values in 'group' for 1"),
    ],
)
def test_bad_columns(kwargs, message):
    with pytest.raises(BadData, match=message):
        Pairs.of([0], [0], **{k: np.array(v) for k, v in kwargs.items()})


def test_split_words_are_translated():
    pairs = Pairs.of(range(6), range(6), split=["train", "dev", "val", "test", "development", "evaluation"])
    assert pairs.split.tolist() == ["train", "validation", "validation", "test", "train", "test"]


def test_too_many_groups_held_out():
    with pytest.raises(BadRecipe, match="3 groups requested .* only 3 groups"):
        Pairs.of(range(3), range(3)).split_by_group({"test": 2, "validation": 0.34}, 0)


def test_hold_out_moves_whole_training_groups():
    pairs = Pairs.of(range(10), range(10), group=[0, 0, 1, 1, 2, 2, 3, 3, 4, 4], split=["train"] * 8 + ["test"] * 2)
    held = pairs.hold_out("validation", 0.25, 0)
    assert (held.split == "validation").sum() == 2 and (held.split == "test").sum() == 2
    assert len(np.unique(held.group[held.split == "validation"])) == 1
    three = pairs.hold_out("validation", 3, 0)  # a number, where it is above 1
    assert len(np.unique(three.group[three.split == "validation"])) == 3 and (three.split == "train").sum() == 2
    with pytest.raises(BadRecipe, match="4 groups requested for validation, but there are only 4 training groups"):
        pairs.hold_out("validation", 4)
    with pytest.raises(BadData, match="at least 2 needed"):
        pairs.take(np.arange(2)).hold_out("validation", 0.5)


def test_direction_is_checked():
    with pytest.raises(BadRecipe, match="expected 'left->right'"):
        Pairs.of([0], [0]).relevance("up")


@given(st.lists(st.text(max_size=3), unique=True, max_size=20), st.lists(st.text(max_size=3), max_size=20))
@settings(deadline=None)
def test_rows_of_equals_a_dict(ids, names):
    array = np.array(ids, dtype=np.str_) if ids else np.zeros(0, "<U1")
    keys = [str(x) for x in array]  # NumPy drops trailing NULs; compare what it keeps
    if len(set(keys)) != len(keys):
        return
    queries = np.array(names, dtype=np.str_) if names else np.zeros(0, "<U1")
    rows, known = rows_of(queries, array)
    table = {k: i for i, k in enumerate(keys)}
    assert known.tolist() == [str(w) in table for w in queries]
    assert [r for r, k in zip(rows, known, strict=True) if k] == [table[str(w)] for w in queries if str(w) in table]


@pytest.mark.parametrize("missing", [None, float("nan"), "", np.datetime64("NaT")])
def test_missing_groups_are_not_one_group(missing):
    group = np.array(["a", missing, "a", missing, missing, "b"], object)
    with pytest.warns(UserWarning, match="3 of 6 pairs have no group"):
        pairs = Pairs.of(np.arange(6), np.array([0, 1, 2, 3, 1, 5]), group=group)
    codes = pairs.group.tolist()
    assert codes[0] == codes[2] and codes[1] == codes[4], "pairs 1 and 4 share an item"
    assert len({codes[0], codes[1], codes[3], codes[5]}) == 4
    assert [pairs.group_names[code] for code in (codes[0], codes[5])] == ["a", "b"]
    assert all(pairs.group_names[codes[i]].startswith("(no group ") for i in (1, 3, 4))


def test_groups_that_are_all_missing():
    with pytest.warns(UserWarning, match="2 of 2 pairs have no group"):
        pairs = Pairs.of(np.arange(2), np.arange(2), group=[None, None])
    assert len(set(pairs.group.tolist())) == 2
