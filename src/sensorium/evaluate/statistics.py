"""Bootstrap intervals over groups: how far a number could move if other groups had been drawn.

Queries of one group (a clip, a speaker, an outfit) are not independent, so whole groups are
resampled with replacement (Field & Welsh 2007, cluster bootstrap). A resample is a vector of
group weights from a multinomial; the mean it gives is (weights @ group sums) / (weights @ group
sizes), so thousands of resamples are one matrix product. The seed fixes everything.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sensorium.types import blocks

_MEMORY = 1 << 25  # bytes of one block of weights


def interval(
    values: np.ndarray,
    group: np.ndarray,
    statistic: str = "mean",
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of the mean or median of values (q,) over groups (q,).

    With a single group nothing is known about how groups differ; its queries are resampled instead.
    """
    if len(group) and (group == group[0]).all():
        group = np.arange(len(group))
    drawn = resample(values, group, statistic, resamples, seed)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return float(low), float(high)


def resample(
    values: np.ndarray, group: np.ndarray, statistic: str = "mean", resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """The statistic of every resample, (resamples,) float64.

    statistic: "mean" or "median". Equal group and seed give equal resamples for any values, so
    that two runs on the same queries can be compared resample by resample.
    """
    values = np.asarray(values, np.float64)
    _, code = np.unique(group, return_inverse=True)
    groups = int(code.max()) + 1 if len(code) else 0
    if statistic == "median":
        return _medians(values, code, groups, resamples, seed)
    total, size = np.bincount(code, values, groups), np.bincount(code, minlength=groups)
    return np.concatenate([(w @ total) / (w @ size) for w in weights(groups, resamples, seed)])


def weights(groups: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each group is drawn, in blocks (≤ resamples, groups) of bounded memory."""
    random = np.random.default_rng(seed)
    for rows in blocks(resamples, max(1, _MEMORY // (8 * max(1, groups)))):
        size = rows.stop - rows.start
        flat = random.integers(0, groups, (size, groups)) + np.arange(size)[:, None] * groups
        yield np.bincount(flat.ravel(), minlength=size * groups).reshape(size, groups).astype(np.float64)


def _medians(values: np.ndarray, code: np.ndarray, groups: int, resamples: int, seed: int) -> np.ndarray:
    """Weighted medians: values in order, cumulated weights, and where these cross one half.

    With an even total weight the two middle values are averaged, as ``np.median`` does.
    """
    order = np.argsort(values, kind="stable")
    ascending, member = values[order], code[order]
    out = np.empty(resamples)
    done = 0
    for block in weights(groups, resamples, seed):
        for w in block:
            cumulated = np.cumsum(w[member])
            n = cumulated[-1]
            low = np.searchsorted(cumulated, np.floor((n - 1) / 2), side="right")
            high = np.searchsorted(cumulated, np.floor(n / 2), side="right")
            out[done] = (ascending[low] + ascending[high]) / 2
            done += 1
    return out
