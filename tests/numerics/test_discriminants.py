"""Linear discriminants: equal to scikit-learn's shrunk LDA, for many items and for few."""

import numpy as np
import pytest

from sensorium.numerics.discriminants import Discriminants

sklearn = pytest.importorskip("sklearn.discriminant_analysis", reason="type: pip install 'sensorium[sklearn]'")


@pytest.mark.parametrize(("n", "d"), [(200, 12), (40, 90)])
@pytest.mark.parametrize("shrinkage", [0.1, 0.5, 1.0])
def test_posteriors_are_those_of_scikit_learn(n, d, shrinkage):
    random = np.random.default_rng(n)
    code = np.arange(n) % 4
    x = random.standard_normal((n, d)) * random.uniform(0.5, 2, d) + random.standard_normal((4, d))[code]
    new = random.standard_normal((30, d))
    mean, deviation = x.mean(0), x.std(0)
    logits = Discriminants(x, np.eye(4)[code]).affine(shrinkage, 1.0)(new)
    # Its covariance within classes is shrunk towards its mean variance, as ours is.
    rest = (x - mean) / deviation
    rest = rest - np.stack([rest[code == k].mean(0) for k in range(4)])[code]
    covariance = (1 - shrinkage) * rest.T @ rest / n + shrinkage * np.trace(rest.T @ rest) / (n * d) * np.eye(d)
    oracle = sklearn.LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=_Given(covariance), priors=[0.25] * 4
    )
    oracle.fit((x - mean) / deviation, code)
    expected = oracle.predict_proba((new - mean) / deviation)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(1, keepdims=True), expected, atol=1e-8)


class _Given:
    """A covariance estimator of one class whose answer is known: the same for every class, as pooled."""

    def __init__(self, covariance):
        self.covariance_ = covariance

    def fit(self, x):
        return self
