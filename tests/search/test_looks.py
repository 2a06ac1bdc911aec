"""Looks: completions, plans and reasons against the definition, item by item."""

import itertools

import numpy as np
import pytest
import small_looks
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import heads
from sensorium.contracts import SetHead
from sensorium.errors import BadData, BadRecipe
from sensorium.pairs.sets import ItemSets, ragged
from sensorium.search import planning, sets
from sensorium.search.looks import LookOptions, Looks, Task
from sensorium.search.sets import Members

WORDS = ("a", "b", "c")


class BySlot(torch.nn.Module, SetHead):
    """A query that depends on the category of the missing item and, not linearly, on those that are there."""

    def __init__(self, categories=WORDS):
        super().__init__()
        self.categories = list(categories)
        self.arguments = {"categories": self.categories}

    def build(self, dim_in, stats=None, like=None):
        self.dim_in, self.dim = dim_in, 4
        self.fc = torch.nn.Linear(dim_in, 4)
        self.slots = torch.nn.Embedding(len(self.categories) + 1, 4)

    def forward(self, x):
        return torch.nn.functional.normalize(self.fc(x), dim=-1)

    def compose(self, x, lengths, category, slot):
        there = torch.arange(x.shape[1]) < lengths[:, None]
        z = (self.forward(x) * self.slots(category + 1)).masked_fill(~there[:, :, None], -9)
        return torch.tanh(z.max(1).values) * self.slots(slot + 1)


def made(seed, n, takes_sets):
    """A head, n members with categories, and their raw vectors."""
    torch.manual_seed(seed)
    head = BySlot() if takes_sets else heads_linear()
    head.build(5)
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, 5)).astype(np.float32)
    words = [WORDS[i] for i in random.integers(0, 3, n)]
    return head, Members(heads.apply(head, x), words, x)


def heads_linear():
    from sensorium import parts

    return parts.make("heads", {"name": "linear", "dim": 4})


def by_definition(head, members, look):
    """Mean over the items of compose(the others) · item, one by one."""
    code = sets.codes(head, members.category) if head.takes_sets else np.zeros(len(members), np.int64)
    told = []
    for row in look:
        others = np.array([one for one in look if one != row])
        query = heads.compose(head, members.raw, ragged([others]), code, code[[row]])
        told.append(float(query[0].astype(np.float64) @ members.z[row].astype(np.float64)))
    return told


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.booleans(), st.integers(2, 6))
def test_fits_and_compatibility_follow_the_definition(seed, takes_sets, size):
    head, members = made(seed, 12, takes_sets)
    look = np.random.default_rng(seed).permutation(12)[:size]
    expected = by_definition(head, members, look.tolist())
    asked = ItemSets.of([look, look[::-1]])
    np.testing.assert_allclose(sets.fits(head, members, asked)[0], expected, atol=1e-5)
    np.testing.assert_allclose(sets.compatibility(head, members, asked), [np.mean(expected)] * 2, atol=1e-5)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.booleans(), st.integers(1, 3))
def test_a_plan_is_the_best_of_all_ways(seed, takes_sets, count):
    head, members = made(seed, 14, takes_sets)
    gaps = [WORDS[i] for i in np.random.default_rng(seed + 1).integers(0, 3, count)]
    board, kind = np.array([0, 1]), np.array(members.category)
    pools = [np.flatnonzero((kind == gap) & (np.arange(14) > 1))[:5] for gap in gaps]
    ways = [way for way in itertools.product(*pools) if len(set(way)) == len(way)]
    (chosen, *_) = planning.plan(head, members, board, pools, gaps, 1)
    if not ways:
        assert (chosen == -1).any()
        return
    best = max(np.mean(by_definition(head, members, [0, 1, *way])) for way in ways)
    assert len(set(chosen.tolist())) == count and (chosen >= 0).all()
    assert all(row in pool for row, pool in zip(chosen, pools, strict=True))
    assert np.mean(by_definition(head, members, [0, 1, *chosen.tolist()])) == pytest.approx(best, abs=1e-5)


def test_beam_search_is_as_good_as_trying_all(monkeypatch):
    """Where there are too many ways the beam decides; here both are affordable."""
    for seed in range(10):
        head, members = made(seed, 60, takes_sets=False)
        kind = np.array(members.category)
        pools = [np.flatnonzero((kind == gap) & (np.arange(60) > 2)) for gap in WORDS]
        board = np.arange(3)
        monkeypatch.setattr(planning, "EXACT", 10**9)
        exact = planning.plan(head, members, board, pools, WORDS)[0]
        monkeypatch.setattr(planning, "EXACT", 0)
        beam = planning.plan(head, members, board, pools, WORDS)[0]
        asked = ItemSets.of([np.concatenate([board, exact]), np.concatenate([board, beam])])
        one, other = sets.compatibility(head, members, asked)
        assert one >= other - 1e-9 and other >= one - 0.02


def test_equal_gaps_give_each_choice_once_and_a_gap_without_items_stays_empty():
    head, members = made(3, 10, takes_sets=False)
    found = planning.plan(head, members, np.array([0]), [np.array([1, 2, 3])] * 2, ["a", "a"], 10)
    assert sorted(tuple(sorted(one.tolist())) for one in found) == [(1, 2), (1, 3), (2, 3)]
    (one,) = planning.plan(head, members, np.array([0]), [np.array([1]), np.zeros(0, np.int64)], ["a", "b"])
    assert one.tolist() == [1, -1]
    (one,) = planning.plan(head, members, np.array([0]), [np.array([1])] * 2, ["a", "a"])
    assert one.tolist() == [1, -1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_looks.make(tmp_path_factory.mktemp("looks") / "runs" / "looks")


@pytest.fixture(scope="module")
def looks(run):
    return Looks(run)


def test_a_completion_is_the_best_by_the_mean_with_the_items(run, looks):
    table, z = run.index("left").table, run.index("left").vectors().astype(np.float64)
    board = looks.board(["0003", "0008"])
    found = looks.complete(board, "Shoes", LookOptions(7))
    mean = (z[3] + z[8]) / 2
    rows = np.flatnonzero(table.columns["category"] == "Shoes")
    expected = rows[np.argsort(-(z[rows] @ mean), kind="stable")][:7]
    assert found.rows.tolist() == expected.tolist()
    np.testing.assert_allclose(found.scores, z[expected] @ mean, atol=1e-6)
    np.testing.assert_allclose(found.reasons.mean(1), found.scores, atol=1e-6)
    own = looks.complete(looks.board(["0003"]), None, LookOptions(119))
    assert len(own.rows) == 119 and 3 not in own.rows
    assert not len(looks.complete(board, "Hats").rows)


def test_several_at_once_are_each_as_alone(looks):
    boards = [looks.board([f"{i:04d}" for i in ids]) for ids in ((1, 2), (3,), (4, 5, 6), (1,))]
    tasks = [Task(b, c, LookOptions(k, pool, trade, where)) for b, c, k, pool, trade, where in zip(
        boards, ("Bags", "Bags", "Shoes", None), (3, 9, 4, 5), (200, 9, 20, 7), (None, 0.5, 0.3, None),
        ({}, {}, {"price": {"<": 50}}, {}), strict=True)]  # fmt: skip
    for task, found in zip(tasks, looks.complete_many(tasks), strict=True):
        alone = looks.complete(*task)
        assert found.rows.tolist() == alone.rows.tolist() and len(found.rows) == task.options.k
        np.testing.assert_allclose(found.reasons, alone.reasons)


def test_items_that_are_not_in_the_catalogue(run, looks):
    x = np.asarray(small_looks.data().left.values[:3])
    outside = looks.board([], x, ["Topwear", None, "Shoes"])
    inside = looks.board(["0000", "0001", "0002"])
    np.testing.assert_allclose(outside.members.z, inside.members.z, atol=1e-5)
    assert outside.ids == [""] * 3 and outside.members.category == ["Topwear", "", "Shoes"]
    found = looks.complete(outside, "Topwear", LookOptions(3))
    mean = run.index("left").vectors(np.arange(3)).mean(0)
    z = run.index("left").vectors()
    shirts = np.arange(0, 120, 4)
    assert found.rows.tolist() == shirts[np.argsort(-(z[shirts] @ mean))][:3].tolist()  # 0000 itself may be found


def test_what_spoils_a_look(run, looks):
    z = run.index("left").vectors().astype(np.float64)
    board = looks.board(["0000", "0001", "0002", "0003"])
    told = looks.explain(board)
    expected = [np.mean([z[i] @ z[j] for j in range(4) if j != i]) for i in range(4)]
    np.testing.assert_allclose(told.fit, expected, atol=1e-6)
    assert told.spoils == int(np.argmin(expected)) and told.score == pytest.approx(np.mean(expected), abs=1e-6)
    assert looks.explain(looks.board(["0000", "0001"])).spoils is None
    assert looks.explain(looks.board(["0000"])).score is None


def test_a_plan_of_a_run(looks):
    board = looks.board(["0000", "0001"])
    plans = looks.plan(board, ["Shoes", "Bags"], LookOptions(3))
    assert len(plans) == 3 and [one.score for one in plans] == sorted((one.score for one in plans), reverse=True)
    for one in plans:
        assert [looks.members(one.rows).category[i] for i in range(2)] == ["Shoes", "Bags"]
        assert one.fit.mean() == pytest.approx(one.score)


def test_what_is_refused_says_what_to_type(run, looks):
    for ids, words in ((["4"], "no item '4'"), (["0001", "0001"], "twice"), ([], "empty")):
        with pytest.raises(BadData, match=words):
            looks.board(ids)
    with pytest.raises(BadData, match="2 categories for 1 vectors"):
        looks.board([], np.ones((1, small_looks.DIM)), ["a", "b"])
    with pytest.raises(BadRecipe, match="did you mean 'category'"):
        Looks(run, column="categorie")
    with pytest.raises(BadRecipe, match="gap's own column"):
        looks.complete(looks.board(["0001"]), "Bags", LookOptions(where={"category": "Bags"}))
    with pytest.raises(BadRecipe, match="no gap to fill"):
        looks.plan(looks.board(["0001"]), [])


def test_items_added_and_removed_live_are_seen(run):
    looks, x = Looks(run), np.asarray(small_looks.data().left.values)
    row = {"category": ["Hats"], "price": [7], "colour": ["red"]}
    run.add(x[5:6] * 1.1, ids=["new hat"], metadata=row)
    try:
        found = looks.complete(looks.board(["0001"]), "Hats")
        assert run.index("left").table.ids[found.rows].tolist() == ["new hat"]
        assert looks.board(["new hat"]).members.category == ["Hats"]
    finally:
        run.remove(["new hat"])
    assert not len(looks.complete(looks.board(["0001"]), "Hats").rows)


def test_a_category_that_is_too_large_to_keep_is_searched_in_the_index(looks, run, monkeypatch):
    from sensorium.search import by_category

    board = looks.board(["0003", "0008"])
    kept = looks.complete(board, "Shoes", LookOptions(9, 9))
    monkeypatch.setattr(by_category, "MOST", 0)
    searched = Looks(run).complete(board, "Shoes", LookOptions(9, 9))
    assert kept.rows.tolist() == searched.rows.tolist()
    np.testing.assert_allclose(kept.scores, searched.scores)
