"""Concordance correlation of predicted and true ratings (Lin 1989), with bootstrap intervals over groups.

Source: L. I-K. Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 45 (1989), 255-268:

    CCC = 2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))²)

with moments over n, not n - 1. It is 1 where x = y, and unlike Pearson's correlation lower for a wrong scale or mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.evaluate import statistics
from sensorium.numerics.affect import DIMENSIONS


def ccc(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The coefficient of n values each, -1 to 1. 0 where one of the two is constant, as then nothing goes together.

    Raises BadData for other lengths or no values.

    >>> ccc(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    1.0
    """
    truth, predicted = _checked(truth, predicted)
    return float(_of_moments(*_sums(truth, predicted, np.zeros(len(truth), np.int64))[0]))


def interval(
    truth: np.ndarray,
    predicted: np.ndarray,
    group: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of the coefficient: whole groups (n,) are drawn with replacement.

    With a single group its values are drawn instead, as in :func:`sensorium.evaluate.statistics.interval`.
    """
    truth, predicted = _checked(truth, predicted)
    _, code = np.unique(group, return_inverse=True)
    if int(code.max()) == 0:
        code = np.arange(len(truth))
    sums = _sums(truth, predicted, code)
    drawn = np.concatenate([_of_moments(*(w @ sums).T) for w in statistics.weights(len(sums), resamples, seed)])
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail]).tolist()
    return low, high


def rows(
    truth: np.ndarray, predicted: np.ndarray, group: np.ndarray, resamples: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """CCC_valence, CCC_arousal and CCC_dominance as rows of results: ratings (n, 3), groups (n,)."""
    found = []
    groups = len(np.unique(group))
    for column, name in enumerate(DIMENSIONS):
        x, y = np.asarray(truth)[:, column], np.asarray(predicted)[:, column]
        low, high = interval(x, y, group, resamples, seed)
        # A prediction that knows nothing of the item has the expected covariance 0.
        found.append({"measure": f"CCC_{name}", "value": ccc(x, y), "low": low, "high": high, "chance": 0.0,
                      "n_queries": len(x), "n_groups": groups, **statistics.few(groups), "seed": seed})  # fmt: skip
    return found


def _checked(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if truth.shape != predicted.shape or truth.ndim != 1 or not len(truth):
        raise BadData(f"CCC of {truth.shape} and {predicted.shape} values; expected as many of each, at least one")
    return truth, predicted


def _sums(x: np.ndarray, y: np.ndarray, code: np.ndarray) -> np.ndarray:
    """By group: number, Σx, Σy, Σx², Σy², Σxy about the common middle, (g, 6)."""
    middle = (x.mean() + y.mean()) / 2  # what cancels would cost digits
    x, y = x - middle, y - middle
    each = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    out = np.zeros((int(code.max()) + 1, 6))
    np.add.at(out, code, each)
    return out


def _of_moments(n: Any, x: Any, y: Any, xx: Any, yy: Any, xy: Any) -> Any:
    mx, my = x / n, y / n
    below = (xx / n - mx**2) + (yy / n - my**2) + (mx - my) ** 2
    return np.divide(2 * (xy / n - mx * my), below, out=np.zeros_like(np.asarray(below, float)), where=below > 1e-15)
