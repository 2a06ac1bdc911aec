"""Biases against hubs: one number per candidate, from how near it is to a bank of training queries.

Every method here comes down to ``score − bias[candidate]``, up to terms of the query alone that
cannot change its ranking. So a corrected search is a plain inner product over vectors one wider:
queries [q, 1], candidates [c, −bias]. QB-Norm applies it only to queries whose first hit is a hub.

* ``inverted_softmax`` (Smith et al. 2017, eq. 5): bias = log mean exp(β s) / β over the bank.
* ``csls`` (Conneau et al. 2018, eq. 3): bias = half the mean of the k highest scores of the bank.
* ``sinkhorn`` (Cuturi 2013): bias = the potential that gives all candidates equal mass.
* ``qb_norm`` (Bogolin et al. 2022, algorithm 1): inverted softmax for queries that hit a hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sensorium import scores
from sensorium.types import Rows, blocks

Tile = tuple[slice, np.ndarray, np.ndarray]
_CANDIDATES = 2048
_SWEEPS = 30  # of Sinkhorn at most
_CACHED = 1 << 26  # kernel values kept between Sinkhorn's sweeps; beyond, they are made anew
_TINY = 1e-30  # a bank query so far from everything stores a finite scaling
_SETTLED = 1e-4  # relative change of a candidate's mass, below which Sinkhorn stops


@dataclass(frozen=True)
class Biased:
    """Candidates one column wider, [c, −bias], read by rows: (m, d + 1) float32 Rows."""

    table: Rows
    bias: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(m, d + 1)."""
        return (len(self.table), int(self.table.shape[1]) + 1)

    @property
    def dtype(self) -> np.dtype:
        """Always float32."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        return np.column_stack([np.asarray(self.table[which], np.float32), -self.bias[which]])


@dataclass(frozen=True)
class Shift:
    """A correction fitted to one set of m candidates.

    bias (m,) float32: subtracted from every score. hubs (m,) bool, for QB-Norm: a query is
    corrected only when its best raw hit is one of these; None corrects every query.
    """

    bias: np.ndarray
    hubs: np.ndarray | None = None

    def wide_queries(self, queries: np.ndarray) -> np.ndarray:
        """[q, 1]: (q, d + 1) float32."""
        return np.column_stack([np.asarray(queries, np.float32), np.ones(len(queries), np.float32)])

    def wide_candidates(self, candidates: Rows) -> Biased:
        """[c, −bias]: what any inner-product index can be built of."""
        return Biased(candidates, self.bias)

    def rerank(self, positions: np.ndarray, score: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Correct the hits of a raw search, positions and scores (q, K) best first, and keep k ≤ K.

        Position −1 stands for "fewer found" and stays last. Exact when K is all candidates; a K
        of ten times k loses little, as biases differ by less than scores do.
        """
        found = positions >= 0
        corrected = np.where(found, score - self.bias[positions], -np.inf).astype(np.float32)
        if self.hubs is not None:
            corrected = np.where(self.hubs[positions[:, :1]] & found[:, :1], corrected, score)
        order = np.argsort(-corrected, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(positions, order, 1), np.take_along_axis(corrected, order, 1)


def inverted_softmax(bank: np.ndarray, candidates: Rows, beta: float) -> Shift:
    """Bias = log mean exp(β s) / β: between a candidate's mean (β → 0) and highest score (β → ∞)."""
    bias = np.empty(len(candidates), np.float32)
    for rows in blocks(len(candidates), _CANDIDATES):
        tile = np.asarray(candidates[rows], np.float32) @ bank.T
        top = tile.max(axis=1)
        bias[rows] = top + np.log(np.exp(np.float32(beta) * (tile - top[:, None])).mean(axis=1)) / beta
    return Shift(bias)


def csls(bank: np.ndarray, candidates: Rows, k: float) -> Shift:
    """Bias = half the mean score of the k bank queries nearest to the candidate."""
    k = min(int(k), len(bank))
    bias = np.empty(len(candidates), np.float32)
    for rows in blocks(len(candidates), _CANDIDATES):
        tile = np.asarray(candidates[rows], np.float32) @ bank.T
        bias[rows] = np.partition(tile, len(bank) - k, axis=1)[:, len(bank) - k :].mean(axis=1) / 2
    return Shift(bias)


def sinkhorn(bank: np.ndarray, candidates: Rows, sharpness: float) -> Shift:
    """Bias = minus the candidates' potential of the transport between bank and candidates, ε = 1 / sharpness.

    Mass is 1 for each bank query and len(bank) / m for each candidate. With u the bank's scaling,
    each sweep sets bias = log mean (u exp(β s)) / β, and then u so that every query's mass is kept.
    """
    u, bias = np.ones(len(bank), np.float32), np.zeros(len(candidates))
    tiles = _kernel(bank, candidates, sharpness)
    for _ in range(_SWEEPS):
        before, mass = bias.copy(), np.zeros(len(bank))
        for rows, top, kernel in tiles():
            total = kernel @ u
            bias[rows] = top + np.log(total / len(bank)) / sharpness
            mass += (len(bank) / total) @ kernel
        u = (len(candidates) / np.maximum(mass, _TINY)).astype(np.float32)
        if sharpness * np.ptp(bias - before) < _SETTLED:  # what all candidates share moves no ranking
            break
    return Shift(bias.astype(np.float32))


def _kernel(bank: np.ndarray, candidates: Rows, sharpness: float) -> Callable[[], Iterable[Tile]]:
    """Blocks (rows, highest score of each candidate, exp(β (s − highest)) (rows, b)); kept when they fit in memory."""

    def made() -> Iterator[Tile]:
        for rows in blocks(len(candidates), _CANDIDATES):
            tile = np.asarray(candidates[rows], np.float32) @ bank.T
            top = tile.max(axis=1)
            yield rows, top, np.exp(np.float32(sharpness) * (tile - top[:, None]))

    if len(candidates) * len(bank) > _CACHED:
        return made
    cached = list(made())
    return lambda: cached


def qb_norm(bank: np.ndarray, candidates: Rows, beta: float) -> Shift:
    """Inverted softmax, for queries whose best hit is the best hit of some bank query too."""
    best, _ = scores.topk(bank, candidates, 1)
    hubs = np.zeros(len(candidates), bool)
    hubs[best[:, 0]] = True
    return replace(inverted_softmax(bank, candidates, beta), hubs=hubs)


METHODS: Mapping[str, Callable[[np.ndarray, Rows, float], Shift]] = {
    "csls": csls, "inverted_softmax": inverted_softmax, "qb_norm": qb_norm, "sinkhorn": sinkhorn,
}  # fmt: skip
