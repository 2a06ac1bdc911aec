"""Fusion of runs: against the formulas in plain lines, over runs on disk, with items that one run lacks."""

import numpy as np
import pytest
import small_run
from hypothesis import given
from hypothesis import strategies as st

import sensorium
from sensorium.errors import BadData, BadRecipe
from sensorium.search import fusion_weights
from sensorium.search.fused_scores import contributions


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return small_run.make_two(tmp_path_factory.mktemp("fused"))


@given(st.lists(st.permutations(list(range(7))), min_size=2, max_size=4), st.floats(0, 100))
def test_reciprocal_ranks_are_cormacks(orders, constant):
    ranks = np.array([[order.index(item) + 1 for item in range(7)] for order in orders], float)
    ranks[0, 3] = np.nan  # the first run does not hold item 3
    total = np.ones(len(orders)) @ contributions("rrf", ranks, ranks * 0, constant)
    plain = {}
    for r, order in enumerate(orders):
        for rank, item in enumerate(order, 1):
            if (r, item) != (0, 3):
                plain[item] = plain.get(item, 0.0) + 1 / (constant + rank)
    np.testing.assert_allclose(total, [plain[item] for item in range(7)])


@given(st.lists(st.lists(st.floats(-5, 5), min_size=6, max_size=6), min_size=2, max_size=3))
def test_weighted_scores_are_a_sum_of_z_scores(values):
    scores = np.array(values)
    scores[1, 2] = np.nan
    weights = np.arange(1, len(scores) + 1) / np.arange(1, len(scores) + 1).sum()
    total = weights @ contributions("weights", np.where(np.isnan(scores), np.nan, 1.0), scores)
    for item in range(6):
        plain = 0.0
        for weight, row in zip(weights, scores, strict=True):
            here = row[~np.isnan(row)]
            if not np.isnan(row[item]) and here.std() > 1e-9:
                plain += weight * (row[item] - here.mean()) / here.std()
        assert total[item] == pytest.approx(plain, abs=1e-6)


def test_two_runs_are_searched_as_one(runs):
    both = sensorium.fuse(runs / "ridge", runs / "cca")
    single = [run.search(text="integral", k=len(run.index("left"))) for run in both.runs]
    hits = both.search(text="integral", k=5)
    places = [{hit["id"]: hit["rank"] for hit in one} for one in single]
    plain = {id: sum(1 / (60 + place[id]) for place in places) for id in places[0]}
    best = sorted(plain, key=lambda id: (-plain[id], places[0][id]))[:5]
    assert hits.ids == best and [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5]
    assert hits.scores == pytest.approx([plain[id] for id in best])
    assert hits[0]["ranks"] == {"ridge": places[0][best[0]], "cca": places[1][best[0]]}
    assert hits[0]["metadata"] == next(hit for hit in single[0] if hit["id"] == best[0])["metadata"]
    assert both.search("integral", k=5).ids == best
    assert both.search_many(["integral", "arrow"], k=5)[0].ids == best
    assert repr(both) == "Fused(rrf: ridge 1, cca 1)"


def test_all_weight_on_one_run_is_that_run(runs):
    alone = sensorium.open(runs / "cca").search(text="arrow", k=8)
    for fusion in ("rrf", "weights"):
        assert sensorium.fuse(runs / "ridge", runs / "cca", fusion=fusion, weights=[0, 1]).search(
            text="arrow", k=8).ids == alone.ids  # fmt: skip


def test_filters_and_ids_go_to_every_run(runs):
    both = sensorium.fuse(runs / "ridge", runs / "cca", fusion="weights", weights=(0.7, 0.3))
    table = both.runs[0].index("left").table
    name = next(iter(table.columns))
    value = table.columns[name][4]
    hits = both.search(text="arrow", k=50, where={name: value})
    assert len(hits) and all(hit["metadata"][name] == value for hit in hits)
    assert table.ids[4] not in both.search(id=str(table.ids[4]), side="left", to="left", k=50).ids


def test_an_item_of_one_run_alone_keeps_its_own_share(runs, tmp_path):
    one, other = sensorium.open(runs / "ridge"), sensorium.open(runs / "cca")
    best = one.search(text="integral", k=1).ids[0]
    other.index("left").remove([best])  # in memory alone
    hit = next(h for h in sensorium.fuse(one, other).search(text="integral", k=100) if h["id"] == best)
    assert hit["ranks"] == {"ridge": 1, "cca": None} and hit["score"] == pytest.approx(1 / 61)


def test_weights_are_chosen_on_validation_queries(runs):
    both = sensorium.fuse(runs / "ridge", runs / "cca", fusion="weights", weights="validation")
    parts, relevant = fusion_weights.validation(both)
    assert len(both.chosen) == 21 and both.weights.sum() == pytest.approx(1)
    found = {}
    for share in np.arange(21) / 20:
        total = share * parts[0] + (1 - share) * parts[1]
        order = np.argsort(-total, axis=1, kind="stable")[:, :10]
        gains = [sum(1 / np.log2(2 + at) for at, item in enumerate(row) if hit[item])
                 / sum(1 / np.log2(2 + at) for at in range(min(10, int(hit.sum()))))
                 for row, hit in zip(order, relevant, strict=True)]  # fmt: skip
        found[round(float(share), 2)] = np.mean(gains)
    assert max(both.chosen.values()) == pytest.approx(max(found.values()))
    assert found[round(float(both.weights[0]), 2)] == pytest.approx(max(found.values()))
    measured = fusion_weights.measured(both, "validation")
    assert measured["nDCG@10"] == pytest.approx(max(both.chosen.values()))
    assert 0 <= measured["precision@1"] <= 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"fusion": "sum"}, "fusion='sum'; expected rrf or weights"), ({"weights": [1]}, "expected 2 numbers from 0 on"),
     ({"weights": [0, 0]}, "not all 0"), ({"weights": [1, float("nan")]}, "expected 2 numbers"),
     ({"weights": "best"}, "expected a number for each run, or 'validation'"), ({"constant": -1}, "expected 0 to 1e6")],
)  # fmt: skip
def test_what_cannot_be_fused_is_refused(runs, keys, message):
    with pytest.raises(BadRecipe, match=message):
        sensorium.fuse(runs / "ridge", runs / "cca", **keys)


def test_one_run_no_query_and_other_items_are_refused(runs, tmp_path):
    with pytest.raises(BadRecipe, match="1 runs to fuse; expected two or more"):
        sensorium.fuse(runs / "ridge")
    with pytest.raises(BadRecipe, match="give one query: the first argument, or one by name; got none"):
        sensorium.fuse(runs / "ridge", runs / "cca").search()
    with pytest.raises(BadRecipe, match="k=0; expected 1 or more"):
        sensorium.fuse(runs / "ridge", runs / "cca").search(text="a", k=0)
    random = np.random.default_rng(0).standard_normal((2, 40, 8))
    strange = sensorium.fit(*random, out=tmp_path / "strange", quiet=True, objective="ridge")
    both = sensorium.fuse(runs / "ridge", strange)
    with pytest.raises(BadData, match="share no validation query"):
        sensorium.fuse(runs / "ridge", strange, weights="validation")
    with pytest.raises((BadData, BadRecipe)):
        both.search(text="arrow")
