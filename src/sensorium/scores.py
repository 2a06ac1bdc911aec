"""Queries × candidates in blocks: exact top-k and exact ranks, never the whole (q, m) matrix.

The score of a pair is the inner product accumulated in float64 and rounded once to float32.
It depends on the two vectors alone, not on block sizes or threads, so equal vectors tie exactly.
Matrix products only decide what is certainly above or below a threshold; every pair within
the rounding bound of one is scored again by the definition.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sensorium.errors import BadData
from sensorium.pairs import Relevance
from sensorium.types import Rows, blocks

_QUERIES = 512
_CANDIDATES = 8192
_UNIT = 2.0**-24  # unit roundoff of float32


def pair_scores(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Scores (p,) float32 of paired rows (p, d): the definition everything else must agree with."""
    out = np.empty(len(left), np.float32)
    for rows in blocks(len(left), max(1, (1 << 20) // max(1, left.shape[1]))):
        product = np.multiply(left[rows], right[rows], dtype=np.float64)
        out[rows] = product.sum(axis=1)
    return out


def topk(
    queries: Rows,
    candidates: Rows,
    k: int,
    own: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k candidates of highest score for each query: positions (q, k) int64, scores (q, k) float32.

    queries (q, d), candidates (m, d). own (q,): a candidate position never returned for that
    query, -1 for none. mask (m,): which candidates may be returned. Equal scores come in order
    of position. Where fewer than k remain, the position is -1 and the score -inf.
    Raises BadData on NaN or infinite vectors and on different widths.
    """
    _same_width(queries, candidates)
    allowed = None if mask is None else np.flatnonzero(mask)
    positions = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    if not k or not len(queries):
        return positions, scores
    for rows in blocks(len(queries), _QUERIES):
        q = _read(queries, rows, "queries")
        length = _norms(q)
        best_position, best_score = positions[rows], scores[rows]
        for at, c in _candidate_blocks(candidates, allowed):
            tile = q @ c.T
            bound = _bound(length, c)
            floor = best_score[:, -1].astype(np.float64)
            if len(at) >= k:
                kth = np.partition(tile, len(at) - k - (own is not None and len(at) > k), axis=1)
                floor = np.maximum(floor, kth[:, len(at) - k - (own is not None and len(at) > k)] - bound)
            i, j = np.nonzero(tile >= (floor - bound)[:, None])
            if own is not None:
                keep = at[j] != own[rows][i]
                i, j = i[keep], j[keep]
            _merge(best_position, best_score, i, at[j], pair_scores(q[i], c[j]))
    return positions, scores


def ranks(queries: Rows, candidates: Rows, relevance: Relevance) -> np.ndarray:
    """Pessimistic rank, 1-based, of every relevant, in the order of ``relevance.relevant``.

    1 + the number of non-relevant candidates that score at least as high + the number of
    relevants before it (equal relevants in order of position); the query itself never counts.
    ``relevance.queries`` and ``relevance.candidates`` choose the rows of the two tables.
    Raises BadData on NaN or infinite vectors and on different widths.
    """
    _same_width(queries, candidates)
    out = np.empty(len(relevance.relevant), np.int64)
    for rows in blocks(len(relevance.queries), _QUERIES):
        q = _read(queries, relevance.queries[rows], "queries")
        start, stop = relevance.offsets[rows.start], relevance.offsets[rows.stop]
        offsets = relevance.offsets[rows.start : rows.stop + 1] - start
        relevant, own = relevance.relevant[start:stop], relevance.own[rows]
        row = np.repeat(np.arange(len(q)), np.diff(offsets))
        score = pair_scores(q[row], _read(candidates, relevance.candidates[relevant], "candidates"))
        above = np.zeros(len(relevant), np.int64)
        for _, c in _candidate_blocks(candidates, relevance.candidates):
            above += _count(q, c, row, offsets, score)
        own_score = np.full(len(q), -np.inf, np.float32)
        has_own = own >= 0
        if has_own.any():
            mine = _read(candidates, relevance.candidates[own[has_own]], "candidates")
            own_score[has_own] = pair_scores(q[has_own], mine)
        above -= own_score[row] >= score
        out[start:stop] = 1 + above - _among(row, score, offsets)
    return out


def _count(q: np.ndarray, c: np.ndarray, row: np.ndarray, offsets: np.ndarray, score: np.ndarray) -> np.ndarray:
    """How many of the candidates c score at least ``score`` for query ``row``, one count per relevant."""
    tile = q @ c.T
    bound = _bound(_norms(q), c)
    above = np.zeros(len(row), np.int64)
    counts = np.diff(offsets)
    for slot in range(int(counts.max())):
        has = np.flatnonzero(counts > slot)
        which = offsets[has] + slot
        part = tile if len(has) == len(tile) else tile[has]
        threshold = score[which].astype(np.float64)
        certain = part >= (threshold + bound[has])[:, None]
        above[which] = certain.sum(axis=1)
        i, j = np.nonzero((part >= (threshold - bound[has])[:, None]) & ~certain)
        if len(i):
            again = pair_scores(q[has[i]], c[j]) >= score[which[i]]
            above[which] += np.bincount(i[again], minlength=len(has))
    return above


def _among(row: np.ndarray, score: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """For each relevant: how many relevants of its query score at least as high, less those before it."""
    order = np.lexsort((np.arange(len(row)), -score, row))
    before = np.empty(len(row), np.int64)
    before[order] = np.arange(len(row)) - offsets[row]
    last = np.append((np.diff(row[order]) != 0) | (np.diff(score[order]) != 0), True)
    end = np.flatnonzero(last)
    at_least = np.empty(len(row), np.int64)
    at_least[order] = end[np.searchsorted(end, np.arange(len(row)))] + 1 - offsets[row]
    return at_least - before


def _merge(positions: np.ndarray, scores: np.ndarray, i: np.ndarray, position: np.ndarray, score: np.ndarray) -> None:
    """Put found (query, position, score) triples into the best k of each query, in place."""
    b, k = positions.shape
    row = np.concatenate([np.repeat(np.arange(b), k), i])
    position = np.concatenate([positions.ravel(), position])
    score = np.concatenate([scores.ravel(), score])
    order = np.lexsort((position, -score, row))
    starts = np.searchsorted(row[order], np.arange(b))
    best = order[starts[:, None] + np.arange(k)]
    positions[:], scores[:] = position[best], score[best]


def _bound(length: np.ndarray, c: np.ndarray) -> np.ndarray:
    """How far a float32 product can lie from the score, (q,): γ_d ‖q‖ max‖c‖ (Higham 2002, 3.5)."""
    d = c.shape[1]
    longest = float(_norms(c).max(initial=0.0))
    return (2 * (d + 4) * _UNIT) * length * longest + 1e-37


def _norms(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64))


def _candidate_blocks(candidates: Rows, rows: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    n = len(candidates) if rows is None else len(rows)
    for part in blocks(n, _CANDIDATES):
        at = np.arange(part.start, part.stop) if rows is None else rows[part]
        whole = len(at) and at[-1] - at[0] + 1 == len(at)
        yield at, _read(candidates, slice(int(at[0]), int(at[-1]) + 1) if whole else at, "candidates")


def _read(table: Rows, rows: slice | np.ndarray, what: str) -> np.ndarray:
    """Rows as float32, refused when not finite."""
    x = np.ascontiguousarray(table[rows], np.float32)
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        at = rows.start + i if isinstance(rows, slice) else int(rows[i])
        raise BadData(f"{what}: row {at} holds NaN or infinity; scores would be meaningless, so mend or drop that row")
    return x


def _same_width(queries: Rows, candidates: Rows) -> None:
    if len(queries) and len(candidates) and queries.shape[1] != candidates.shape[1]:
        raise BadData(
            f"queries are {queries.shape[1]} wide and candidates {candidates.shape[1]}; both heads must agree"
        )
