"""Calibration against scikit-learn, scipy and torchmetrics; thresholds and top sets by simulation."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate import calibration, conformal, selective


def hits(n=2000, seed=0, slope=8.0, middle=0.5):
    """Scores whose chance of being right is a known sigmoid."""
    random = np.random.default_rng(seed)
    scores = random.beta(4, 4, n)
    return scores, random.random(n) < 1 / (1 + np.exp(-slope * (scores - middle)))


def test_platt_equals_scikit_learn():
    from sklearn.calibration import _SigmoidCalibration

    scores, right = hits()
    ours, theirs = calibration.platt(scores, right), _SigmoidCalibration().fit(scores, right)
    np.testing.assert_allclose(ours(scores), theirs.predict(scores), atol=1e-5)


def test_platt_finds_the_true_sigmoid():
    scores, right = hits(200_000)
    fitted = calibration.platt(scores, right)
    assert fitted.slope == pytest.approx(8, rel=0.03)
    assert -fitted.intercept / fitted.slope == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_platt_on_separable_data_stays_finite(scale):
    scores = scale * (1000 + np.arange(20.0))
    fitted = calibration.platt(scores, np.arange(20) >= 10)
    assert np.isfinite([fitted.slope, fitted.intercept]).all()
    assert (np.diff(fitted(scores)) > 0).all()
    assert 0.9 < fitted(scores)[-1] < 0.99  # because Platt's targets are 11/12, not 1


def test_isotonic_equals_scikit_learn():
    from sklearn.isotonic import IsotonicRegression

    scores, right = hits()
    scores = np.round(scores, 2)  # with ties
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores, right)
    query = np.linspace(-0.2, 1.2, 999)
    np.testing.assert_allclose(calibration.isotonic(scores, right)(query), theirs.predict(query), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=10, max_size=60))
def test_isotonic_equals_scipy(pairs):
    from scipy.optimize import isotonic_regression

    scores, right = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs])
    x, code = np.unique(scores, return_inverse=True)
    weight = np.bincount(code)
    theirs = isotonic_regression(np.bincount(code, right) / weight, weights=weight).x
    np.testing.assert_allclose(calibration.isotonic(scores, right)(x), theirs, atol=1e-12)


def test_temperature_minimises_the_log_loss():
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    random = np.random.default_rng(0)
    logits = random.standard_normal((3000, 8)) * 2
    labels = np.array([random.choice(8, p=p) for p in np.exp(log_softmax(logits, axis=1))])
    scores = logits * 3.5  # overconfident by 3.5
    fitted = calibration.temperature(scores, labels).temperature
    best = minimize_scalar(lambda t: -log_softmax(scores / t, axis=1)[np.arange(3000), labels].mean(),
                           bounds=(0.1, 50), method="bounded", options={"xatol": 1e-8}).x  # fmt: skip
    assert fitted == pytest.approx(best, rel=1e-4)
    assert fitted == pytest.approx(3.5, rel=0.1)
    np.testing.assert_allclose(calibration.Temperature(2.0)(scores).sum(axis=1), 1)


def test_choice_is_by_cross_validation():
    scores, right = hits(3000)
    assert isinstance(calibration.choose(scores, right), calibration.Platt)
    step = np.random.default_rng(1).random(3000) < np.where(scores > 0.6, 0.95, np.where(scores > 0.4, 0.5, 0.4))
    assert isinstance(calibration.choose(scores, step), calibration.Isotonic)


def test_expected_calibration_error_equals_torchmetrics():
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    random = np.random.default_rng(0)
    p = random.random(500).astype(np.float32)
    right = random.random(500) < p**2
    theirs = binary_calibration_error(torch.tensor(p), torch.tensor(right.astype(int)), n_bins=15, norm="l1")
    ours = calibration.calibration_error(calibration.reliability(p, right, 15, equal="width"))
    assert ours == pytest.approx(float(theirs), abs=1e-6)


def test_reliability_by_hand():
    table = calibration.reliability(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 0]), 2)
    assert [row["n"] for row in table] == [2, 2]
    assert [row["share_right"] for row in table] == [0, 0.5]
    assert calibration.calibration_error(table) == pytest.approx(0.5 * 0.15 + 0.5 * 0.35)
    assert len(calibration.reliability(np.full(20, 0.5), np.arange(20) < 5)) == 1


def test_fitted_on_one_half_holds_on_the_other():
    scores, right = hits(4000)
    fitted = calibration.choose(scores[:2000], right[:2000])
    told = calibration.summary(fitted(scores[2000:]), right[2000:])
    assert told["ECE"] < 0.05
    assert told["brier"] < right.mean() * (1 - right.mean())
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("value", [calibration.Platt(2.0, -1.0), calibration.Temperature(0.05),
                                   calibration.Isotonic((0.0, 1.0), (0.2, 0.7))])  # fmt: skip
def test_stored_as_json(value):
    assert calibration.from_dict(json.loads(json.dumps(calibration.to_dict(value)))) == value


def test_threshold_keeps_its_promise():
    """Over 400 simulated validations, the true risk exceeds the allowed one in at most about 5%."""
    broken, answered = 0, []
    big, big_right = hits(400_000, 99, 10, 0.4)
    order = np.argsort(-big)
    true_risk = np.cumsum(~big_right[order]) / np.arange(1, len(big) + 1)
    for seed in range(400):
        scores, right = hits(400, seed, 10, 0.4)
        t = selective.threshold(scores, right, risk=0.2, confidence=0.95)
        if np.isfinite(t.score):
            at = np.searchsorted(-big[order], -t.score, side="right") - 1
            broken += true_risk[max(at, 0)] > 0.2
            answered.append(t.answered)
    assert broken <= 400 * 0.05 + 3 * np.sqrt(400 * 0.05 * 0.95)
    assert np.mean(answered) > 0.6 * np.mean(true_risk <= 0.2)  # and it is not kept by saying nothing


def test_threshold_by_hand():
    scores, right = np.linspace(1, 0, 100), np.ones(100, bool)
    assert selective.threshold(scores, right).score == 0
    assert selective.threshold(scores, ~right).score == np.inf
    assert selective.threshold(scores, ~right).to_dict()["score"] is None
    assert not selective.threshold(scores, ~right).accepts(scores).any()
    t = selective.threshold(np.repeat([0.9, 0.1], 80), np.repeat([True, False], 80))
    assert t.score == 0.9
    assert (t.answered, t.wrong) == (0.5, 0)


def test_bounds_equal_scipy():
    from scipy.stats import binomtest

    for errors, n in ((0, 10), (3, 40), (40, 40)):
        theirs = binomtest(errors, n).proportion_ci(0.95, method="exact")
        assert selective.two_sided(errors, n) == pytest.approx((theirs.low, theirs.high))
    assert selective.upper_bound(0, 59) == pytest.approx(1 - 0.05 ** (1 / 59))


def test_risk_coverage_by_hand():
    share, wrong = selective.risk_coverage(np.array([0.1, 0.9, 0.5]), np.array([0, 1, 0]))
    assert share.tolist() == [1 / 3, 2 / 3, 1]
    assert wrong.tolist() == [0, 1 / 2, 2 / 3]


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_coverage_is_as_stated(coverage):
    """2,000 fresh validations and test queries: between coverage and coverage + 1/(n + 1)."""
    random = np.random.default_rng(7)
    n, trials = 60, 2000
    draws = random.standard_normal((trials, n + 1)) ** 3
    covered = [d[-1] <= conformal.quantile(d[:-1], coverage) for d in draws]
    noise = 3 * np.sqrt(coverage * (1 - coverage) / trials)
    assert coverage - noise <= np.mean(covered) <= coverage + 1 / (n + 1) + noise


def test_top_sets_with_five_captions_a_clip():
    """Captions of a clip agree with each other; one a clip is drawn, and coverage holds over clips."""
    random = np.random.default_rng(3)
    found = []
    for trial in range(600):
        clip = random.standard_normal(81)[:, None] + 0.1 * random.standard_normal((81, 5))
        rank = np.argsort(np.argsort(-clip.ravel())) + 1
        group = np.repeat(np.arange(80), 5)
        top = conformal.top_set(clip[:80].ravel(), rank[:400], 0.9, group, seed=trial)
        assert top.n == 80
        found.append(top.contains(clip[80, 0]))
    assert np.mean(found) == pytest.approx(0.9, abs=3 * np.sqrt(0.09 / 600) + 1 / 81)


def test_top_set_by_hand():
    score, rank = np.arange(9, 0, -1.0), np.arange(1, 10)
    top = conformal.top_set(score, rank, 0.9)
    assert (top.k, top.score, top.n) == (9, 1.0, 9)  # ceil(10 · 0.9) = 9th
    assert conformal.top_set(score, rank, 0.5).k == 5
    few = conformal.top_set(score[:5], rank[:5], 0.9)
    assert (few.k, few.score) == (0, -np.inf)
    assert few.to_dict() == {"coverage": 0.9, "n": 5, "score": None, "k": None}
    assert few.contains(np.array([-5.0])).all()


def test_class_thresholds_cover_each_class():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 60_000)
    logits = random.standard_normal((60_000, 3)) + 2 * np.eye(3)[labels] * np.array([0.3, 1, 2])
    p = calibration.Temperature(1.0)(logits)
    t = conformal.class_thresholds(p[:30_000], labels[:30_000], 0.9)
    inside = (p[30_000:] >= t)[np.arange(30_000), labels[30_000:]]
    for c in range(3):
        assert inside[labels[30_000:] == c].mean() == pytest.approx(0.9, abs=0.015)
    assert conformal.class_thresholds(p[:3], np.zeros(3, int))[2] == -np.inf


def test_verify_states_and_finds():
    told = conformal.verify(np.arange(100) < 91, 0.9, np.full(100, 4))
    assert (told["stated"], told["found"], told["mean_size"], told["n"]) == (0.9, 0.91, 4, 100)
    assert told["low"] < 0.9 < told["high"]


def test_messages():
    with pytest.raises(BadData, match="3 scored hits, at least 10 needed"):
        calibration.platt(np.arange(3.0), np.ones(3))
    with pytest.raises(BadData, match="expected both"):
        calibration.isotonic(np.arange(30.0), np.ones(3))
    with pytest.raises(BadData, match="1 scores are not finite"):
        calibration.platt(np.r_[np.nan, np.arange(20.0)], np.ones(21))
    with pytest.raises(BadRecipe, match="calibration method 'plat'; did you mean 'platt'"):
        calibration.from_dict({"method": "plat"})
    with pytest.raises(BadRecipe, match="expected 'mass' or 'width'"):
        calibration.reliability(np.ones(3), np.ones(3), equal="size")
    with pytest.raises(BadData, match=r"class labels 0\.\.9 for 4 classes"):
        calibration.temperature(np.ones((10, 4)), np.arange(10))
    with pytest.raises(BadData, match=r"expected \(n, c\)"):
        calibration.temperature(np.ones(10), np.arange(10))
    with pytest.raises(BadRecipe, match="risk=2; expected between 0 and 1"):
        selective.threshold(np.ones(3), np.ones(3), risk=2)
    with pytest.raises(BadData, match="threshold: scores"):
        selective.threshold(np.ones(0), np.ones(0))
    with pytest.raises(BadRecipe, match=r"coverage=90; expected between 0 and 1"):
        conformal.quantile(np.ones(3), 90)
    with pytest.raises(BadData, match="without NaN"):
        conformal.quantile(np.array([np.nan]), 0.9)
    with pytest.raises(BadData, match="one of each a query"):
        conformal.top_set(np.ones(3), np.ones(2))
