"""Paired comparison: the difference, interval, p-value and effect, and what runs keep for it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sensorium.errors import BadData, Corrupt, Mismatch
from sensorium.evaluate import DIRECTIONS, compare, per_query
from sensorium.pairs import Pairs


def two_runs(q=200, groups=50, shift=0.1, seed=0):
    random = np.random.default_rng(seed)
    group = random.integers(0, groups, q)
    a = random.random(q)
    return a, a + shift + 0.3 * random.normal(size=q), group


def test_difference_and_interval_equal_plain_resampling():
    a, b, group = two_runs()
    found = compare.paired(a, b, group, resamples=4000)
    assert (found.a, found.b) == (pytest.approx(a.mean()), pytest.approx(b.mean()))
    assert found.difference == pytest.approx((b - a).mean())
    random = np.random.default_rng(1)
    members = [np.flatnonzero(group == g) for g in np.unique(group)]
    plain = []
    for _ in range(4000):
        chosen = np.concatenate([members[g] for g in random.integers(0, len(members), len(members))])
        plain.append((b - a)[chosen].mean())
    low, high = np.quantile(plain, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)
    assert (found.higher, found.lower) == ((b > a).sum(), (b < a).sum())


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.04, 0.06])
def test_p_value_agrees_with_the_t_test_where_that_holds(shift):
    a, b, _ = two_runs(q=400, shift=shift, seed=5)
    found = compare.paired(a, b, np.arange(400), resamples=10_000)
    assert found.p == pytest.approx(stats.ttest_rel(b, a).pvalue, abs=0.015)
    assert found.effect == pytest.approx((b - a).mean() / (b - a).std(ddof=1))


def test_p_values_are_honest_when_there_is_no_difference():
    p = np.array([compare.paired(*two_runs(q=120, groups=60, shift=0.0, seed=s), resamples=400).p for s in range(200)])
    # Uniform under the null: about 5% below 0.05; groups make it approximate, so the band is wide.
    assert 0.01 <= (p < 0.05).mean() <= 0.11
    assert 0.4 <= np.median(p) <= 0.6


def test_groups_widen_the_interval():
    random = np.random.default_rng(0)
    by_group = random.normal(size=20)
    group = np.repeat(np.arange(20), 30)
    b = by_group[group] + 0.1 * random.normal(size=600)
    alone = compare.paired(np.zeros(600), b, np.arange(600))
    together = compare.paired(np.zeros(600), b, group)
    assert (together.high - together.low) > 3 * (alone.high - alone.low)
    assert together.p > alone.p


def test_pairing_sees_what_two_intervals_do_not():
    random = np.random.default_rng(0)
    a = random.random(300)
    b = a + 0.02 + 0.01 * random.normal(size=300)
    assert compare.paired(a, b, np.arange(300)).low > 0
    assert stats.ttest_ind(b, a).pvalue > 0.1


def test_medians():
    a, b, group = two_runs(q=101, shift=1.0)
    found = compare.paired(a, b, group, "median", resamples=500)
    assert found.difference == np.median(b) - np.median(a)
    assert found.low < found.difference < found.high
    assert found.p < 0.01


@given(
    seed=st.integers(0, 500),
    q=st.integers(1, 30),
    scale=st.floats(0.01, 10),
    statistic=st.sampled_from(["mean", "median"]),
)
@settings(max_examples=40, deadline=None)
def test_comparison_has_its_invariants(seed, q, scale, statistic):
    random = np.random.default_rng(seed)
    a, b, group = random.random(q), random.random(q), random.integers(0, 5, q)
    found = compare.paired(a, b, group, statistic, 200)
    mirrored = compare.paired(b, a, group, statistic, 200)
    assert mirrored.difference == pytest.approx(-found.difference)
    assert (mirrored.low, mirrored.high) == (pytest.approx(-found.high), pytest.approx(-found.low))
    assert mirrored.p == found.p
    assert (mirrored.higher, mirrored.lower) == (found.lower, found.higher)
    scaled = compare.paired(scale * a, scale * b, group, statistic, 200)
    assert scaled.difference == pytest.approx(scale * found.difference)
    assert scaled.p == pytest.approx(found.p, abs=0.01)
    assert 0 < found.p <= 1
    same = compare.paired(a, a, group, statistic, 200)
    assert (same.difference, same.low, same.high, same.p, same.effect) == (0, 0, 0, 1, None)


def test_lengths_that_differ_are_refused():
    with pytest.raises(BadData, match="cannot compare 3 with 2 queries"):
        compare.paired(np.zeros(3), np.zeros(2), np.zeros(3))
    with pytest.raises(BadData, match="cannot compare 0 with 0"):
        compare.paired(np.zeros(0), np.zeros(0), np.zeros(0))


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def keep_run(folder, noise, pairs, seed=0, ids=None):
    """A run's judged splits, kept the way runs keep them; returns what was judged."""
    random = np.random.default_rng(7)
    shared = random.normal(size=(60, 8))
    zl = unit(shared)
    zr = unit(shared[np.repeat(np.arange(60), 2)] + noise * np.random.default_rng(seed).normal(size=(120, 8)))
    left_ids, right_ids = ids or (np.array([f"l{i}" for i in range(60)]), np.array([f"r{i}" for i in range(120)]))
    judged = {split: per_query(zl, zr, pairs, split) for split in ("validation", "test")}
    everything = [one for directions in judged.values() for one in directions.values()]
    compare.save(folder / compare.FILE, everything, left_ids, right_ids)
    return judged


@pytest.fixture
def pairs():
    split = np.repeat(np.array(["train", "validation", "test"])[np.arange(60) % 3], 2)
    return Pairs.of(np.repeat(np.arange(60), 2), np.arange(120), split=split)


def test_what_a_run_keeps_gives_every_measure_again(tmp_path, pairs):
    judged = keep_run(tmp_path, 0.5, pairs)
    kept = compare.load(tmp_path / compare.FILE)
    assert set(kept) == {(split, d) for split in ("validation", "test") for d in DIRECTIONS}
    for (split, direction), ranks in kept.items():
        one = judged[split][direction]
        for measure in ("MRR", "hit@3", "mAP@5", "median_rank"):
            assert sorted(ranks.values(measure)) == sorted(one.values(measure))
        assert (split, direction) == (one.split, one.direction)


def test_two_runs_query_by_query(tmp_path, pairs):
    judged = [keep_run(tmp_path / name, noise, pairs, seed=1) for name, noise in (("a", 2.0), ("b", 0.5))]
    rows = compare.compare_runs(tmp_path / "a", tmp_path / "b", ["MRR", "hit@1", "median_rank"], resamples=500)
    assert [(row["direction"], row["measure"]) for row in rows] == [
        (d, m) for d in DIRECTIONS for m in ("MRR", "hit@1", "median_rank")
    ]
    for row in rows:
        of_a, of_b = (one["test"][row["direction"]].values(row["measure"]) for one in judged)
        summary = np.median if row["measure"] == "median_rank" else np.mean
        assert (row["a"], row["b"]) == (pytest.approx(summary(of_a)), pytest.approx(summary(of_b)))
        assert row["better"] == "b"  # also where less is better
        assert row["n_queries"] == len(of_a)
    backwards = compare.compare_runs(tmp_path / "b", tmp_path / "a", ["MRR"], resamples=500)
    assert {row["better"] for row in backwards} == {"a"}
    itself = compare.compare_runs(tmp_path / "a", tmp_path / "a", resamples=100)
    assert {row["better"] for row in itself} == {"undecided"}


def test_queries_are_matched_by_id_not_by_position(tmp_path, pairs):
    keep_run(tmp_path / "a", 1.0, pairs)
    kept = compare.load(tmp_path / "a" / compare.FILE)["test", "left->right"]
    order = np.random.default_rng(0).permutation(len(kept.query))
    ranges = [np.arange(kept.offsets[i], kept.offsets[i + 1]) for i in order]
    shuffled = compare.Ranks(
        kept.query[order], kept.group[order], np.append(0, np.cumsum([len(r) for r in ranges])),
        kept.ranks[np.concatenate(ranges)], kept.candidates,
    )  # fmt: skip
    compare.check_same(kept, shuffled, "here")
    assert np.array_equal(kept.values("MRR"), shuffled.values("MRR"))
    assert np.array_equal(kept.groups(), shuffled.groups())


def test_runs_that_answer_other_questions_are_refused(tmp_path, pairs):
    keep_run(tmp_path / "a", 1.0, pairs)
    others = np.array([f"x{i}" for i in range(60)]), np.array([f"r{i}" for i in range(120)])
    keep_run(tmp_path / "b", 1.0, pairs, ids=others)
    with pytest.raises(Mismatch, match="they share 0 of 20 and 20 queries; make both from the same data"):
        compare.compare_runs(tmp_path / "a", tmp_path / "b")
    # The same queries among more candidates: ranks mean something else.
    more = Pairs.of(
        np.append(pairs.left, 2),
        np.append(pairs.right, 0),
        np.append(pairs.label, 0),
        split=np.append(pairs.split, "test"),
    )
    keep_run(tmp_path / "c", 1.0, more)
    with pytest.raises(Mismatch, match=r"their candidates differ \(40 and 41 items\)"):
        compare.compare_runs(tmp_path / "a", tmp_path / "c")
    fewer = Pairs.of(pairs.left, pairs.right, np.where(np.arange(120) == 4, 0, 1), split=pairs.split)
    keep_run(tmp_path / "d", 1.0, fewer)
    with pytest.raises(Mismatch, match="different numbers of relevants"):
        compare.compare_runs(tmp_path / "a", tmp_path / "d")
    with pytest.raises(BadData, match="share no evaluated direction of the split 'train'"):
        compare.compare_runs(tmp_path / "a", tmp_path / "b", split="train")


def test_absent_and_damaged_ranks_are_told_apart(tmp_path, pairs):
    with pytest.raises(BadData, match="keeps no per-query ranks"):
        compare.load(tmp_path / compare.FILE)
    keep_run(tmp_path, 1.0, pairs)
    path = tmp_path / compare.FILE
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for cut in (10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:cut])
        with pytest.raises(Corrupt, match="is damaged"):
            compare.load(path)
    for place in random.integers(0, len(whole), 40):
        flipped = bytearray(whole)
        flipped[place] ^= 0xFF
        path.write_bytes(bytes(flipped))
        try:
            kept = compare.load(path)
        except Corrupt:
            continue
        # What the archive does not check are dates and the like; the numbers are then unharmed.
        assert set(kept) == {(split, d) for split in ("validation", "test") for d in DIRECTIONS}
