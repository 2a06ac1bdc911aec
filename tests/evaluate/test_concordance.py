"""Concordance correlation against its formula written out, and its bootstrap intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import BadData
from sensorium.evaluate import concordance

VALUES = st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=40)


def by_formula(x, y):
    mx, my = sum(x) / len(x), sum(y) / len(y)
    vx, vy = sum((a - mx) ** 2 for a in x) / len(x), sum((b - my) ** 2 for b in y) / len(y)
    cov = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / len(x)
    return 2 * cov / (vx + vy + (mx - my) ** 2)


@given(VALUES)
def test_it_is_the_formula_symmetric_and_bounded(values):
    x, y = (np.array(v) for v in zip(*values, strict=True))
    found = concordance.ccc(x, y)
    assert -1 - 1e-9 <= found <= 1 + 1e-9
    assert found == pytest.approx(concordance.ccc(y, x), abs=1e-12)
    if x.var() + y.var() + (x.mean() - y.mean()) ** 2 > 1e-9:
        assert found == pytest.approx(by_formula(x.tolist(), y.tolist()), abs=1e-6)


def test_a_wrong_scale_or_mean_lowers_it_where_correlation_stays_one():
    x = np.linspace(-1, 1, 21)
    assert concordance.ccc(x, x) == pytest.approx(1)
    assert concordance.ccc(x, -x) == pytest.approx(-1)
    assert concordance.ccc(x, x / 2) == pytest.approx(2 * 0.5 / (1 + 0.25))
    assert concordance.ccc(x, x + 1) == pytest.approx(2 * x.var() / (2 * x.var() + 1))
    assert concordance.ccc(x, np.zeros(21)) == pytest.approx(0) and concordance.ccc(np.ones(3), np.ones(3)) == 0


def test_the_interval_is_that_of_drawn_groups():
    random = np.random.default_rng(3)
    group = np.repeat(np.arange(6), 10)
    x = random.standard_normal(60)
    y = x + random.standard_normal(60) * 0.7 + random.standard_normal(6)[group]
    low, high = concordance.interval(x, y, group, resamples=400, seed=1)
    drawn = np.random.default_rng(1)
    values = []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(group == g) for g in drawn.integers(0, 6, 6)])
        values.append(by_formula(x[rows].tolist(), y[rows].tolist()))
    np.testing.assert_allclose([low, high], np.quantile(values, [0.025, 0.975]), atol=1e-9)
    assert low < concordance.ccc(x, y) < high


def test_rows_name_the_three_dimensions_and_few_groups():
    truth = np.random.default_rng(0).uniform(-1, 1, (40, 3))
    found = concordance.rows(truth, truth * [1, 1, -1], np.repeat(np.arange(4), 10), 100)
    assert [row["measure"] for row in found] == ["CCC_valence", "CCC_arousal", "CCC_dominance"]
    assert found[0]["value"] == pytest.approx(1) and found[0]["few_groups"] and found[2]["value"] < 0
    assert all(row["n_queries"] == 40 and row["n_groups"] == 4 for row in found)


def test_one_group_is_resampled_by_value():
    x = np.random.default_rng(0).standard_normal(50)
    low, high = concordance.interval(x, x + np.random.default_rng(1).standard_normal(50), np.zeros(50))
    assert low < high


def test_other_lengths_are_refused():
    with pytest.raises(BadData, match=r"CCC of \(2,\) and \(3,\) values; expected as many of each"):
        concordance.ccc(np.zeros(2), np.zeros(3))
    with pytest.raises(BadData, match="at least one"):
        concordance.ccc(np.zeros(0), np.zeros(0))
