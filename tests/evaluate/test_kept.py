"""Recall kept: a ratio whose interval covers the truth, and words that say no more than it does."""

import numpy as np
import pytest

from sensorium.evaluate import kept
from sensorium.evaluate.partner_ranks import PartnerRanks
from sensorium.pairs import Pairs


@pytest.mark.parametrize(("base", "keep", "gain"), [(0.6, 0.9, 0.05), (0.9, 0.97, 0.0), (0.3, 0.7, 0.1)])
def test_the_interval_covers_the_true_ratio_in_about_95_of_100_samples(base, keep, gain) -> None:
    """b finds a query with probability ``base``; a finds ``keep`` of those, and ``gain`` of the others."""
    random, covered, n = np.random.default_rng(0), 0, 150
    truth = (base * keep + (1 - base) * gain) / base
    for seed in range(160):
        b = random.random(n) < base
        a = np.where(b, random.random(n) < keep, random.random(n) < gain)
        _, low, high = kept.ratio(a.astype(float), b.astype(float), np.arange(n), 200, seed)
        covered += low <= truth <= high
    assert 0.89 <= covered / 160 <= 1.0


def test_groups_widen_the_interval() -> None:
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(20), 30)
    b, each = np.ones(600), (random.random(20) < 0.7).astype(float)[group]
    apart = kept.ratio(each, b, np.arange(600))
    together = kept.ratio(each, b, group)
    assert together[2] - together[1] > 3 * (apart[2] - apart[1])


def test_two_ways_that_never_differ_have_an_interval_that_says_how_few_queries_there_were() -> None:
    few, many = (kept.ratio(np.ones(n), np.ones(n), np.arange(n)) for n in (10, 1000))
    assert few[0] == many[0] == 1.0
    assert few[1] < 0.95 < many[1] < 1 < many[2] < few[2]


def test_of_what_finds_nothing_there_is_no_ratio() -> None:
    assert kept.ratio(np.ones(5), np.zeros(5), np.arange(5)) is None
    assert kept.ratio(np.zeros(0), np.zeros(0), np.arange(0)) is None
    assert kept.verdict(None, None, None, "a", "b").startswith("Not measured")


def row(value, low, high):
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("old", "gain", "words"),
    [
        (row(1.1, 1.02, 1.2), None, ["find more through the adapter", "was not measured"]),
        (row(0.97, 0.95, 0.99), row(1.2, 1.1, 1.3), ["serves well", "new is the better encoder here"]),
        (row(0.7, 0.6, 0.8), row(0.8, 0.7, 0.9), ["find only 70.0% [60.0, 80.0]", "Not worth it"]),
        (row(0.96, 0.7, 1.3), row(1.0, 0.9, 1.1), ["too few", "No gain is seen"]),
    ],
)
def test_the_verdict_says_plainly_what_the_intervals_allow(old, gain, words) -> None:
    found = kept.verdict(old, None, gain, "old", "new")
    assert all(word in found for word in words), found


@pytest.mark.parametrize("same_table", [False, True])
def test_ranks_of_partners_equal_those_of_the_evaluation(same_table: bool) -> None:
    from sensorium import evaluate

    random = np.random.default_rng(3)
    zl = random.normal(size=(40, 5)).astype(np.float32)
    zr = zl if same_table else random.normal(size=(30, 5)).astype(np.float32)
    left, right = random.integers(0, 40, 90), random.integers(0, len(zr), 90)
    keep = left != right
    pairs = Pairs.of(left[keep], right[keep], split=np.full(keep.sum(), "test"), same_table=same_table)
    for direction in ("left->right", "right->left"):
        ranking = evaluate.per_query(zl, zr, pairs, "test", [direction])[direction]
        queries, candidates = (zl, zr) if direction == "left->right" else (zr, zl)
        rows = ranking.relevance.queries
        ranks = PartnerRanks(pairs, direction, rows)
        found = ranks(np.arange(len(rows)), queries[rows], candidates[ranks.candidates])
        np.testing.assert_allclose(found, ranking.reciprocal)
