"""How probably a pair is mispaired: its similarity against that of pairs shuffled on purpose, as a mixture.

The similarities of the listed pairs come from f = π f₀ + (1 - π) f₁: f₀ of pairs put together at random, f₁ of right
ones, π the share of mispaired ones. f₀ is known, as pairs can be shuffled at will. f₁ is taken as an exponential tilt
of it (Qin 1999; Zou, Fine & Yandell 2002), which is what holds where both are normal, and for many other shapes:

    f₁(u) / f₀(u) = exp(a + b u + c u²)

With the tilt known the probability is π f₀ / f; with the probabilities known the tilt is a weighted logistic
regression of listed pairs against shuffled ones, and π their mean (EM). No pair needs to be known as right.

A few right pairs are unlike any other: a tilt's lower tail has none of them, so that 99% was said where 90% were
mispaired. So f₁ is taken as (1 - ε) of the tilt and ε of f₀. ε cannot be learned from similarities, as such pairs look
like mispaired ones; :data:`UNUSUAL` has what made the probabilities hold on data with errors made on purpose.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sensorium.errors import BadData

LEAST = 50  # pairs, below which a mixture says nothing
APART = 0.6  # chance that a listed pair is more similar than a shuffled one, below which the two cannot be told apart
UNUSUAL = {"pairs": 0.002, "labels": 0.005}  # share of the right ones that are as dissimilar as chance
_LOW, _COUNTED = (
    0.25,
    50,
)  # lowest share of the shuffled, which no right pair is among; listed pairs there, to count them
_LEARNED, _UNUSUAL = 0.05, (1e-4, 0.5)  # ε from which it is learned, and its bounds
_ROUNDS, _STEPS = 200, 8  # of EM; of Newton in each, which goes on from the round before
_SETTLED = 1e-6  # change of the mean probability that ends the rounds
_RIDGE = 1e-3  # on the tilt's coefficients, so that similarities that are far apart have one
_LARGEST = 60.0  # of a logarithm of the ratio


class Mixture(NamedTuple):
    """probability (p,) that each pair is mispaired; share: π; apart: chance that a listed pair beats a shuffled one."""

    probability: np.ndarray
    share: float
    apart: float


def mixture(
    listed: np.ndarray,
    shuffled: np.ndarray,
    unusual: float = UNUSUAL["pairs"],
    share: float | None = None,
    learn: bool = True,
) -> Mixture:
    """The probability (p,) that each listed pair is mispaired.

    listed (p,): similarities of the pairs, each by a model that has not seen it. shuffled (s,): of pairs of the same
    items put together at random, by the same models. unusual: ε. share: π where it is known; then ε is learned, from
    ``unusual`` on, unless ``learn`` is False. Where the two are hardly apart (:data:`APART`), all
    probabilities are NaN: nothing can be said.

    Raises BadData for fewer than :data:`LEAST` pairs.
    """
    if min(len(listed), len(shuffled)) < LEAST:
        raise BadData(f"{len(listed)} pairs are too few to tell mispaired ones; expected {LEAST} at least")
    apart = _above(listed, shuffled)
    middle, scale = float(shuffled.mean()), float(shuffled.std())
    if apart >= APART and not scale > 0:  # nothing but the classes themselves, such as their one-hot vectors
        wrong = (listed <= middle).astype(np.float64)
        return Mixture(wrong, float(wrong.mean()), apart)
    if not apart >= APART:
        return Mixture(np.full(len(listed), np.nan), float("nan"), apart)
    u, v = (listed - middle) / scale, (shuffled - middle) / scale
    known, (begun, right) = share, _start(u, v)
    share, tilt = begun if known is None else known, np.zeros(3)
    mean = share
    for _ in range(_ROUNDS):
        tilt = _tilt(u, v, right, tilt)
        tilted = (1 - unusual) * np.exp(_log_ratio(u, tilt))
        total = share + (1 - share) * (tilted + unusual)
        wrong, right = share / total, (1 - share) * tilted / total
        before, mean = mean, float(np.mean(wrong))
        if known is None:
            share = mean
        elif learn:
            unusual = float(np.clip(np.mean(unusual / total), *_UNUSUAL))
        if abs(mean - before) < _SETTLED:
            break
    return Mixture(wrong, share, apart)


def of_evidence(listed: np.ndarray, shuffled: np.ndarray, unusual: float = UNUSUAL["pairs"]) -> Mixture:
    """:func:`mixture` of pairs by several numbers each: the probability (p,) that each listed pair is mispaired.

    listed (p, f), shuffled (s, f): numbers that are higher the better a pair fits; NaN where a pair has not one of
    them. The first is always there. Pairs that have the same ones are a mixture of their own, of the one number that
    tells listed from shuffled best by logistic regression; fewer than :data:`LEAST` of them count by the first alone.
    Pairs of one number then take the share of mispaired ones from those of several, which leaves ε to be learned.
    """
    if listed.shape[1] == 1 or np.isnan(listed[:, 1:]).all():
        return mixture(listed[:, 0], shuffled[:, 0], unusual)
    kind = ~np.isnan(listed) @ (1 << np.arange(listed.shape[1]))
    names, count = np.unique(kind, return_counts=True)
    kind[np.isin(kind, names[count < LEAST])] = 1
    probability, shares, apart = np.full(len(listed), np.nan), [], []
    several = [one for one in np.unique(kind).tolist() if one > 1]
    for one in [*several, *([1] if (kind == 1).any() else [])]:
        which = kind == one
        if one > 1:
            columns = np.flatnonzero((one >> np.arange(listed.shape[1])) & 1)
            null = shuffled[:, columns]
            u, v = _telling(listed[np.ix_(which, columns)], null[~np.isnan(null).any(1)])
            found = mixture(u, v, unusual)
            low = int((u <= np.quantile(v, _LOW)).sum())
            if low >= _COUNTED and not np.isnan(found.share):
                found = _of_share(u, v, unusual, (low / _LOW / len(u) - unusual) / (1 - unusual))
            p = found.probability
        else:
            known = [pair for pair in shares if not np.isnan(pair[1])]
            share = float(np.average([s for _, s in known], weights=[n for n, _ in known])) if known else None
            least = which if which.sum() >= LEAST else np.ones(len(listed), bool)
            found = mixture(listed[least, 0], shuffled[:, 0], _LEARNED if share else unusual, share or None)
            p = found.probability[which[least]]
        probability[which] = p
        shares.append((which.sum(), found.share))
        apart.append(found.apart)
    weight = np.array([n for n, _ in shares], np.float64)
    share = float(np.average([s for _, s in shares], weights=weight))
    return Mixture(probability, share, float(np.average(apart, weights=weight)))


def _of_share(u: np.ndarray, v: np.ndarray, unusual: float, share: float) -> Mixture:
    """A mixture of this share, and of this ε."""
    return mixture(u, v, unusual, float(np.clip(share, 1 / len(u), 0.9)), learn=False)


def _telling(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (p, f) and (s, f) as the one number that tells the first from the second best."""
    middle, scale = v.mean(0), np.maximum(v.std(0), 1e-12)
    u, v = (u - middle) / scale, (v - middle) / scale
    x = np.concatenate([u, v])
    y = np.concatenate([np.ones(len(u)), np.zeros(len(v))])
    weight = np.concatenate([np.ones(len(u)), np.full(len(v), len(u) / len(v))])
    features = np.concatenate([np.ones((len(x), 1)), x], 1)
    found = np.zeros(features.shape[1])
    for _ in range(_ROUNDS // 10):
        before, found = found, _logistic(features, y, weight, found)
        if np.abs(found - before).max() < 1e-6:
            break
    return u @ found[1:], v @ found[1:]


def _above(a: np.ndarray, b: np.ndarray) -> float:
    """Chance that one of a is above one of b; half at a tie."""
    b = np.sort(b)
    return float((np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right")).mean() / (2 * len(b)))


def _start(u: np.ndarray, v: np.ndarray) -> tuple[float, np.ndarray]:
    """A first share, by the listed pairs that are as dissimilar as the lower fourth of the shuffled; who is right."""
    low, high = np.quantile(v, [0.25, 0.98])
    share = float(np.clip(4 * np.mean(u <= low), 1 / len(u), 0.9))
    return share, np.where(u > high, 0.99, 0.2)


def _tilt(u: np.ndarray, v: np.ndarray, right: np.ndarray, before: np.ndarray) -> np.ndarray:
    """a, b, c of the tilt from the right pairs, by their weights, against the shuffled ones."""
    x = np.concatenate([u, v])
    y = np.concatenate([np.ones(len(u)), np.zeros(len(v))])
    weight = np.concatenate([right, np.full(len(v), right.sum() / len(v))])
    return _logistic(np.stack([np.ones(len(x)), x, x * x], 1), y, weight, before)


def _logistic(features: np.ndarray, y: np.ndarray, weight: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Coefficients of a weighted logistic regression, by Newton's method."""
    found, ridge = np.array(start), _RIDGE * np.diag([0.0, *[1.0] * (len(start) - 1)])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(features @ found, -_LARGEST, _LARGEST)))
        slope = features.T @ (weight * (y - p)) - ridge @ found
        curve = (features * (weight * p * (1 - p))[:, None]).T @ features + ridge
        step = np.linalg.solve(curve, slope)
        found = found + step * min(1.0, 5 / np.abs(step).max(initial=1e-12))
        if np.abs(step).max() < 1e-7:
            break
    return found


def _log_ratio(u: np.ndarray, tilt: np.ndarray) -> np.ndarray:
    """a + b u + c u², held beyond its vertex, so that it never falls as u grows, and within what exp can take."""
    a, b, c = tilt
    if c:
        u = (np.minimum if c < 0 else np.maximum)(u, -b / (2 * c))
    return np.clip(a + b * u + c * u * u, -_LARGEST, _LARGEST)
