"""When to say "no match": the lowest score at which answers are wrong no more often than allowed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe

_STEPS = 20  # thresholds tried; the first answers a twentieth, as very few hits would fail by bad luck alone


@dataclass(frozen=True)
class Threshold:
    """Answer when the score is at least ``score``; otherwise say "no match".

    risk: the allowed share of wrong answers among those given. confidence: of the promise that
    it is kept. score is +inf when no threshold stores it. answered, wrong: what validation gave.
    """

    score: float
    risk: float
    confidence: float
    answered: float
    wrong: float

    def accepts(self, scores: np.ndarray) -> np.ndarray:
        """Which scores are answered, as a mask."""
        return np.asarray(scores) >= self.score

    def to_dict(self) -> dict[str, Any]:
        """For JSON, where "never" is null."""
        return {**asdict(self), "score": self.score if np.isfinite(self.score) else None}


def threshold(scores: np.ndarray, right: np.ndarray, risk: float = 0.1, confidence: float = 0.95) -> Threshold:
    """The most permissive threshold whose selective risk is below ``risk`` with this confidence.

    scores (n,): score of each validation query's best hit; right (n,): whether it was right.
    Learn-then-test (Angelopoulos et al. 2021) with fixed-sequence testing: thresholds are tried
    from strict to permissive, each by the exact binomial (Clopper-Pearson) upper bound of the
    error among the answered, and the walk stops at the first that fails, so that no correction
    for the number of thresholds is due. Queries should be independent: one per group.

    Raises BadRecipe for a risk or confidence outside (0, 1), BadData for unusable scores.
    """
    for name, value in (("risk", risk), ("confidence", confidence)):
        if not 0 < value < 1:
            raise BadRecipe(f"{name}={value}; expected between 0 and 1")
    scores, right = np.asarray(scores, np.float64), np.asarray(right).astype(bool)
    if scores.ndim != 1 or scores.shape != right.shape or not len(scores):
        raise BadData(f"threshold: scores {scores.shape} and outcomes {right.shape}; expected both (n,), n ≥ 1")
    order = np.argsort(-scores, kind="stable")
    ordered, wrong = scores[order], np.cumsum(~right[order])
    # Fewer answers than ``least`` cannot pass even without an error; twice that stands one or two.
    least = int(np.ceil(np.log(1 - confidence) / np.log(1 - risk)))
    start = min(max(2 * least, len(scores) // _STEPS), max(least, len(scores)))
    best = Threshold(np.inf, risk, confidence, 0.0, 0.0)
    for count in np.unique(np.linspace(start, len(scores), _STEPS).astype(np.int64)):
        if count < start or count > len(scores):
            continue
        last = np.searchsorted(-ordered, -ordered[count - 1], side="right")  # equal scores are answered together
        errors = int(wrong[last - 1])
        if upper_bound(errors, int(last), confidence) > risk:
            break
        best = Threshold(float(ordered[count - 1]), risk, confidence, float(last / len(scores)), float(errors / last))
    return best


def upper_bound(errors: int, n: int, confidence: float = 0.95) -> float:
    """One-sided Clopper-Pearson bound: the error rate is below it with this confidence."""
    from scipy.special import betaincinv

    return 1.0 if errors >= n else float(betaincinv(errors + 1, n - errors, confidence))


def two_sided(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact binomial interval (low, high) of a share (Clopper & Pearson 1934)."""
    tail = (1 - confidence) / 2
    return 1 - upper_bound(n - successes, n, 1 - tail), upper_bound(successes, n, 1 - tail)


def risk_coverage(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The risk-coverage curve: share answered (n,) and share wrong among them (n,), best scores first."""
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    n = np.arange(1, len(order) + 1)
    return n / len(order), np.cumsum(~np.asarray(right).astype(bool)[order]) / n
