"""Bootstrap over groups: against a written-out loop, scipy, and its own stated coverage."""

import numpy as np
import pytest

from sensorium.evaluate import statistics


def written_out(values, group, statistic, resamples, seed):
    """Draw groups, gather their queries, take the statistic: the bootstrap as it is told."""
    names = np.unique(group)
    members = [values[group == g] for g in names]
    weights = np.concatenate(list(statistics.weights(len(names), resamples, seed)))
    out = []
    for w in weights:
        drawn = np.concatenate([m for m, times in zip(members, w.astype(int), strict=True) for _ in range(times)])
        out.append(np.median(drawn) if statistic == "median" else drawn.mean())
    return np.array(out)


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("groups", [2, 9, 60])
def test_resamples_equal_the_written_out_bootstrap(statistic, groups):
    random = np.random.default_rng(groups)
    group = random.integers(0, groups, 120) * 7 - 3
    values = random.integers(0, 30, 120).astype(float)
    got = statistics.resample(values, group, statistic, 150, seed=5)
    np.testing.assert_allclose(got, written_out(values, group, statistic, 150, 5), rtol=1e-12)


def test_weights_are_multinomial():
    drawn = np.concatenate(list(statistics.weights(20, 3000, seed=1)))
    assert drawn.shape == (3000, 20) and (drawn.sum(axis=1) == 20).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.1)
    np.testing.assert_allclose(drawn.var(axis=0), 1 - 1 / 20, atol=0.15)


def test_memory_does_not_change_the_draw(monkeypatch):
    whole = np.concatenate(list(statistics.weights(50, 400, seed=2)))
    monkeypatch.setattr(statistics, "_MEMORY", 8 * 50 * 7)
    parts = list(statistics.weights(50, 400, seed=2))
    assert len(parts) == 58 and len(parts[0]) == 7
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_interval_is_that_of_scipy():
    scipy_stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(3).exponential(size=400)
    low, high = statistics.interval(values, np.arange(400), resamples=4000, seed=0)
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", random_state=0
    ).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_interval_is_deterministic_and_moves_with_the_seed():
    values = np.random.default_rng(4).standard_normal(100)
    group = np.arange(100) // 5
    assert statistics.interval(values, group, seed=1) == statistics.interval(values, group, seed=1)
    assert statistics.interval(values, group, seed=1) != statistics.interval(values, group, seed=2)


def test_groups_widen_the_interval():
    """Ten copies of the same twenty clips are twenty clips, not two hundred."""
    values = np.repeat(np.random.default_rng(5).standard_normal(20), 10)
    low, high = statistics.interval(values, np.repeat(np.arange(20), 10))
    naive_low, naive_high = statistics.interval(values, np.arange(200))
    assert high - low > 2.5 * (naive_high - naive_low)


def test_coverage():
    """About 95% of intervals hold the true mean, over drawn data with group effects."""
    random = np.random.default_rng(6)
    inside = 0
    for seed in range(200):
        group = np.repeat(np.arange(60), 4)
        values = random.standard_normal(60)[group] + random.standard_normal(240)
        low, high = statistics.interval(values, group, resamples=400, seed=seed)
        inside += low <= 0 <= high
    assert 0.90 <= inside / 200 <= 0.985


def test_few_groups_cover_less_than_they_say():
    """What FEW rests on: with two groups "95%" holds little more than half of the time, with FEW most of it."""
    rng = np.random.default_rng(0)

    def covered(groups, trials=200):
        hits = 0
        for trial in range(trials):
            of_group = np.clip(rng.normal(0.5, 0.1, groups), 0, 1)
            values = (rng.random((groups, 60)) < of_group[:, None]).astype(float).ravel()
            low, high = statistics.interval(values, np.repeat(np.arange(groups), 60), resamples=200, seed=trial)
            hits += low <= 0.5 <= high
        return hits / trials

    assert covered(2) < 0.7 < 0.8 < covered(statistics.FEW)


def test_one_group_falls_back_to_its_queries():
    values = np.random.default_rng(7).standard_normal(50)
    assert statistics.interval(values, np.zeros(50)) == statistics.interval(values, np.arange(50))


def test_one_query_alone_has_an_interval_of_no_width():
    assert statistics.interval(np.array([0.5]), np.array([3])) == (0.5, 0.5)


def test_same_seed_pairs_two_runs():
    """Equal queries and seed draw equal groups, so a constant advantage has a constant difference."""
    values = np.random.default_rng(8).standard_normal(80)
    group = np.arange(80) // 4
    gap = statistics.resample(values + 0.5, group, seed=9) - statistics.resample(values, group, seed=9)
    np.testing.assert_allclose(gap, 0.5)


def test_an_interval_is_of_95_percent_unless_another_is_asked_for():
    values, group = np.random.default_rng(0).normal(size=80), np.arange(80) // 2
    drawn = statistics.resample(values, group, resamples=400, seed=3)
    assert statistics.interval(values, group, resamples=400, seed=3) == pytest.approx(
        np.quantile(drawn, [0.025, 0.975])
    )
    (narrow,) = statistics.intervals([values], group, ["mean"], 400, 3, level=0.5)
    assert narrow == pytest.approx(np.quantile(drawn, [0.25, 0.75]))
    (usual,) = statistics.intervals([values], group, ["mean"], 400, 3)
    assert usual == pytest.approx(np.quantile(drawn, [0.025, 0.975]))


def test_a_thousand_resamples_of_seed_0_unless_others_are_asked_for():
    values, group = np.random.default_rng(1).normal(size=60), np.arange(60) // 3
    drawn = statistics.resample(values, group)
    np.testing.assert_array_equal(drawn, statistics.resample(values, group, "mean", 1000, 0))
    (one,) = statistics.intervals([values], group, ["mean"])
    assert one == statistics.interval(values, group) == pytest.approx(np.quantile(drawn, [0.025, 0.975]))


def test_intervals_of_fewer_than_ten_groups_are_marked():
    assert statistics.few(9) == {"few_groups": True} and statistics.few(10) == {}


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_of_no_queries_nothing_is_known(statistic):
    nothing = np.zeros(0)
    drawn = statistics.resample(nothing, nothing, statistic, 7)
    assert drawn.shape == (7,) and np.isnan(drawn).all()
    assert np.isnan(statistics.interval(nothing, nothing, statistic, 7)).all()
