"""The probability that a pair is mispaired: calibrated against what was shuffled on purpose."""

import numpy as np
import pytest

from sensorium.errors import BadData
from sensorium.evaluate import mispairing


def drawn(share: float, mean: float, deviation: float, n: int = 4000, seed: int = 0):
    """Similarities of n pairs, of which a share is shuffled, of shuffled ones, and which are."""
    random = np.random.default_rng(seed)
    wrong = random.random(n) < share
    return np.where(wrong, random.normal(0, 1, n), random.normal(mean, deviation, n)), random.normal(0, 1, n), wrong


@pytest.mark.parametrize(
    ("share", "mean", "deviation"), [(0.05, 3, 0.7), (0.05, 2.5, 1), (0.3, 2, 1), (0.3, 8, 0.5), (0.6, 3, 0.7)]
)
def test_of_those_called_so_sure_so_many_are_wrong(share, mean, deviation):
    listed, shuffled, wrong = drawn(share, mean, deviation, n=20_000)
    found = mispairing.mixture(listed, shuffled)
    p = found.probability
    assert abs(found.share - share) < 0.03 and abs(p.sum() - wrong.sum()) < 0.25 * wrong.sum() + 20
    for low, high in ((0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
        some = (p >= low) & (p < high)
        if some.sum() > 100:
            assert abs(p[some].mean() - wrong[some].mean()) < 0.12, (low, high)


def test_the_probability_is_that_of_bayes_where_the_densities_are_known():
    listed, shuffled, _ = drawn(0.1, 3, 1, n=20_000)
    density = lambda u, mean: np.exp(-((u - mean) ** 2) / 2)  # noqa: E731
    exact = 0.1 * density(listed, 0) / (0.1 * density(listed, 0) + 0.9 * density(listed, 3))
    assert np.abs(mispairing.mixture(listed, shuffled).probability - exact).mean() < 0.01


def test_clean_pairs_are_not_accused():
    for seed in range(3):
        listed, shuffled, _ = drawn(0, 3, 1, seed=seed)
        p = mispairing.mixture(listed, shuffled).probability
        assert p.sum() < 12 and (p > 0.5).sum() <= 4


def test_a_more_similar_pair_is_never_likelier_wrong():
    listed, shuffled, _ = drawn(0.2, 4, 2)
    order = np.argsort(listed)
    assert (np.diff(mispairing.mixture(listed, shuffled).probability[order]) <= 1e-12).all()


def test_where_pairs_cannot_be_told_nothing_is_said():
    listed, shuffled, _ = drawn(0, 0.1, 1)
    found = mispairing.mixture(listed, shuffled)
    assert np.isnan(found.probability).all() and np.isnan(found.share) and 0.5 < found.apart < 0.6
    assert np.isnan(mispairing.mixture(np.ones(60), np.ones(60)).probability).all()


def test_classes_without_spread_are_told_exactly():
    listed = np.r_[np.full(70, 9.0), np.full(4, -9.0)]
    found = mispairing.mixture(listed, np.full(500, -9.0))
    assert found.probability.tolist() == [0] * 70 + [1] * 4 and found.share == 4 / 74


def test_few_pairs_are_refused():
    with pytest.raises(BadData, match="49 pairs are too few to tell mispaired ones; expected 50 at least"):
        mispairing.mixture(np.ones(49), np.ones(500))


def of_several(n: int = 20_000, seed: int = 0):
    """Pairs with two numbers that tell, of which a fifth lacks the second; 5% shuffled. 3% of the right ones look so."""
    random = np.random.default_rng(seed)
    wrong, odd = random.random(n) < 0.05, random.random(n) < 0.03
    first = np.where(wrong | odd, random.normal(0, 1, n), random.normal(3, 1, n))
    second = np.where(wrong, random.normal(0, 1, n), random.normal(4, 1, n))
    second[random.random(n) < 0.2] = np.nan
    return np.stack([first, second], 1), random.normal(0, 1, (n, 2)), wrong


def test_more_evidence_finds_more_and_its_probabilities_hold():
    listed, shuffled, wrong = of_several()
    found, alone = mispairing.of_evidence(listed, shuffled), mispairing.mixture(listed[:, 0], shuffled[:, 0])
    has = ~np.isnan(listed[:, 1])
    assert abs(found.share - 0.05) < 0.012 < alone.share - 0.05 and found.apart > alone.apart
    called = found.probability >= 0.5
    assert called[wrong & has].mean() > 0.9 > (alone.probability >= 0.5)[wrong & has].mean() + 0.1
    assert wrong[called].mean() > 0.9
    for part in (has, ~has):  # of the pairs with one number the share is taken from the others, else 3% would be added
        p = found.probability[part]
        for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 0.8), (0.8, 1.01)):
            some = (p >= low) & (p < high)
            if some.sum() > 50:
                assert abs(p[some].mean() - wrong[part][some].mean()) < 0.15, (low, high)


def test_one_number_or_a_second_that_nobody_has_is_the_plain_mixture():
    listed, shuffled, _ = drawn(0.1, 3, 1)
    plain = mispairing.mixture(listed, shuffled)
    none = np.full(len(listed), np.nan)
    for more in ((listed[:, None], shuffled[:, None]), (np.stack([listed, none], 1), np.stack([shuffled, none], 1))):
        np.testing.assert_array_equal(mispairing.of_evidence(*more).probability, plain.probability)


def test_a_few_pairs_with_more_evidence_are_read_by_the_first_number():
    listed, shuffled, _ = drawn(0.1, 3, 1)
    both = np.stack([listed, np.full(len(listed), np.nan)], 1)
    both[:10, 1] = 1.0
    found = mispairing.of_evidence(both, np.stack([shuffled, shuffled], 1))
    np.testing.assert_array_equal(found.probability, mispairing.mixture(listed, shuffled).probability)
