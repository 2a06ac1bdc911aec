"""Hubness: do a few candidates turn up in everybody's list, and does a correction help?

N_k of a candidate is the number of queries that have it among their k nearest; its skewness over
the candidates is the usual measure (Radovanović et al. 2010): 0 for a fair share, above about 1
for hubs that crowd others out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.errors import BadData
from sensorium.evaluate import statistics
from sensorium.evaluate.hubness_corrections import Correction, Taken
from sensorium.evaluate.hubness_methods import METHODS
from sensorium.evaluate.projected import Projected
from sensorium.pairs import Pairs
from sensorium.scores import measures
from sensorium.types import Rows

BANK = 4096  # training queries kept; more change the biases by less than their own noise
#: Strengths tried: multiples of 1 / (standard deviation of the scores), for csls neighbours.
STRENGTHS: Mapping[str, Sequence[float]] = {
    "csls": (5, 10, 20), "inverted_softmax": (1, 2, 4), "qb_norm": (1, 2, 4), "sinkhorn": (1, 2, 4),
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """What validation decided: a correction or None, and a row of numbers for everything tried."""

    correction: Correction | None
    tried: list[dict[str, Any]]


def occurrence(positions: np.ndarray, m: int) -> np.ndarray:
    """N_k, (m,) int64: in how many of the lists (q, k) of candidate positions each candidate stands."""
    return np.bincount(positions[positions >= 0], minlength=m)


def skewness(counts: np.ndarray) -> float:
    """Third standardised moment E[(x − μ)³] / σ³; 0 when all are equal."""
    x = np.asarray(counts, np.float64)
    centred = x - x.mean()
    deviation = np.sqrt((centred**2).mean())
    return float((centred**3).mean() / deviation**3) if deviation > 0 else 0.0


def report(
    projected: Projected,
    direction: str,
    split: str = "test",
    k: int = 10,
    correction: Correction | None = None,
) -> dict[str, Any]:
    """Hubness of one direction: skewness of N_k, the largest hub, and the share of candidates never found."""
    queries, candidates = projected.sides(direction)
    relevance = projected.pairs.relevance(direction, split)
    taken, q = Taken(candidates, relevance.candidates), np.asarray(queries[relevance.queries], np.float32)
    k = min(k, len(taken))
    find = scores.topk if correction is None else correction.topk
    counts = occurrence(find(q, taken, k, own=relevance.own)[0], len(taken))
    return {"direction": direction, "split": split, "k": k, "correction": correction.method if correction else "none",
            "skewness": skewness(counts), "largest_hub": float(counts.max() / len(q)),
            "never_found": float((counts == 0).mean())}  # fmt: skip


def bank_of(queries: Rows, pairs: Pairs, direction: str, size: int = BANK, seed: int = 0) -> np.ndarray:
    """Head outputs of up to ``size`` training queries, (b, d) float32, drawn without replacement."""
    rows = pairs.relevance(direction, "train").queries
    if not len(rows):
        raise BadData("a hubness correction is fitted on training queries, but the train split has no related pair")
    if len(rows) > size:
        rows = np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))
    return np.asarray(queries[rows], np.float32)


def choose(
    projected: Projected,
    direction: str,
    methods: Sequence[str] = tuple(METHODS),
    seed: int = 0,
    resamples: int = 1000,
) -> Choice:
    """The correction with the highest validation MRR (mAP for relations by class), or None unless it clearly helps.

    Each method is fitted on training
    queries and evaluated on the validation split. "Clearly": the 95% interval of the paired
    difference of reciprocal ranks, over groups, lies above 0.
    """
    queries, candidates = projected.sides(direction)
    pairs = projected.pairs
    bank = bank_of(queries, pairs, direction, seed=seed)
    relevance = pairs.relevance(direction, "validation")
    if not len(relevance.queries):
        raise BadData("a hubness correction is chosen on validation, but that split has no related pair")
    measure = measures.parse("MRR" if pairs.classes is None else "mAP")  # the first of many relevants says little
    raw = measure.per_query(scores.ranks(queries, candidates, relevance), relevance.offsets)
    unit = score_deviation(bank, Taken(candidates, relevance.candidates))
    tried: list[dict[str, Any]] = [{"method": "none", "strength": None, str(measure): float(raw.mean())}]
    best, best_value = None, raw
    for method in methods:
        for strength in STRENGTHS.get(method, (1.0,)):
            correction = Correction(method, strength if method == "csls" else strength / unit, bank)
            ranked = correction.ranks(queries, candidates, relevance)
            value = measure.per_query(ranked, relevance.offsets)
            tried.append({"method": method, "strength": correction.strength, str(measure): float(value.mean())})
            if value.mean() > best_value.mean():
                best, best_value = correction, value
    if best is not None:
        low, high = statistics.interval(best_value - raw, relevance.group, "mean", resamples, seed)
        tried.append({"method": f"{best.method} − none", "strength": best.strength, "low": low, "high": high,
                      str(measure): float(best_value.mean() - raw.mean())})  # fmt: skip
        best = best if low > 0 else None
    return Choice(best, tried)


def score_deviation(bank: np.ndarray, candidates: Rows) -> float:
    """Standard deviation of the scores between a bank and up to 1,024 of the candidates."""
    some = np.linspace(0, len(candidates) - 1, min(len(candidates), 1024)).astype(np.int64)
    deviation = float((np.asarray(candidates[some], np.float32) @ bank.T).std())
    return deviation if deviation > 0 else 1.0
