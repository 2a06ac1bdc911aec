"""Measures equal ir-measures and brute force; evaluation of splits in both directions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate import DEFAULT, evaluate, per_query, statistics
from sensorium.pairs import Pairs
from sensorium.scores import measures
from sensorium.scores.measures import Measure, parse

NAMES = [
    "hit@1",
    "hit@3",
    "recall@5",
    "precision@5",
    "MRR",
    "MRR@3",
    "mAP",
    "mAP@4",
    "mAP_R",
    "mAP_R@4",
    "nDCG",
    "nDCG@5",
    "median_rank",
    "mean_rank",
]


def by_hand(name, ranks):
    """The textbook definition, for one query's ranks."""
    measure, ranks = parse(name), sorted(int(r) for r in ranks)
    k, n = measure.k or 10**9, len(ranks)
    inside = [r for r in ranks if r <= k]
    best = min(n, k)
    return {
        "hit": float(bool(inside)),
        "recall": len(inside) / n,
        "precision": len(inside) / k,
        "MRR": 1 / inside[0] if inside else 0.0,
        "mAP": sum((i + 1) / r for i, r in enumerate(inside)) / best,
        "mAP_R": sum((i + 1) / r for i, r in enumerate(inside)) / n,
        "nDCG": sum(1 / np.log2(1 + r) for r in inside) / sum(1 / np.log2(1 + r) for r in range(1, best + 1)),
        "median_rank": ranks[0],
        "mean_rank": ranks[0],
    }[measure.name]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(1, 30), min_size=1, max_size=8), min_size=1, max_size=12), st.randoms())
def test_measures_equal_their_definition(queries, random):
    listed = [random.sample(sorted(q), len(q)) for q in queries]
    offsets = np.cumsum([0, *map(len, listed)])
    ranks = np.concatenate([np.array(q) for q in listed])
    for name in NAMES:
        expected = [by_hand(name, q) for q in listed]
        np.testing.assert_allclose(parse(name).per_query(ranks, offsets), expected, rtol=1e-12, err_msg=name)
        middle = np.median(expected) if name == "median_rank" else np.mean(expected)
        assert parse(name).summary(ranks, offsets) == pytest.approx(middle, rel=1e-12)


def case(seed, ties):
    random = np.random.default_rng(seed)
    if ties:
        left, right = (random.integers(-1, 2, (30, 4)).astype(np.float32) for _ in range(2))
    else:
        left, right = (random.standard_normal((30, 6)).astype(np.float32) for _ in range(2))
    pairs = Pairs.of(*random.integers(0, 30, (2, 70)), split=np.full(70, "test"))
    return left, right, pairs


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("direction", ["left->right", "right->left"])
def test_equal_to_ir_measures(ties, direction):
    """Many-to-many; ir-measures is shown relevants just below their equals, as our ranks count them."""
    ir = pytest.importorskip("ir_measures")
    left, right, pairs = case(1, ties)
    judged = per_query(left, right, pairs)[direction]
    q, c = (left, right) if direction == "left->right" else (right, left)
    relevance = judged.relevance
    qrels, run = {}, {}
    for i, query in enumerate(relevance.queries):
        relevant = set(relevance.relevant[relevance.offsets[i] : relevance.offsets[i + 1]].tolist())
        s = c[relevance.candidates].astype(np.float64) @ q[query].astype(np.float64)
        qrels[f"q{i:03}"] = {f"d{j:03}": 1 for j in relevant}
        run[f"q{i:03}"] = {f"d{j:03}": float(s[j] - 1e-3 * (ties and j in relevant)) for j in range(len(s))}
    theirs = {
        "hit@3": ir.Success @ 3, "recall@5": ir.R @ 5, "precision@5": ir.P @ 5, "MRR": ir.RR,
        "mAP": ir.AP, "nDCG": ir.nDCG, "nDCG@10": ir.nDCG @ 10,
    }  # fmt: skip
    told = ir.calc_aggregate(theirs.values(), qrels, run)
    for name, measure in theirs.items():
        ours = parse(name).summary(judged.ranks, relevance.offsets)
        assert ours == pytest.approx(told[measure], abs=1e-9), name
    each = {m.query_id: m.value for m in ir.iter_calc([ir.RR], qrels, run)}
    np.testing.assert_allclose(judged.reciprocal, [each[f"q{i:03}"] for i in range(len(relevance.queries))])


def test_map_at_k_counts_zero_hit_queries_and_divides_by_what_is_reachable():
    ranks, offsets = np.array([1, 2, 50, 60, 70]), np.array([0, 3, 5])
    np.testing.assert_allclose(parse("mAP@2").per_query(ranks, offsets), [1.0, 0.0])
    assert parse("mAP@2").summary(ranks, offsets) == 0.5
    np.testing.assert_allclose(parse("mAP@10").per_query(ranks, offsets), [2 / 3, 0.0])


def test_no_queries_give_no_values():
    for name in NAMES:
        assert parse(name).per_query(np.zeros(0, np.int64), np.zeros(1, np.int64)).shape == (0,)


@pytest.mark.parametrize("name", [*NAMES, *DEFAULT])
def test_a_measure_is_a_value(name):
    measure = parse(name)
    assert str(measure) == name and parse(measure) is measure
    assert measure == parse(name) and hash(measure) == hash(parse(name))


def test_names_are_forgiving_about_case():
    assert parse(" MAP@10 ") == Measure("mAP", 10) == parse("map@10")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hitt@1", "no measure 'hitt@1'; did you mean 'hit'"),
        ("accuracy", "no measure 'accuracy'; known: "),
        ("hit", "'hit' .* type: hit@10"),
        ("hit@0", "'hit@0' .* type: hit@10"),
        ("hit@x", "type: hit@10"),
        ("MRR@", "type: MRR or MRR@10"),
        ("median_rank@5", "type: median_rank$"),
    ],
)
def test_unknown_measures_name_the_remedy(name, message):
    with pytest.raises(BadRecipe, match=message):
        parse(name)


def test_evaluate_both_directions():
    left, right, pairs = case(2, False)
    rows = evaluate(left, right, pairs, measures=["hit@5", "MRR", "median_rank"], resamples=200, seed=3)
    assert [(r["direction"], r["measure"]) for r in rows] == [
        (d, m) for d in ("left->right", "right->left") for m in ("hit@5", "MRR", "median_rank")
    ]
    for row in rows:
        assert set(row) - {"few_groups"} == {
            "direction", "measure", "value", "low", "high", "n_queries", "n_candidates", "n_groups", "split", "seed",
        }  # fmt: skip
        assert row.get("few_groups", False) == (row["n_groups"] < statistics.FEW)
        assert row["n_groups"] == len(np.unique(pairs.where("test", 1).group))
        assert row["low"] <= row["value"] <= row["high"]
        assert row["split"] == "test" and row["seed"] == 3
    judged = per_query(left, right, pairs)["left->right"]
    assert rows[0]["value"] == judged.values("hit@5").mean() and rows[0]["n_queries"] == len(judged.first)
    assert rows[2]["value"] == np.median(judged.first)
    np.testing.assert_array_equal(judged.reciprocal, 1 / judged.first)
    assert rows == evaluate(left, right, pairs, measures=["hit@5", "MRR", "median_rank"], resamples=200, seed=3)


def test_a_perfect_and_a_blind_head():
    n = 40
    pairs = Pairs.of(np.arange(n), np.arange(n), split=np.full(n, "test"))
    eye, blind = np.eye(n, dtype=np.float32), np.ones((n, 4), np.float32)
    perfect = {r["measure"]: r["value"] for r in evaluate(eye, eye, pairs, resamples=10)}
    assert perfect == {m: 1.0 for m in DEFAULT}
    nothing = {r["measure"]: r["value"] for r in evaluate(blind, blind, pairs, resamples=10)}
    assert nothing["hit@10"] == 0 and nothing["median_rank"] == n, "equal scores count against"


def test_an_item_is_never_its_own_hit():
    x = np.eye(4, dtype=np.float32) + 0.1
    pairs = Pairs.of([0, 2], [1, 3], split=["test", "test"], same_table=True)
    (row,) = evaluate(x, x, pairs, measures=["mean_rank"], directions=["left->right"], resamples=10)
    assert row["n_candidates"] == 4 and row["value"] == 3.0, "two others tie with the partner; the query is left out"


def test_empty_split_names_the_remedy():
    left, right, pairs = case(4, False)
    with pytest.raises(BadData, match=r"split 'validation' has no related pair .*\['test'\].*type: data.test=0.1"):
        evaluate(left, right, pairs, split="validation")


def test_unknown_measure_is_refused_before_any_work():
    with pytest.raises(BadRecipe, match="no measure"):
        evaluate(None, None, None, measures=["hot@1"])


def test_default_measures_are_all_known():
    assert [str(parse(m)) for m in measures.DEFAULT] == list(DEFAULT)


def test_a_reciprocal_rank_without_a_cut_off_is_that_of_the_first_relevant():
    ranks, offsets = np.array([3, 1, 400]), np.array([0, 2, 3])
    assert measures.reciprocal_rank(ranks, offsets).tolist() == [1.0, 1 / 400]
    assert measures.reciprocal_rank(ranks, offsets, 10).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(("function", "name"), [(measures.average_precision, "mAP"), (measures.ndcg, "nDCG")])
def test_a_measure_without_a_cut_off_counts_every_relevant(function, name):
    ranks, offsets = np.array([1, 4, 900, 7]), np.array([0, 3, 4])
    gain = 1 / np.log2(1 + ranks)
    by_hand = {
        "mAP": [(1 + 2 / 4 + 3 / 900) / 3, 1 / 7],
        "nDCG": [gain[:3].sum() / (1 / np.log2([2, 3, 4])).sum(), gain[3]],
    }[name]
    np.testing.assert_allclose(function(ranks, offsets), by_hand, rtol=1e-12)
    np.testing.assert_allclose(parse(name).per_query(ranks, offsets), by_hand, rtol=1e-12)


@pytest.mark.parametrize(
    "name", ["hit", "recall", "precision", "Recall@", "median_rank@5", "MRR@0", "mAP@-1", "nDCG@x"]
)
def test_a_missing_or_impossible_cut_off_is_refused(name):
    with pytest.raises(BadRecipe):
        parse(name)
