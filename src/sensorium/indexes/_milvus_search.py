"""One search of a Milvus collection: as many candidates as it takes, ordered by exact score and then by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.indexes._milvus_database import MOST, Database
from sensorium.indexes._milvus_filters import among, key_of
from sensorium.table import Table
from sensorium.types import blocks

_FEW = 4096  # keys that an expression lists at most
_ANSWER_BYTES = 32 << 20  # vectors in one answer
_WIDER = 4  # times as many candidates, where those found do not suffice
_EXACT = 8192  # vectors fetched at a time where all are compared


class Search:
    """Queries to a collection under one filter.

    how: see :func:`sensorium.indexes._milvus_collection.search_parameters`. expressions: conditions that the database
    evaluates.
    """

    def __init__(
        self, database: Database, name: str, table: Table, how: Callable[..., Any], expressions: Sequence[str]
    ) -> None:
        self.database, self.name, self.table, self.how = database, name, table, how
        self.expressions = list(expressions)
        self._where: Mapping[str, Any] = {}
        self._out: Sequence[int] = ()
        self._mask: np.ndarray | None = None  # of the rows that pass, where the database does not know them all
        self._share = 1.0

    def leave_out(self, rest: Mapping[str, Any], where: Mapping[str, Any], out: Sequence[int]) -> None:
        """Take conditions that have no expression, and rows that are not to be found. where: all conditions."""
        self._where, self._out = where, out
        few = len(out) <= _FEW
        if len(out) and few:
            self.expressions.append(f"not ({among(key_of(self.table.ids[list(out)].tolist()))})")
        if not rest and few:
            return
        passing = self._passing()
        if np.count_nonzero(passing) <= _FEW:
            self.expressions.append(among(key_of(self.table.ids[passing].tolist())))
        else:
            self._mask, self._share = passing, np.count_nonzero(passing) / len(passing)

    def best(self, queries: np.ndarray, k: int, wide: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best rows (q, k) of each query and their scores; -1 and -inf where fewer are left."""
        n, rows = len(self.table), np.full((len(queries), k), -1, np.int64)
        best = np.full((len(queries), k), -np.inf, np.float32)
        limit = int(min(max(wide, k) / self._share, n, MOST))
        pending, factor = np.arange(len(queries)), 1
        while len(pending) and limit >= min(k, n):
            again = []
            size = max(1, _ANSWER_BYTES // (4 * queries.shape[1] * limit))
            for part in blocks(len(pending), size):
                some = pending[part]
                answers = self._ask(queries[some], limit, factor)
                for i, (found, vectors, raw) in zip(some.tolist(), answers, strict=True):
                    self._order(queries[i], found, vectors, rows[i], best[i])
                    whole = len(raw) < limit or limit >= n
                    if not whole and not _is_certain(best[i], raw):
                        again.append(i)
            pending = np.array(again, np.int64)
            if limit >= min(MOST, n):
                break
            limit, factor = min(limit * _WIDER, n, MOST), factor * _WIDER
        short = np.flatnonzero((rows < 0).any(axis=1))
        if len(short):
            there = min(k, int(np.count_nonzero(self._passing())))
            short = short[(rows[short] >= 0).sum(axis=1) < there]
        uncertain = np.union1d(short, pending).astype(np.int64)
        if len(uncertain):
            rows[uncertain], best[uncertain] = self._exactly(queries[uncertain], k)
        return rows, best

    def _ask(self, queries: np.ndarray, limit: int, factor: int) -> Any:
        where = " and ".join(f"({one})" for one in self.expressions)
        return self.database.search(self.name, queries, limit, where, self.how(limit, factor))

    def _order(
        self, query: np.ndarray, ids: list[str], vectors: np.ndarray, rows: np.ndarray, best: np.ndarray
    ) -> None:
        """Put the best of what was found into ``rows`` (k,) and ``best`` (k,)."""
        found = self.table.rows.rows(ids)  # -1: added by another process that this table does not know of yet
        keep = found >= 0
        if self._mask is not None:
            keep &= self._mask[found]
        found, vectors = found[keep], vectors[keep]
        exact = scores.pair_scores(np.broadcast_to(query, vectors.shape), vectors)
        order = np.lexsort((found, -exact))[: len(rows)]
        rows[:], best[:] = -1, -np.inf
        rows[: len(order)], best[: len(order)] = found[order], exact[order]

    def _passing(self) -> np.ndarray:
        """Mask (n,) of the rows that may be found."""
        passing = self.table.where(self._where)
        passing[list(self._out)] = False
        return passing

    def _exactly(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best rows (q, k) and scores, by comparing with every item that passes."""
        rows, best = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        every = np.flatnonzero(self._passing())
        for part in blocks(len(every), _EXACT):
            some = every[part]
            vectors, there = self.database.vectors(self.name, key_of(self.table.ids[some].tolist()), queries.shape[1])
            some, vectors = some[there], vectors[there]
            if not len(some):
                continue
            at, score = scores.topk(queries, vectors, min(k, len(some)))
            both, value = np.concatenate([rows, some[at]], axis=1), np.concatenate([best, score], axis=1)
            order = np.lexsort((both, -value), axis=1)[:, :k]
            rows, best = np.take_along_axis(both, order, 1), np.take_along_axis(value, order, 1)
        return rows, best


def _is_certain(best: np.ndarray, raw: np.ndarray) -> bool:
    """Whether the k-th score (k,) is above what the database's last candidate, of its own rounding, may have."""
    return bool(best[-1] > raw.min() + 1e-5 * max(1.0, abs(float(raw.min()))))
