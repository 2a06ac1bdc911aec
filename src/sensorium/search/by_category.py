"""The items of each category side by side: the best of one category without a look at all others."""

from __future__ import annotations

from typing import Any

import numpy as np

MOST = 1 << 30  # bytes of vectors that are kept beside the index


class ByCategory:
    """Rows and vectors of the categories that were asked for, kept until the index changes."""

    def __init__(self, column: str) -> None:
        self.column, self._table, self._bytes = column, None, 0
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def top(self, index: Any, category: str, queries: np.ndarray, depth: int) -> list[np.ndarray] | None:
        """Rows of the ``depth`` items of a category with the highest inner product for each query (q, d), any order.

        None where the category is too large to be kept beside the index.
        """
        table = index.table
        if self._table is not table:
            self._table, self._known, self._bytes = table, {}, 0
        if category not in self._known:
            rows = np.flatnonzero(table.where({self.column: category}))
            if self._bytes + 4 * len(rows) * queries.shape[1] > MOST:
                return None
            vectors = np.ascontiguousarray(index.vectors(rows), np.float32)
            self._known[category] = rows, vectors
            self._bytes += vectors.nbytes
        rows, vectors = self._known[category]
        if len(rows) <= depth:
            return [rows] * len(queries)
        scores = np.asarray(queries, np.float32) @ vectors.T
        return list(rows[np.argpartition(-scores, depth - 1, axis=1)[:, :depth]])
