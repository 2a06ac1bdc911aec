"""The exact order of candidates, for many queries together: one gather of vectors, one product, few exact scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sensorium import scores
from sensorium.scores.similarity import error32, lengths
from sensorium.types import blocks

_NUMBERS = 1 << 18  # of gathered vectors at a time: 1 MB, which caches hold


def best(
    queries: np.ndarray, candidates: np.ndarray, k: int, at: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The best k of each query's candidates, by exact score and then by position.

    queries: (q, d) float32. candidates: positions (q, c), -1 for none; one may occur twice in a row. at: vectors (m, d)
    of positions (m,). Returns positions (q, k), -1 for none, and their scores (q, k), those of ``scores.pair_scores``.

    The float32 product decides which candidates can be among the best k, with the bound of its error; those alone are
    scored exactly.
    """
    (q, c), d = candidates.shape, queries.shape[1]
    positions = np.full((q, k), -1, np.int64)
    score = np.full((q, k), -np.inf, np.float32)
    for part in blocks(q, max(1, _NUMBERS // max(1, c * d))) if q and c else ():
        some = np.sort(candidates[part], axis=1)
        some[:, 1:][some[:, 1:] == some[:, :-1]] = -1  # the second of two equal ones
        order = np.argsort(some, axis=None)  # in the order of the file
        vectors = np.empty((some.size, d), np.float32)
        vectors[order] = at(np.maximum(some.ravel()[order], 0))
        near = np.matmul(vectors.reshape(*some.shape, d), queries[part, :, None])[:, :, 0]
        near[some < 0] = -np.inf
        least = np.partition(near, c - k, axis=1)[:, c - k] if k < c else np.full(len(some), -np.inf)
        error = error32(lengths(queries[part]), float(lengths(vectors).max()), d)
        i, j = np.nonzero((some >= 0) & (near >= (least - 2 * error)[:, None]))
        exact = scores.pair_scores(queries[part][i], vectors[i * c + j])
        found = some[i, j]
        order = np.lexsort((found, -exact, i))
        first = np.searchsorted(i, np.arange(len(some)))  # i is ascending
        place = np.arange(len(i)) - first[i]
        kept = place < k
        row, place, order = i[kept] + part.start, place[kept], order[kept]
        positions[row, place], score[row, place] = found[order], exact[order]
    return positions, score
