"""Exact search by inner product: the oracle, and faster than a flat FAISS index.

An int8 copy of the vectors is scanned (a quarter of the bytes, four times the products a
second); a rigorous bound on the quantization error selects the candidates that might belong to
the k best, and only those are scored by the definition, so the hits are the exact ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.contracts import Index
from sensorium.indexes._rows import TOO_MANY_REMOVED, Rows
from sensorium.numerics import memory_limits, threads
from sensorium.scores import cpu_features, exact_topk, int8
from sensorium.scores.similarity import lengths
from sensorium.scores.source import Source
from sensorium.table import Table
from sensorium.types import Hits, blocks

_WORTH_CODES = 4_000_000  # numbers in the vectors from which an int8 copy pays
_TILE = 1 << 20  # integer scores computed at a time: more would leave the cache
_CODES, _SHARE = 64 << 20, 0.5  # bytes of codes that are kept in any case; share of the free memory for more
_SPARSE = 0.05  # share of rows a filter must leave for the whole to be scanned


class Exact(Index):
    """Stores float32 vectors (n, d) and finds the exact k nearest: equal scores in order of row.

    ``fingerprint`` identifies the encoder of the vectors; it is saved and loaded along.
    """

    def __init__(self) -> None:
        self._rows, self.fingerprint = Rows(), {}
        self._segments: list[int8.Segment] = []
        self._space: Any = None
        self._centred_on = 0  # vectors there were when the space was chosen

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def table(self) -> Table:
        """Ids and columns of the rows, in the order of :meth:`vectors`."""
        return self._rows.table

    def vectors(self, rows: Any = slice(None)) -> np.ndarray:
        """Vectors of the given rows of :attr:`table`."""
        return self._rows.vectors(rows)

    def add(self, ids: Sequence[Any], vectors: np.ndarray, columns: Mapping[str, Any] | None = None) -> None:
        """Append items; all, or none when BadData is raised (NaN, another width, an id already here)."""
        self._rows.add(ids, vectors, columns or {})

    def remove(self, ids: Sequence[Any]) -> int:
        """Remove items; returns how many there were. Durable at the next :meth:`save`.

        Their vectors are skipped while searching, and dropped when they are more than a quarter.
        """
        gone = self._rows.remove(ids)
        self._compact(TOO_MANY_REMOVED)
        return gone

    def search(
        self,
        queries: np.ndarray,
        k: int,
        where: Mapping[str, Any] | None = None,
        exclude: Sequence[Any] | None = None,
    ) -> Hits:
        """The k nearest of each query (q, d), best first; see ``Table.where`` for ``where``.

        exclude: ids that are never returned. Where fewer than k remain the row is -1 and the
        score -inf. Raises BadData for NaN or another width, BadRecipe for an unknown column.
        """
        queries = self._rows.check(queries, k)
        mask = self._rows.allowed(where, exclude)
        vectors = self._rows.all_vectors
        use = cpu_features.measure() if vectors.size >= _WORTH_CODES else cpu_features.NUMPY_ONLY
        whole = mask is None or np.count_nonzero(mask) >= _SPARSE * len(mask)
        if not (use.int8 and whole and len(queries) and self._codes_fit()):
            table = vectors if vectors.size else np.zeros((0, queries.shape[1]), np.float32)
            return self._rows.hits(*scores.topk(queries, table, k, mask=mask, lengths=self._rows.lengths))
        source = Source(vectors, known=self._rows.lengths)
        self._encode(source, use.torch)
        positions = np.empty((len(queries), k), np.int64)
        best = np.empty((len(queries), k), np.float32)

        def answer(rows: slice) -> None:
            q = queries[rows]
            quantized = int8.QuantizedQueries(q, lengths(q), self._space, use.torch)
            found = exact_topk.scan(quantized, q, self._parts(len(q), use), source, k, mask=mask)
            positions[rows], best[rows] = found

        threads.each(answer, blocks(len(queries), exact_topk.share(len(queries), use.torch)), use.torch)
        return self._rows.hits(positions, best)

    def report(self, vectors: np.ndarray) -> dict[str, Any]:
        """What is known of the index: its recall is 1 by construction."""
        return {"recall@10": 1.0}

    def save(self, folder: Path) -> None:
        """Write into a folder (call it inside ``io.publish``)."""
        self._compact()
        self._rows.save(Path(folder), "exact", {}, self.fingerprint)

    @classmethod
    def load(cls, folder: Path) -> Exact:
        """Read what :meth:`save` wrote; Corrupt when damaged."""
        index = cls()
        index._rows, head = Rows.load(folder, "exact")
        index.fingerprint = head["fingerprint"]
        return index

    def _compact(self, share: float = 0.0) -> None:
        if self._rows.compact(share):
            self._segments.clear()
            self._centred_on = 0

    def _codes_fit(self) -> bool:
        """Whether there is memory for codes of all vectors, packed too; without them each search codes blocks anew."""
        size = self._rows.all_vectors.size
        most = 3 * size  # codes, packed codes, and their padded copy meanwhile
        if most <= _CODES or sum(segment.size for segment in self._segments) == len(self._rows.all_vectors):
            return True
        return most <= _SHARE * memory_limits.available()

    def _encode(self, source: Source, torch: Any) -> None:
        """Code the rows added since the last search; small segments at the end are merged as they grow."""
        vectors = self._rows.all_vectors
        start = sum(segment.size for segment in self._segments)
        if start == len(vectors):
            return
        if len(vectors) > 4 * self._centred_on:  # the centre of a few may be far from that of all
            self._space, self._centred_on = int8.space_of(source), len(vectors)
            self._segments.clear()
            start = 0
        while self._segments and len(vectors) - start >= self._segments[-1].size < int8.SEGMENT:
            start -= self._segments.pop().size
        for part in blocks(len(vectors) - start, int8.SEGMENT):
            rows = vectors[start + part.start : start + part.stop]
            self._segments.append(int8.Segment(rows, self._space, torch))

    def _parts(self, b: int, use: cpu_features.Machine) -> Iterator[exact_topk.Part]:
        """The coded vectors in order, in pieces that suit b queries."""
        few = use.packed and b <= int8.FEW and self._rows.all_vectors.shape[1] <= cpu_features.WIDEST
        start = 0
        for segment in self._segments:
            pieces = [(slice(0, segment.size), segment.whole(use.torch))] if few else segment.parts(_TILE // b)
            for part, block in pieces:
                at = slice(start + part.start, start + part.stop)
                yield at, self._rows.all_vectors[at], block
            start += segment.size
