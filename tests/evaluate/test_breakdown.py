"""Breakdowns, failures and the modality gap against numbers computed the plain way."""

import numpy as np
import pytest

from sensorium import evaluate
from sensorium.errors import BadData
from sensorium.evaluate import breakdown, modality_gap
from sensorium.pairs import Pairs


def unit(n, d=8, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def judged(noise, groups=6, each=10):
    n = groups * each
    left = unit(n)
    right = left + np.repeat(noise, each)[:, None] * unit(n, seed=1)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    group = np.repeat([f"speaker {i}" for i in range(groups)], each)
    pairs = Pairs.of(np.arange(n), np.arange(n), group=group, split=np.full(n, "test"))
    return left, right, pairs, evaluate.per_query(left, right, pairs)["left->right"]


def test_worst_groups_first():
    _, _, pairs, one = judged([0, 0, 5, 0, 1, 0])
    rows = breakdown.by_group(one, "hit@1", pairs.group_names)
    assert [row["name"] for row in rows[:2]] == ["speaker 2", "speaker 4"]
    assert rows[-1]["value"] == 1
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
    assert np.average([r["value"] for r in rows], weights=[r["n"] for r in rows]) == pytest.approx(
        one.values("hit@1").mean()
    )
    assert breakdown.spread(rows)["lowest"] == rows[0]["value"]
    ranks = breakdown.by_group(one, "mean_rank", pairs.group_names)
    assert ranks[0]["name"] == "speaker 2"  # the highest mean rank is the worst


def test_by_class_and_rare_classes():
    _, _, _, one = judged([0, 0, 5, 0, 1, 0])
    column = np.array(["rare"] + ["angry", "sad"] * 30)[:60]
    rows = breakdown.by_column(one, column, "MRR", least=2)
    assert {row["name"] for row in rows} == {"angry", "sad"}
    assert breakdown.by(np.array([1.0]), np.array(["x"]))[0]["low"] is None
    with pytest.raises(BadData, match="one of each a query"):
        breakdown.by(np.ones(3), np.ones(2))


def test_failures_name_what_came_first_instead():
    left, right, _, one = judged([0, 0, 9, 0, 0, 0])
    ids = np.array([f"item{i}" for i in range(60)])
    rows = breakdown.failures(one, left, right, ids, ids, count=5)
    score = left.astype(np.float64) @ right.T
    by_hand = (score >= np.diag(score)[:, None]).sum(1)
    assert rows[0]["rank"] == by_hand.max()
    assert [row["rank"] for row in rows] == sorted(by_hand, reverse=True)[:5]
    for row in rows:
        i = int(row["id"][4:])
        assert row["wanted"] == row["id"]
        assert row["found"] == f"item{score[i].argmax()}"
        assert row["found_score"] == pytest.approx(score[i].max(), abs=1e-6)
        assert row["score"] == pytest.approx(score[i, i], abs=1e-6)
    perfect = evaluate.per_query(left, left, Pairs.of(np.arange(60), np.arange(60), split=np.full(60, "test")))
    assert breakdown.failures(perfect["left->right"], left, left, ids, ids) == []


def test_gap_by_brute_force():
    left, right = unit(50) + 0.5, unit(50, seed=3) - 0.2
    pairs = Pairs.of(np.arange(50), np.arange(50), split=np.full(50, "test"))
    told = modality_gap.gap(left, right, pairs)
    a = left / np.linalg.norm(left, axis=1, keepdims=True)
    b = right / np.linalg.norm(right, axis=1, keepdims=True)
    assert told["distance"] == pytest.approx(np.linalg.norm(a.mean(0) - b.mean(0)), abs=1e-6)
    assert told["true_cosine"] == pytest.approx((a * b).sum(1).mean(), abs=1e-6)
    assert told["random_cosine"] == pytest.approx((a @ b.T).mean(), abs=1e-6)
    assert told["left_cone"] == pytest.approx((a @ a.T)[~np.eye(50, dtype=bool)].mean(), abs=1e-6)
    assert told["alignment"] == pytest.approx(2 - 2 * told["true_cosine"], abs=1e-6)


def test_centring_closes_the_gap():
    left = unit(80)
    right = left + 0.1 * unit(80, seed=1) + 2 * unit(1, seed=2)
    pairs = Pairs.of(np.arange(80), np.arange(80), split=np.full(80, "test"))
    told = modality_gap.before_and_after(left, right, left - left.mean(0), right - right.mean(0), pairs)
    assert told["before"]["distance"] > 0.5 > 0.1 > told["after"]["distance"]
    assert told["before"]["explained"] > 0.3
    assert modality_gap.before_and_after(unit(80, 4), right, left, right, pairs)["before"] is None
    with pytest.raises(BadData, match="no gap between vectors 4 and 8 wide"):
        modality_gap.gap(unit(80, 4), right, pairs)
    with pytest.raises(BadData, match="no related pair to measure"):
        modality_gap.gap(left, right, pairs, "train")
