"""Maximal marginal relevance (MMR): results that differ from each other."""

from __future__ import annotations

import numpy as np

from sensorium.errors import BadRecipe
from sensorium.numerics import unit

#: Candidates examined for each result.
POOL = 5


def mmr(relevance: np.ndarray, vectors: np.ndarray, k: int, trade: float) -> np.ndarray:
    """Positions (min(k, m),) of the results, in order of choice (Carbonell and Goldstein, SIGIR 1998).

    relevance (m,): score of each candidate; vectors (m, d): what they are compared by, by cosine.
    trade: λ from 0 to 1. Each step takes the candidate of highest
    λ · relevance − (1 − λ) · (highest cosine to those taken); λ = 1 keeps the order of relevance.
    Equal values go to the earlier candidate. Raises BadRecipe for λ outside 0 to 1.
    """
    if not 0 <= trade <= 1:
        raise BadRecipe(f"mmr={trade}; expected 0 (all variety) to 1 (all relevance)")
    relevance = np.asarray(relevance, np.float64)
    m = len(relevance)
    z = unit(np.asarray(vectors, np.float32))
    nearest = np.full(m, -np.inf)
    left = np.ones(m, bool)
    taken = np.empty(min(max(k, 0), m), np.int64)
    for place in range(len(taken)):
        like = nearest if place else np.zeros(m)
        value = np.where(left, trade * relevance - (1 - trade) * like, -np.inf)
        taken[place] = best = int(np.argmax(value))
        left[best] = False
        nearest = np.maximum(nearest, z @ z[best])
    return taken
