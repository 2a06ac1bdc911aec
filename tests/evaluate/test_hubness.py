"""Hubness: its measure, and corrections that equal their papers' formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from sensorium import scores
from sensorium.errors import BadData, BadRecipe, Corrupt, Mismatch
from sensorium.evaluate import hubness, hubness_corrections, hubness_methods
from sensorium.evaluate.hubness_corrections import Correction
from sensorium.evaluate.projected import Projected
from sensorium.pairs import Pairs
from sensorium.scores import measures


def unit(n, d=12, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def hubby(n=600, d=24, seed=0):
    """Pairs whose candidates lie at uneven depth in a common direction: a few are near to everybody."""
    random = np.random.default_rng(seed)
    common = np.zeros(d)
    common[0] = 1.0
    inner = random.standard_normal((n, d)) / np.sqrt(d)
    left = inner + 0.5 * random.standard_normal((n, d)) / np.sqrt(d) + 1.0 * common
    right = inner + 0.5 * random.standard_normal((n, d)) / np.sqrt(d) + 0.6 * common * random.standard_normal((n, 1))
    split = np.array(["train", "validation", "test"])[np.arange(n) % 3]
    rows = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (left, right)]
    return *rows, Pairs.of(np.arange(n), np.arange(n), split=split)


def test_skewness_is_the_third_moment():
    x = np.random.default_rng(0).poisson(3, 500)
    assert hubness.skewness(x) == pytest.approx(stats.skew(x))
    assert hubness.skewness(np.full(9, 4)) == 0


def test_occurrence_by_hand():
    lists = np.array([[0, 1], [0, 2], [0, -1]])
    assert hubness.occurrence(lists, 4).tolist() == [3, 1, 1, 0]


def test_inverted_softmax_is_its_formula():
    bank, c = unit(50), unit(30, seed=1)
    s = bank.astype(np.float64) @ c.T
    bias = Correction("inverted_softmax", 20.0, bank).shift(c).bias
    np.testing.assert_allclose(bias, (special.logsumexp(20 * s, axis=0) - np.log(50)) / 20, atol=1e-6)
    # Smith et al.: exp(β s) / Σ over the bank; the logarithm is β (s − bias), up to a constant.
    q = unit(7, seed=2)
    theirs = np.exp(20 * (q @ c.T)) / np.exp(20 * s).sum(axis=0)
    assert (np.argsort(-theirs) == np.argsort(-(q @ c.T - bias))).all()


def test_csls_is_its_formula():
    bank, c, q = unit(50), unit(30, seed=1), unit(7, seed=2)
    r_c = np.sort(bank @ c.T, axis=0)[-10:].mean(axis=0)
    r_q = np.sort(q @ c.T, axis=1)[:, -10:].mean(axis=1)
    theirs = 2 * (q @ c.T) - r_q[:, None] - r_c[None]
    bias = Correction("csls", 10, bank).shift(c).bias
    assert (np.argsort(-theirs) == np.argsort(-(q @ c.T - bias))).all()
    np.testing.assert_allclose(bias, r_c / 2, atol=1e-6)


def test_sinkhorn_gives_candidates_equal_mass():
    bank, c = unit(60), unit(30, seed=1)
    s, beta = bank.astype(np.float64) @ c.T, 10.0
    bias = Correction("sinkhorn", beta, bank).shift(c).bias.astype(np.float64)
    plan = special.softmax(beta * (s - bias), axis=1) / 60  # the bank's marginal holds by construction
    np.testing.assert_allclose(plan.sum(axis=0), 1 / 30, rtol=1e-3)


def test_qb_norm_leaves_queries_that_hit_no_hub():
    bank, c, q = unit(5), unit(40, seed=1), unit(200, seed=2)
    correction = Correction("qb_norm", 20.0, bank)
    shift = correction.shift(c)
    assert set(np.flatnonzero(shift.hubs)) == set((bank @ c.T).argmax(1))
    raw, _ = scores.topk(q, c, 5)
    always, _ = Correction("inverted_softmax", 20.0, bank).topk(q, c, 5)
    found, _ = correction.topk(q, c, 5)
    hub = shift.hubs[raw[:, 0]]
    assert 0 < hub.sum() < 200
    assert (found[~hub] == raw[~hub]).all()
    assert (found[hub] == always[hub]).all()


@pytest.mark.parametrize("method", sorted(hubness_methods.METHODS))
def test_search_ranks_and_reranking_agree(method):
    """A relevant at rank r is the r-th hit: the same numbers in search and evaluation."""
    left, right, pairs = hubby(90)
    correction = Correction(method, 8.0, left[:30])
    relevance = pairs.relevance("left->right", "test")
    ranks = correction.ranks(left, right, relevance)
    q, c = left[relevance.queries], right[relevance.candidates]
    found, score = correction.topk(q, c, len(c))
    at = np.array([np.flatnonzero(row == r)[0] + 1 for row, r in zip(found, relevance.relevant, strict=True)])
    np.testing.assert_array_equal(ranks, at)
    shift = correction.shift(c)
    np.testing.assert_array_equal(correction.ranks(left, right, relevance, shift), ranks)
    np.testing.assert_array_equal(correction.topk(q, c, len(c), shift=shift)[0], found)
    raw = scores.topk(q, c, len(c))
    again, again_score = correction.shift(c).rerank(*raw, 10)
    np.testing.assert_array_equal(again, found[:, :10])
    np.testing.assert_allclose(again_score, score[:, :10], atol=1e-6)


@pytest.mark.parametrize("method", sorted(hubness_methods.METHODS))
def test_a_query_is_never_its_own_hit(method):
    z = unit(40)
    pairs = Pairs.of(np.arange(0, 40, 2), np.arange(1, 40, 2), split=np.full(20, "test"), same_table=True)
    relevance = pairs.relevance("left->right", "test")
    ranks = Correction(method, 8.0, z[:10]).ranks(z, z, relevance)
    assert ranks.max() <= 39


def test_rerank_keeps_missing_hits_last():
    shift = hubness_methods.Shift(np.array([0.5, 0.0, 0.0], np.float32))
    positions, score = shift.rerank(np.array([[0, 1, -1]]), np.array([[0.9, 0.6, -np.inf]], np.float32), 3)
    assert positions.tolist() == [[1, 0, -1]]
    np.testing.assert_allclose(score, [[0.6, 0.4, -np.inf]], atol=1e-6)


def test_chosen_where_it_helps_and_off_where_not():
    left, right, pairs = hubby()
    choice = hubness.choose(Projected.of(left, right, pairs), "left->right", resamples=300)
    assert choice.correction is not None
    relevance = pairs.relevance("left->right", "test")
    raw = measures.reciprocal_rank(scores.ranks(left, right, relevance), relevance.offsets).mean()
    ours = measures.reciprocal_rank(choice.correction.ranks(left, right, relevance), relevance.offsets).mean()
    assert ours > raw + 0.02
    before = hubness.report(Projected.of(left, right, pairs), "left->right")
    after = hubness.report(Projected.of(left, right, pairs), "left->right", correction=choice.correction)
    assert after["skewness"] < before["skewness"] / 2
    assert after["never_found"] < before["never_found"]

    z = unit(300, 32)
    even = Pairs.of(np.arange(300), np.arange(300), split=pairs.split[:300])
    assert hubness.choose(Projected.of(z, z, even), "left->right", resamples=300).correction is None


def test_only_training_queries_are_read_for_the_bank():
    left, _, pairs = hubby()
    bank = hubness.bank_of(left, pairs, "left->right", size=50, seed=3)
    train = left[pairs.where("train").left]
    assert bank.shape == (50, 24)
    assert all((train == row).all(axis=1).any() for row in bank)
    changed = left.copy()
    changed[pairs.where("test").left] = 0
    assert (hubness.bank_of(changed, pairs, "left->right", size=50, seed=3) == bank).all()


def test_saved_and_loaded(tmp_path):
    told = {"left->right": Correction("csls", 10, unit(5)), "right->left": Correction("sinkhorn", 3.5, unit(6))}
    hubness_corrections.save(told, tmp_path)
    again = hubness_corrections.load(tmp_path)
    for direction, one in told.items():
        assert (again[direction].method, again[direction].strength) == (one.method, one.strength)
        np.testing.assert_array_equal(again[direction].bank, one.bank)
    assert hubness_corrections.load(tmp_path / "none") == {}
    with open(tmp_path / "correction.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(Corrupt, match="is damaged"):
        hubness_corrections.load(tmp_path)
    (tmp_path / "correction.json").write_text('{"format": 9}')
    with pytest.raises(Corrupt, match="format 9, expected 1"):
        hubness_corrections.load(tmp_path)


def test_messages():
    with pytest.raises(BadRecipe, match=r"evaluate\.correction='cls'; did you mean 'csls'"):
        Correction("cls", 1, unit(3))
    with pytest.raises(BadRecipe, match="strength 0; expected above 0"):
        Correction("csls", 0, unit(3))
    with pytest.raises(Mismatch, match="fitted on queries 12 wide, the candidates are 5"):
        Correction("csls", 1, unit(3)).shift(unit(4, 5))
    pairs = Pairs.of([0, 1], [0, 1], split=["test", "test"])
    with pytest.raises(BadData, match="train split has no related pair"):
        hubness.bank_of(unit(2), pairs, "left->right")
    with pytest.raises(BadData, match="chosen on validation"):
        hubness.choose(Projected.of(unit(2), unit(2), Pairs.of([0], [0], split=["train"])), "left->right")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.integers(1, 70), st.integers(1, 40), st.floats(0.1, 200))
def test_soft_maximum_lies_between_mean_and_maximum(seed, b, m, beta):
    bank, c = unit(b, 5, seed), unit(m, 5, seed + 1)
    s = bank @ c.T
    bias = hubness_methods.inverted_softmax(bank, c, beta).bias
    assert (bias <= s.max(axis=0) + 1e-5).all()
    assert (bias >= s.mean(axis=0) - 1e-5).all()
