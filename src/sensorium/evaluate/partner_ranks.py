"""The rank of each item's best partner among candidates whose vectors stay, for many versions of the items' vectors."""

from __future__ import annotations

import numpy as np

from sensorium.pairs import Pairs
from sensorium.types import blocks

_MOST = 5000  # candidates beside the partners, drawn once, so that versions are compared on the same ones
_BLOCK = 512


class PartnerRanks:
    """Reciprocal ranks of the best partners of some rows of a table.

    pairs: related ones. rows (n,): of the direction's side. candidates: rows of the other side whose vectors are
    needed, in the order in which :meth:`__call__` takes them.
    """

    def __init__(self, pairs: Pairs, direction: str, rows: np.ndarray, seed: int = 0) -> None:
        relevance = pairs.relevance(direction)
        at = np.searchsorted(relevance.queries, rows)
        starts, stops = relevance.offsets[at], relevance.offsets[at + 1]
        partners = np.concatenate([relevance.relevant[a:b] for a, b in zip(starts, stops, strict=True)])
        n = len(relevance.candidates)
        others = np.random.default_rng(seed).choice(n, min(n, _MOST), replace=False)
        chosen = np.union1d(partners, others)
        self.candidates = relevance.candidates[chosen]
        place = np.full(n + 1, -1, np.int64)
        place[chosen] = np.arange(len(chosen))
        self._own = place[relevance.own[at]]
        self._partners = [place[relevance.relevant[a:b]] for a, b in zip(starts, stops, strict=True)]

    def __call__(self, places: np.ndarray, z: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """(m,) float64 of the rows at ``places`` (m,), whose vectors are z (m, d); ties count against the partner."""
        found = np.empty(len(places))
        for part in blocks(len(places), _BLOCK):
            scores = z[part] @ candidates.T
            for row, at in enumerate(places[part].tolist()):
                own, partners = self._own[at], scores[row, self._partners[at]]
                best = partners.max()
                if own >= 0:
                    scores[row, own] = -np.inf
                before = np.count_nonzero(scores[row] >= best) - np.count_nonzero(partners >= best)
                found[part.start + row] = 1.0 / (before + 1)
        return found
