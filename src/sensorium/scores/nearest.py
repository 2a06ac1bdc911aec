"""Exact top-k: a floor under the k-th best rises block by block, and only what may reach it is scored."""

from __future__ import annotations

import numpy as np

from sensorium.scores.definition import error32, scores_at
from sensorium.scores.source import Source, same_width
from sensorium.types import Rows, blocks

_ROWS, _COLUMNS = 1024, 4096


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
    Raises BadData on NaN, infinite or overlong vectors and on different widths.
    """
    same_width(queries, candidates)
    positions = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    allowed = None if mask is None else np.flatnonzero(mask)
    source = Source(candidates, allowed)
    asking = Source(queries, None, "queries")
    spare = 0 if own is None else 1
    for rows in blocks(len(queries) if k else 0, _ROWS):
        q, length = asking.read(rows)
        best_position, best_score = positions[rows], scores[rows]
        for part, c, c_length in source.blocks(_COLUMNS):
            at = np.arange(part.start, part.stop) if allowed is None else allowed[part]
            tile = q @ c.T
            error = error32(length, float(c_length.max()), source.width)
            floor = best_score[:, -1].astype(np.float64)
            if len(at) >= k + spare:  # the k-th best of this block alone is a floor too
                kth = np.partition(tile, len(at) - k - spare, axis=1)[:, len(at) - k - spare]
                floor = np.maximum(floor, kth - error)
            i, j = np.nonzero(tile >= (floor - error)[:, None])
            if own is not None:
                keep = at[j] != own[rows][i]
                i, j = i[keep], j[keep]
            merge(best_position, best_score, i, at[j], scores_at(q, c, i, j))
    return positions, scores


def merge(positions: np.ndarray, scores: np.ndarray, i: np.ndarray, position: np.ndarray, score: np.ndarray) -> None:
    """Put (query, position, score) triples into the best k of each query, (b, k), in place."""
    b, k = positions.shape
    row = np.concatenate([np.repeat(np.arange(b), k), i])
    position = np.concatenate([positions.ravel(), position])
    score = np.concatenate([scores.ravel(), score])
    order = np.lexsort((position, -score, row))
    starts = np.searchsorted(row[order], np.arange(b))
    best = order[starts[:, None] + np.arange(k)]
    positions[:], scores[:] = position[best], score[best]
