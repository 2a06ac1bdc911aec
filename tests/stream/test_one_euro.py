"""The one-euro filter against the published algorithm, and what holds for any values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import BadData, BadRecipe
from sensorium.stream.one_euro import OneEuro

NUMBERS = st.floats(-1e3, 1e3)


class Published:
    """Algorithm 1 of the paper, for one number and a fixed rate, in the paper's own steps."""

    def __init__(self, rate, mincutoff, beta, dcutoff):
        self.rate, self.mincutoff, self.beta, self.dcutoff = rate, mincutoff, beta, dcutoff
        self.last = self.hatxprev = self.dhat = None

    def alpha(self, cutoff):
        tau, te = 1.0 / (2 * math.pi * cutoff), 1.0 / self.rate
        return 1.0 / (1.0 + tau / te)

    def filter(self, x):
        if self.hatxprev is None:
            self.hatxprev, self.dhat = x, 0.0
            return x
        dx = (x - self.hatxprev) * self.rate
        a = self.alpha(self.dcutoff)
        self.dhat = a * dx + (1 - a) * self.dhat
        a = self.alpha(self.mincutoff + self.beta * abs(self.dhat))
        self.hatxprev = a * x + (1 - a) * self.hatxprev
        return self.hatxprev


@given(st.lists(NUMBERS, min_size=1, max_size=30), st.floats(0.05, 10), st.floats(0, 5), st.floats(5, 120))
def test_equals_the_published_algorithm(values, cutoff, beta, rate):
    ours, theirs = OneEuro(cutoff, beta), Published(rate, cutoff, beta, 1.0)
    for x in values:
        assert ours.push(np.array([x]), 1 / rate)[0] == pytest.approx(theirs.filter(x), rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(NUMBERS, st.floats(-1, 2)), min_size=1, max_size=30), st.floats(0.01, 10), st.floats(0, 100))
def test_stays_between_the_values_seen_whatever_the_clock(steps, cutoff, beta):
    one = OneEuro(cutoff, beta)
    for x, seconds in steps:
        found = float(one.push(np.array(x), seconds))
    seen = [x for x, _ in steps]
    assert min(seen) - 1e-6 <= found <= max(seen) + 1e-6


@given(st.lists(NUMBERS, min_size=2, max_size=20), st.floats(0.1, 50))
def test_a_scale_is_a_unit(values, scale):
    """Values in another unit, with that unit as the scale, are filtered alike."""
    plain, scaled = OneEuro(1.0, 2.0), OneEuro(1.0, 2.0)
    for x in values:
        a, b = plain.push(np.array(x), 0.04), scaled.push(np.array(x * scale), 0.04, scale)
    assert float(b) == pytest.approx(float(a) * scale, rel=1e-6, abs=1e-6)


def test_each_element_by_itself_and_rest_is_smoother_than_motion():
    rng, one = np.random.default_rng(0), OneEuro(np.array([1.0, 1.0]), 5.0)
    noise = 0.01 * rng.normal(size=(400, 2))
    truth = np.stack([np.zeros(400), np.linspace(0, 40, 400)], 1)  # one rests, one moves by 2.5 a second
    found = np.array([one.push(x, 0.04) for x in truth + noise])
    assert found[200:, 0].std() < noise[200:, 0].std() / 2
    assert np.abs(found[200:, 1] - truth[200:, 1]).mean() < 0.05  # a fifth of a step of 0.1 … behind at most
    alone = OneEuro(1.0, 5.0)
    np.testing.assert_allclose([float(alone.push(x, 0.04)) for x in (truth + noise)[:, 0]], found[:, 0])


def test_bad_values_leave_it_as_it_was():
    one = OneEuro()
    one.push(np.zeros(3), 0.1)
    with pytest.raises(BadData, match="1 of 3 values are NaN"):
        one.push(np.array([0, np.nan, 0]), 0.1)
    with pytest.raises(BadData, match=r"shape \(2,\); those before were \(3,\)"):
        one.push(np.zeros(2), 0.1)
    assert (one.filtered == 0).all()
    one.reset()
    assert (one.push(np.ones(2), 0.1) == 1).all()


@pytest.mark.parametrize("wrong", [{"min_cutoff": 0}, {"beta": -1}, {"derivative_cutoff": 0}, {"min_cutoff": math.nan}])
def test_parameters_have_limits(wrong):
    with pytest.raises(BadRecipe, match=f"{next(iter(wrong))}=.*expected finite numbers"):
        OneEuro(**wrong)
