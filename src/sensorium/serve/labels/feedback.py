"""Relevance feedback: the query moves towards what fits and away from what does not, without any refit."""

from __future__ import annotations

import numpy as np

from sensorium.numerics import unit

#: Weights of the query, of what fits, and of what does not.
ALPHA, BETA, GAMMA = 1.0, 0.75, 0.25


def rocchio(query: np.ndarray, up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """The moved query, (d,) at unit length.

    q' = α q + β mean(up) - γ mean(down), with every vector at unit length and α = 1, β = 0.75, γ = 0.25 (Rocchio, 1971;
    the weights of Manning, Raghavan and Schütze, 2008, section 9.1.1). query (d,); up (p, d), down (n, d), which may
    be empty.
    """
    moved = ALPHA * unit(np.asarray(query, np.float32)[None])[0]
    if len(up):
        moved = moved + BETA * unit(np.asarray(up, np.float32)).mean(axis=0)
    if len(down):
        moved = moved - GAMMA * unit(np.asarray(down, np.float32)).mean(axis=0)
    return unit(moved[None])[0]
