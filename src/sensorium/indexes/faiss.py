"""FAISS search by inner product: flat, HNSW, IVF, PQ, any string of its index factory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io, scores
from sensorium.contracts import Index
from sensorium.errors import BadRecipe, require
from sensorium.indexes._rows import REMEDY, TOO_MANY_REMOVED, Rows, best_of
from sensorium.table import Table
from sensorium.table.where import a_tenth
from sensorium.types import Hits

_TRAIN_PER_CELL = 64  # training vectors a cell: enough for k-means
_MOST = 2**20  # cells, breadth, and times k
_FILE = "faiss.index"
_BREADTHS = {"ef_search": (80, 128, 256, 512), "nprobe": (1, 2, 4, 8, 16, 32, 64)}


class Faiss(Index):
    """Approximate search with FAISS; the raw vectors are stored too, for exact scores, rebuilding and recall.

    factory: an index factory string, such as "Flat", "HNSW32", "IVF256,PQ32" or "IVF64,Flat".
    nprobe: cells visited (IVF). ef_search: breadth of the search (HNSW); both also behind a transform
    ("PCA64,IVF256,Flat") or a refinement ("IVF256,PQ32,RFlat"). rescore: look at
    ``rescore`` × k candidates and order them by their exact scores (1: only order).
    """

    def __init__(self, factory: str = "HNSW32", nprobe: int = 16, ef_search: int = 128, rescore: int = 4) -> None:
        for name, value in (("nprobe", nprobe), ("ef_search", ef_search), ("rescore", rescore)):
            if not 1 <= value <= _MOST:
                raise BadRecipe(f"faiss: {name}={value}; expected 1 or more, up to {_MOST}")
        self.factory, self.nprobe, self.ef_search, self.rescore = factory, nprobe, ef_search, rescore
        self._rows, self.fingerprint = Rows(), {}
        self._index: Any = None  # all vectors by position, built when first needed

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def arguments(self) -> dict[str, Any]:
        """The part's own arguments, as saved."""
        return {name: getattr(self, name) for name in ("factory", "nprobe", "ef_search", "rescore")}

    @property
    def table(self) -> Table:
        """Ids and columns of the rows, in the order of :meth:`vectors`."""
        return self._rows.table

    def vectors(self, rows: Any = slice(None)) -> np.ndarray:
        """Vectors of the given rows of :attr:`table`."""
        return self._rows.vectors(rows)

    def add(self, ids: Sequence[Any], vectors: np.ndarray, columns: Mapping[str, Any] | None = None) -> None:
        """Append items; all, or none when BadData is raised (NaN, another width, an id already here)."""
        before = self._rows.total
        self._rows.add(ids, vectors, columns or {})
        # An index that was trained on fewer vectors than it has grown by is trained again.
        if self._index is not None and self._rows.total < 2 * before:
            self._index.add(self._rows.all_vectors[before:])
        else:
            self._index = None

    def remove(self, ids: Sequence[Any]) -> int:
        """Take items out; returns how many there were. Durable at the next :meth:`save`.

        Removed rows are skipped while searching (HNSW cannot forget), and dropped by building
        anew when they are more than a quarter.
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
        """The k nearest that the index finds of each query (q, d), best first, with exact scores.

        where: see ``Table.where``; exclude: ids never returned; both are applied while
        searching, not after. A query for which FAISS finds fewer hits than there are is searched exactly;
        where fewer than k match the row is -1 and the score -inf.
        Raises BadData for NaN or another width, BadRecipe for an unknown column.
        """
        queries = self._rows.check(queries, k)
        mask = self._rows.allowed(where, exclude)
        if not len(self._rows) or not len(queries):
            none = np.full((len(queries), k), -1, np.int64)
            return self._rows.hits(none, none.astype(np.float32))
        wide = min(self.rescore * k, self._rows.total)
        positions = self._candidates(np.ascontiguousarray(queries), wide, mask)
        if mask is not None:
            positions = np.where((positions >= 0) & mask[positions], positions, -1)
        positions, best = best_of(queries, self._rows.all_vectors, positions, k, wide)
        self._fill(queries, positions, best, mask)
        return self._rows.hits(positions, best)

    def _candidates(self, queries: np.ndarray, wide: int, mask: np.ndarray | None) -> np.ndarray:
        """Positions (q, ·) that FAISS finds; unfiltered, and of all vectors, where the kind takes no filter."""
        index = self._built()
        try:
            return index.search(queries, wide, params=self._parameters(index, wide, mask))[1]
        except RuntimeError:  # such as plain PQ with 4-bit codes, and NSG
            pass
        try:
            return index.search(queries, self._rows.total, params=self._parameters(index, wide, None))[1]
        except RuntimeError:
            return index.search(queries, self._rows.total)[1]

    def _fill(self, queries: np.ndarray, positions: np.ndarray, best: np.ndarray, mask: np.ndarray | None) -> None:
        """Search exactly for the queries that FAISS left with fewer hits than there are, in place."""
        there = self._rows.total if mask is None else int(np.count_nonzero(mask))
        short = np.flatnonzero((positions >= 0).sum(axis=1) < min(positions.shape[1], there))
        if len(short):
            vectors, known = self._rows.all_vectors, self._rows.lengths
            positions[short], best[short] = scores.topk(
                queries[short], vectors, positions.shape[1], mask=mask, lengths=known
            )

    def measure_recall(self, queries: np.ndarray, k: int = 10, where: Mapping[str, Any] | None = None) -> float:
        """Share of the exact k nearest of queries (q, d), among the rows of ``where``, that the index finds."""
        mask = self.table.where(where or {})
        k = min(k, int(np.count_nonzero(mask)))
        if not k or not len(queries):
            return 1.0
        truth, _ = scores.topk(np.asarray(queries, np.float32), self.vectors(), k, mask=mask)
        rows = self.search(queries, k, where).rows
        return float(np.mean((truth[:, :, None] == rows[:, None, :]).any(axis=2)))

    def variants(self) -> dict[str, Faiss]:
        """The same index searching more and less widely, by setting; one where there is no breadth to set."""
        name = _breadth(_inner(self._built()))
        if not name:
            return {self.factory: self}
        found = {}
        for breadth in sorted({*_BREADTHS[name], getattr(self, name)}):
            found[f"{name}={breadth}"] = one = copy(self)
            setattr(one, name, breadth)
        return found

    def report(self, vectors: np.ndarray) -> dict[str, Any]:
        """Measured when built: recall@10 against exact search, with 1,000 of ``vectors`` as queries.

        Measured too among a tenth of the items, as a search with a filter is.
        """
        some = np.unique(np.linspace(0, len(vectors) - 1, min(1000, len(vectors))).astype(np.int64))
        found = {"factory": self.factory, "recall@10": self.measure_recall(vectors[some])}
        return found | {"recall@10 with a filter": self.measure_recall(vectors[some], where=a_tenth(self.table.ids))}

    def save(self, folder: Path) -> None:
        """Write into a folder (call it inside ``io.publish``)."""
        self._compact()
        if len(self._rows):
            content = _library().serialize_index(self._built())
            io.write(Path(folder) / _FILE, content.tobytes())
        self._rows.save(Path(folder), "faiss", self.arguments, self.fingerprint)

    @classmethod
    def load(cls, folder: Path) -> Faiss:
        """Read what :meth:`save` wrote; Corrupt when damaged. A graph of other vectors is built anew."""
        rows, head = Rows.load(folder, "faiss")
        index = cls(**head["arguments"])
        index._rows, index.fingerprint = rows, head["fingerprint"]
        if len(rows):
            io.verify(Path(folder) / _FILE, head["xxh3"].get(_FILE, ""), REMEDY)
            read = _library().read_index(str(Path(folder) / _FILE))
            index._index = read if read.ntotal == len(rows) and read.d == head["dim"] else None
        return index

    def _compact(self, share: float = 0.0) -> None:
        if self._rows.compact(share):
            self._index = None

    def _built(self) -> Any:
        """The FAISS index over all vectors, trained and filled when it is not yet."""
        if self._index is None:
            vectors = np.ascontiguousarray(self._rows.all_vectors)
            n, d = vectors.shape
            try:
                index = _library().index_factory(d, self.factory, _library().METRIC_INNER_PRODUCT)
                cells = _expect_few(index)
                index.train(vectors[:: max(1, n // (_TRAIN_PER_CELL * cells))])
                index.add(vectors)
            except (RuntimeError, ValueError, TypeError, OverflowError, MemoryError) as error:
                raise BadRecipe(
                    f"faiss: factory '{self.factory}' makes no index of {n} vectors of width {d} "
                    f"({_reason(error)}); type for instance: index.factory=HNSW32"
                ) from error
            self._index = index
        return self._index

    def _parameters(self, index: Any, wide: int, mask: np.ndarray | None) -> Any:
        """Parameters of one search, nested as the index is: the filter, and the breadth of the innermost."""
        faiss, index = _library(), _library().downcast_index(index)
        if isinstance(index, faiss.IndexPreTransform):
            return faiss.SearchParametersPreTransform(index_params=self._parameters(index.index, wide, mask))
        if isinstance(index, faiss.IndexRefine):
            inner = self._parameters(index.base_index, wide, mask)
            return faiss.IndexRefineSearchParameters(k_factor=float(index.k_factor), base_index_params=inner)
        # A filter leaves fewer rows in every cell and neighbourhood, so the search is widened as much.
        share = 1.0 if mask is None else max(np.count_nonzero(mask) / len(mask), 1e-3)
        selected = {} if mask is None else {"sel": faiss.IDSelectorBatch(np.flatnonzero(mask))}
        if isinstance(index, faiss.IndexHNSW):
            breadth = int(max(self.ef_search, 2 * wide) / share)
            return faiss.SearchParametersHNSW(efSearch=min(breadth, index.ntotal), **selected)
        if isinstance(index, faiss.IndexIVF):
            return faiss.SearchParametersIVF(nprobe=min(int(self.nprobe / share), index.nlist), **selected)
        return faiss.SearchParameters(**selected) if selected else None


def _inner(index: Any) -> Any:
    """The index behind transforms and refinements, which nprobe and ef_search are settings of."""
    faiss, index = _library(), _library().downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return _inner(index.index)
    return _inner(index.base_index) if isinstance(index, faiss.IndexRefine) else index


def _breadth(index: Any) -> str:
    """The search parameter of an innermost index, ef_search or nprobe; "" when it has none."""
    faiss = _library()
    return "ef_search" if isinstance(index, faiss.IndexHNSW) else "nprobe" if isinstance(index, faiss.IndexIVF) else ""


def _expect_few(index: Any) -> int:
    """Accept few training vectors without FAISS's warnings; returns the number of cells that it will learn.

    Raises ValueError for a factory without cells, such as IVF0.
    """
    faiss, inner = _library(), _inner(index)
    cells = inner.nlist if isinstance(inner, faiss.IndexIVF) else 256
    if cells < 1:
        raise ValueError("an IVF index needs one cell or more")
    quantizer = faiss.downcast_index(inner.quantizer) if isinstance(inner, faiss.IndexIVF) else inner
    for part in (
        inner,
        quantizer,
        faiss.downcast_index(inner.storage) if isinstance(inner, faiss.IndexHNSW) else inner,
    ):
        if isinstance(part, faiss.IndexIVF):
            part.cp.min_points_per_centroid = 1
        if isinstance(part, (faiss.IndexPQ, faiss.IndexPQFastScan, faiss.IndexIVFPQ, faiss.IndexIVFPQFastScan)):
            part.pq.cp.min_points_per_centroid = 1
    index = faiss.downcast_index(index)
    while isinstance(index, faiss.IndexRefine):
        index = faiss.downcast_index(index.base_index)
    if isinstance(index, faiss.IndexPreTransform):
        for i in range(index.chain.size()):
            _expect_few_of_opq(faiss.downcast_VectorTransform(index.chain.at(i)))
    return max(cells, 256)


def _expect_few_of_opq(transform: Any) -> None:
    """Give an OPQ rotation a quantizer to train with that takes few vectors."""
    faiss = _library()
    if isinstance(transform, faiss.OPQMatrix):
        quantizer = faiss.ProductQuantizer(transform.d_out, transform.M, 8)
        quantizer.cp.min_points_per_centroid = 1
        quantizer.this.disown()  # the transform keeps a pointer to it
        transform.pq = quantizer


def _reason(error: Exception) -> str:
    """FAISS's error message, without the names of its own functions and source files."""
    return re.split(r"\.(?:cpp|h):\d+: ", str(error))[-1].removeprefix("Error: ").strip()


def _library() -> Any:
    return require("faiss", "train")
