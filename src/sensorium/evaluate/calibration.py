"""Calibration: a score becomes the probability that the hit is right, fitted on validation.

Three maps, each a small frozen value that is stored with the run: Platt's sigmoid (Platt 1999, with
Lin et al. 2007's targets), isotonic regression (Zadrozny & Elkan 2002), and, for classifiers,
one temperature for the softmax (Guo et al. 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest

_LEAST = 10  # scored hits below which nothing is fitted
_FOLDS = 5


@dataclass(frozen=True)
class Platt:
    """p = 1 / (1 + exp(−(slope · score + intercept)))."""

    slope: float
    intercept: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities, float64, of scores of any shape."""
        return _sigmoid(self.slope * np.asarray(scores, np.float64) + self.intercept)


@dataclass(frozen=True)
class Isotonic:
    """A non-decreasing piecewise linear map through (scores[i], probabilities[i]); flat outside."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities, float64, of scores of any shape."""
        return np.interp(np.asarray(scores, np.float64), self.scores, self.probabilities)


@dataclass(frozen=True)
class Temperature:
    """Class probabilities softmax(scores / temperature) over the last axis."""

    temperature: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities (..., c), float64, of class scores (..., c)."""
        x = np.asarray(scores, np.float64) / self.temperature
        x = np.exp(x - x.max(axis=-1, keepdims=True))
        return x / x.sum(axis=-1, keepdims=True)


Calibration = Platt | Isotonic | Temperature
_KINDS: Mapping[str, type] = {"platt": Platt, "isotonic": Isotonic, "temperature": Temperature}


def to_dict(calibration: Calibration) -> dict[str, Any]:
    """For JSON: the method's name and its numbers."""
    name = next(name for name, kind in _KINDS.items() if isinstance(calibration, kind))
    return {"method": name, **asdict(calibration)}


def from_dict(record: Mapping[str, Any]) -> Calibration:
    """The method that :func:`to_dict` wrote. Raises BadRecipe for an unknown method."""
    values = dict(record)
    method = str(values.pop("method", ""))
    if method not in _KINDS:
        raise BadRecipe(f"calibration method '{method}'; {nearest(method, _KINDS)}")
    return _KINDS[method](**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def platt(scores: np.ndarray, right: np.ndarray) -> Platt:
    """Fit the sigmoid by Newton's method on scores (n,) and whether each hit was right (n,).

    The targets are (N₊ + 1) / (N₊ + 2) and 1 / (N₋ + 2) instead of 1 and 0 (Platt 1999), so that
    separable data do not give an infinite slope.
    """
    scores, right = _check(scores, right)
    centre, scale = scores.mean(), scores.std() or 1.0
    x = np.column_stack([(scores - centre) / scale, np.ones(len(scores))])
    positive = right.sum()
    target = np.where(right, (positive + 1) / (positive + 2), 1 / (len(right) - positive + 2))
    w = np.array([0.0, np.log((positive + 1) / (len(right) - positive + 1))])

    def loss(w: np.ndarray) -> float:
        z = x @ w
        return float(np.sum(np.logaddexp(0, z) - target * z))

    for _ in range(100):
        p = _sigmoid(x @ w)
        gradient = x.T @ (p - target)
        if np.abs(gradient).max() < 1e-10 * len(scores):
            break
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-12 * np.eye(2)
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while loss(w - size * step) > loss(w) and size > 1e-10:  # a convex loss: half a step always helps in the end
            size /= 2
        w = w - size * step
    return Platt(float(w[0] / scale), float(w[1] - w[0] * centre / scale))


def isotonic(scores: np.ndarray, right: np.ndarray) -> Isotonic:
    """Fit the non-decreasing map of least squares by pooling adjacent violators (Ayer et al. 1955)."""
    scores, right = _check(scores, right)
    x, code = np.unique(scores, return_inverse=True)
    weight = np.bincount(code).astype(np.float64)
    mean = np.bincount(code, right) / weight
    pools: list[list[float]] = []  # mean, weight, number of distinct scores
    for value, w in zip(mean, weight, strict=True):
        pools.append([value, w, 1])
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            value_b, w_b, n_b = pools.pop()
            value_a, w_a, n_a = pools.pop()
            pools.append([(value_a * w_a + value_b * w_b) / (w_a + w_b), w_a + w_b, n_a + n_b])
    fitted = np.repeat([p[0] for p in pools], [int(p[2]) for p in pools])
    # Only the ends of each flat stretch are needed to draw the line.
    keep = np.r_[True, (fitted[1:-1] != fitted[:-2]) | (fitted[1:-1] != fitted[2:]), True][: len(x)]
    return Isotonic(tuple(x[keep].tolist()), tuple(fitted[keep].tolist()))


def temperature(scores: np.ndarray, labels: np.ndarray) -> Temperature:
    """Fit one temperature to class scores (n, c) and true classes (n,) by least log loss.

    The loss is convex in 1 / temperature, which golden-section search narrows down to 1e-6.
    Raises BadData when labels are out of range.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    if scores.ndim != 2 or len(labels) != len(scores) or not len(scores):
        raise BadData(f"class scores {scores.shape} and {len(labels)} labels; expected (n, c) and n of them")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise BadData(f"class labels {labels.min()}..{labels.max()} for {scores.shape[1]} classes")
    spread = scores.std() or 1.0
    rows = np.arange(len(scores))

    def loss(log_sharpness: float) -> float:
        z = scores * (np.exp(log_sharpness) / spread)
        high = z.max(axis=1)
        return float(np.mean(high + np.log(np.exp(z - high[:, None]).sum(axis=1)) - z[rows, labels]))

    low, high, golden = np.log(1e-3), np.log(1e3), (np.sqrt(5) - 1) / 2
    while high - low > 1e-6:
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return Temperature(float(spread / np.exp((low + high) / 2)))


def choose(scores: np.ndarray, right: np.ndarray, group: np.ndarray | None = None, seed: int = 0) -> Platt | Isotonic:
    """Platt or isotonic, whichever has the lower Brier score in 5-fold cross-validation over groups."""
    scores, right = _check(scores, right)
    _, code = np.unique(np.arange(len(scores)) if group is None else group, return_inverse=True)
    folds = np.random.default_rng(seed).permutation(code.max() + 1) % _FOLDS
    fold = folds[code]
    brier = {}
    for fit in (platt, isotonic):
        errors = []
        for held in range(_FOLDS):
            rest = fold != held
            if rest.sum() >= _LEAST and not rest.all():
                errors.append((fit(scores[rest], right[rest])(scores[~rest]) - right[~rest]) ** 2)
        brier[fit] = np.concatenate(errors).mean() if errors else np.inf
    return min(brier, key=brier.get)(scores, right)


def reliability(
    probabilities: np.ndarray, right: np.ndarray, bins: int = 10, equal: str = "mass"
) -> list[dict[str, Any]]:
    """The reliability table: per bin its range, count, mean probability and share right.

    equal: "mass" puts about as many hits in each bin; "width" cuts 0..1 evenly (Guo et al. 2017).
    Empty bins are left out.
    """
    p, right = np.asarray(probabilities, np.float64), np.asarray(right, np.float64)
    if equal == "width":
        edges = np.linspace(0, 1, bins + 1)
    elif equal == "mass":
        edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)))
    else:
        raise BadRecipe(f"equal='{equal}'; expected 'mass' or 'width'")
    at = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, max(len(edges) - 2, 0))
    tops = edges[1:] if len(edges) > 1 else edges
    rows = []
    for i, top in enumerate(tops.tolist()):
        here = at == i
        if here.any():
            rows.append(
                {
                    "low": float(edges[i]),
                    "high": top,
                    "n": int(here.sum()),
                    "mean_probability": float(p[here].mean()),
                    "share_right": float(right[here].mean()),
                }
            )
    return rows


def calibration_error(table: list[dict[str, Any]]) -> float:
    """ECE: Σ n/N · |mean probability − share right| over a reliability table."""
    n = np.array([row["n"] for row in table], np.float64)
    gap = np.array([abs(row["mean_probability"] - row["share_right"]) for row in table])
    return float((n * gap).sum() / n.sum())


def summary(probabilities: np.ndarray, right: np.ndarray, bins: int = 10) -> dict[str, Any]:
    """ECE, Brier score and reliability table of probabilities (n,) on held-out hits."""
    table = reliability(probabilities, right, bins)
    p, right = np.asarray(probabilities, np.float64), np.asarray(right, np.float64)
    return {"n": len(p), "ECE": calibration_error(table), "brier": float(((p - right) ** 2).mean()),
            "mean_probability": float(p.mean()), "share_right": float(right.mean()), "reliability": table}  # fmt: skip


def _check(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, right = np.asarray(scores, np.float64), np.asarray(right).astype(bool)
    if scores.ndim != 1 or scores.shape != right.shape:
        raise BadData(f"calibration: scores {scores.shape} and outcomes {right.shape}; expected both (n,)")
    if len(scores) < _LEAST:
        raise BadData(
            f"calibration: {len(scores)} scored hits, at least {_LEAST} needed; "
            "hold out more (data.validation=0.2), or type: evaluate.calibrate=false"
        )
    if not np.isfinite(scores).all():
        raise BadData(f"calibration: {np.count_nonzero(~np.isfinite(scores))} scores are not finite")
    return scores, right


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))
