"""FAISS on disk: IVF-PQ codes and the vectors lie in memory-mapped files, built in bounded memory (one big machine)."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io, scores
from sensorium.contracts import Index
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.indexes import _disk_build as build
from sensorium.indexes import _reranking as reranking
from sensorium.indexes._rows import REMEDY, TOO_MANY_REMOVED, checked, checked_queries, read_head, write_head
from sensorium.numerics.halves import as_float32
from sensorium.table import Table
from sensorium.types import Hits, as_ids, blocks

_ITEMS, _POSITIONS, _TAIL = "items.parquet", "positions.npy", "tail.npy"
_BASE = (build.VECTORS, build.INDEX, build.DATA)
_BLOCK = 65_536  # vectors read at a time
_PRECISIONS = {"float32": np.float32, "float16": np.float16}


class FaissDisk(Index):
    """Approximate search of vectors that need not fit into memory: only ids and metadata do.

    Inverted lists of product-quantized codes select candidates, which are ordered by their exact scores from the
    vectors on the disk. What is added later is searched exactly in memory until it is more than a quarter.
    cells: of the inverted file, 0 to 1,048,576; 0 chooses about 4 √n.
    code: bytes of a vector's code, 0 to 256; 0 chooses one for eight numbers, or up to 32 for four.
    nprobe: cells visited, 1 to 65,536. rescore: look at ``rescore`` × k candidates, 1 to 1,024.
    precision: float32, or float16, which halves the file; scores are then those of the rounded vectors.
    """

    def __init__(
        self, cells: int = 0, code: int = 0, nprobe: int = 16, rescore: int = 20, precision: str = "float32"
    ) -> None:
        limits = (("cells", cells, 0, 2**20), ("code", code, 0, 256), ("nprobe", nprobe, 1, 2**16),
                  ("rescore", rescore, 1, 2**10))  # fmt: skip
        for name, value, least, most in limits:
            if not least <= value <= most:
                raise BadRecipe(f"faiss_disk: {name}={value}; expected {least} to {most}")
        if precision not in _PRECISIONS:
            raise BadRecipe(f"faiss_disk: precision='{precision}'; expected float32 or float16")
        self.cells, self.code, self.nprobe, self.rescore, self.precision = cells, code, nprobe, rescore, precision
        self.table, self.fingerprint = Table(np.zeros(0, "<U1"), {}), {}
        self._position = np.zeros(0, np.int64)  # of each row: in the file of vectors, then in the tail
        self._tail = np.zeros((0, 0), np.float32)
        self._base: np.ndarray | None = None  # the file of vectors (n, d), memory-mapped
        self._index: Any = None  # of the base
        self._folder: Path | None = None  # of the base's files
        self._sum = ""  # checksum of the base's vectors, where they were loaded

    def __len__(self) -> int:
        return len(self.table)

    @property
    def arguments(self) -> dict[str, Any]:
        """The part's own arguments, as saved."""
        return {name: getattr(self, name) for name in ("cells", "code", "nprobe", "rescore", "precision")}

    @property
    def _n(self) -> int:
        return 0 if self._base is None else len(self._base)

    @property
    def _dim(self) -> int | None:
        return int(self._base.shape[1]) if self._base is not None else None

    def vectors(self, rows: Any = slice(None)) -> np.ndarray:
        """Vectors of the given rows of :attr:`table`, in memory."""
        return self._at(self._position[rows])

    def _at(self, positions: np.ndarray) -> np.ndarray:
        """Vectors (m, d) by position."""
        old = positions < self._n
        if self._base is not None and old.all():
            return self._of_base(positions)
        found = np.empty((len(positions), self._dim or 0), np.float32)
        if self._base is not None:
            found[old] = self._of_base(positions[old])
        if len(self._tail):
            found[~old] = self._tail[positions[~old] - self._n]
        return found

    def _of_base(self, positions: np.ndarray) -> np.ndarray:
        """Vectors (m, d) of the file."""
        assert self._base is not None
        found = self._base[positions]
        return as_float32(found) if self._kind is np.float16 else np.asarray(found)

    def add(self, ids: Sequence[Any], vectors: np.ndarray, columns: Mapping[str, Any] | None = None) -> None:
        """Append items; all, or none when BadData is raised (NaN, another width, an id already here).

        The first ones go to a file at once, block by block: vectors may be a memory map of any size.
        """
        first = self._base is None
        columns = columns or {}
        n = len(vectors)
        parts = blocks(n, _BLOCK) if n else [slice(0, 0)]
        ids = as_ids(ids)
        for part in parts:  # before anything changes
            some = {name: column[part] if len(column) == n else column for name, column in columns.items()}
            wanted = ids[part] if len(ids) == n else ids
            checked(wanted, vectors[part], some, self._dim)
            self._check_range(wanted, vectors[part])
        table = self.table.append(ids, columns)
        if first and n:
            self._folder = _temporary(self)
            self._base = build.write(self._folder, vectors, self._kind)
        elif n:
            more = np.asarray(vectors, np.float32).astype(self._kind).astype(np.float32)
            self._tail = np.concatenate([self._tail.reshape(-1, more.shape[1]), more])
        total = self._n + len(self._tail)
        self.table, self._position = table, np.append(self._position, np.arange(total - n, total))
        if len(self._tail) > TOO_MANY_REMOVED * total:
            self._rebuild()

    def _check_range(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Raise BadData for a number that the file's precision cannot hold."""
        most = float(np.finfo(self._kind).max)
        if self._kind is np.float16 and vectors.dtype != np.float16 and len(vectors):
            largest = np.abs(vectors).max(axis=1)
            if (largest > most).any():
                bad = ids[np.argmax(largest > most)]
                raise BadData(
                    f"index: vector of id '{bad}' holds a number above {most:,.0f}, the largest of float16; "
                    "type: index.precision=float32"
                )

    def remove(self, ids: Sequence[Any]) -> int:
        """Remove items; returns how many there were. Durable at the next :meth:`save`.

        They are skipped while searching, and dropped by building anew when they are more than a quarter.
        """
        rows = self.table.rows.rows(as_ids(ids).tolist())
        keep = np.ones(len(self.table), bool)
        keep[rows[rows >= 0]] = False
        gone = len(keep) - int(np.count_nonzero(keep))
        if gone:
            self.table, self._position = self.table.take(keep), self._position[keep]
            if self._n + len(self._tail) - len(self) > TOO_MANY_REMOVED * (self._n + len(self._tail)):
                self._rebuild()
        return gone

    def search(
        self,
        queries: np.ndarray,
        k: int,
        where: Mapping[str, Any] | None = None,
        exclude: Sequence[Any] | None = None,
    ) -> Hits:
        """The k nearest that the index finds of each query (q, d), best first, with exact scores.

        where: see ``Table.where``; exclude: ids never returned; both are applied while searching. A query for which
        fewer hits are found than there are is searched exactly, through the whole file.
        Raises BadData for NaN or another width, BadRecipe for an unknown column.
        """
        queries = np.ascontiguousarray(checked_queries(queries, k, self._dim))
        passing = self._position
        if where or (exclude is not None and len(exclude)):
            mask = self.table.where(where or {})
            rows = self.table.rows.rows(as_ids(() if exclude is None else exclude).tolist())
            mask[rows[rows >= 0]] = False
            passing = passing[mask]
        found, best = self._nearest(queries, k, passing)
        rows = np.full(found.shape, -1, np.int64)
        rows[found >= 0] = np.searchsorted(self._position, found[found >= 0])
        hits = Hits(rows, best)
        hits.table = self.table
        return hits

    def _nearest(self, queries: np.ndarray, k: int, passing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions (q, k), -1 for none, and scores of the best among some ascending positions."""
        positions = np.full((len(queries), k), -1, np.int64)
        best = np.full((len(queries), k), -np.inf, np.float32)
        if not len(passing) or not len(queries):
            return positions, best
        old = int(np.searchsorted(passing, self._n))
        wide = min(self.rescore * k, max(old, 1))
        candidates = self._candidates(queries, wide, passing[:old]) if old else np.zeros((len(queries), 0), np.int64)
        late = passing[old:]
        if len(late):
            at, _ = scores.topk(queries, self._tail[late - self._n], min(k, len(late)))
            candidates = np.concatenate([candidates, late[at]], axis=1)
        positions, best = reranking.best(queries, candidates, k, self._at)
        short = np.flatnonzero((positions >= 0).sum(axis=1) < min(k, len(passing)))
        if len(short):
            positions[short], best[short] = self._exactly(queries[short], k, passing)
        return positions, best

    def _candidates(self, queries: np.ndarray, wide: int, passing: np.ndarray) -> np.ndarray:
        """Positions (q, wide) in the base that the inverted lists give, -1 for none."""
        faiss, index = build.library(), self._built()
        share, more = len(passing) / self._n, {}
        if len(passing) < self._n:
            bits = np.zeros(self._n, bool)
            bits[passing] = True
            packed = np.packbits(bits, bitorder="little")
            more = {"sel": faiss.IDSelectorBitmap(packed)}
        nprobe = min(int(np.ceil(self.nprobe / max(share, 1e-3))), index.nlist)
        return index.search(queries, wide, params=build.parameters(index, nprobe, **more))[1]

    def _exactly(self, queries: np.ndarray, k: int, passing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        positions = np.full((len(queries), k), -1, np.int64)
        best = np.full((len(queries), k), -np.inf, np.float32)
        for part in blocks(len(passing), _BLOCK):
            some = passing[part]
            at, score = scores.topk(queries, self._at(some), min(k, len(some)))
            both, value = np.concatenate([positions, some[at]], axis=1), np.concatenate([best, score], axis=1)
            order = np.lexsort((both, -value), axis=1)[:, :k]
            positions, best = np.take_along_axis(both, order, 1), np.take_along_axis(value, order, 1)
        return positions, best

    def report(self, vectors: np.ndarray) -> dict[str, Any]:
        """Measured when built: recall@10 against exact search, with 100 of ``vectors`` as queries."""
        about = {"cells": int(self._built().nlist) if self._n else 0}
        some = np.unique(np.linspace(0, max(len(vectors) - 1, 0), min(100, len(vectors))).astype(np.int64))
        k = min(10, len(self))
        if not k or not len(some):
            return about
        asked = np.ascontiguousarray(vectors[some], np.float32)
        truth = self._exactly(asked, k, self._position)[0]
        found = self._nearest(asked, k, self._position)[0]
        return about | {"recall@10": float(np.mean((truth[:, :, None] == found[:, None, :]).any(axis=2)))}

    def save(self, folder: Path) -> None:
        """Write into a folder (call it inside ``io.publish``). Files that did not change are linked, not copied."""
        folder = Path(folder)
        if self._n:
            self._built()
            for name in _BASE:
                _link(self._home / name, folder / name)
        self.table.save(folder / _ITEMS)
        for name, array in ((_POSITIONS, self._position), (_TAIL, self._tail)):
            io.write(folder / name, lambda file, array=array: np.save(file, array, allow_pickle=False))
        write_head(folder, "faiss_disk", self.arguments, self.fingerprint, len(self), self._dim or 0, base=self._n)

    @classmethod
    def load(cls, folder: Path) -> FaissDisk:
        """Open what :meth:`save` wrote, vectors and codes as memory maps; Corrupt when damaged.

        Of the vectors' own file, which may have any size, only the size is checked here; :meth:`verify` reads it.
        """
        folder = Path(folder)
        head = read_head(folder, "faiss_disk")
        index = cls(**head["arguments"])
        small = (_ITEMS, _POSITIONS, _TAIL, *((build.INDEX, build.DATA) if head["base"] else ()))
        for name in small:
            io.verify(folder / name, head["xxh3"].get(name, ""), REMEDY)
        index.table, index.fingerprint = Table.load(folder / _ITEMS), head["fingerprint"]
        index._position = np.load(folder / _POSITIONS, allow_pickle=False)
        index._tail = np.load(folder / _TAIL, allow_pickle=False)
        if head["base"]:
            index._folder, index._sum = folder, head["xxh3"].get(build.VECTORS, "")
            index._base = build.read(folder, (head["base"], head["dim"]))
            index._built()
        if len(index) != head["count"] or len(index._position) != head["count"]:
            raise Corrupt(f"{folder}: {len(index)} items, {head['count']} expected; {REMEDY}")
        return index

    def verify(self) -> None:
        """Read the whole file of vectors. Raises Corrupt when it is not the one that was saved."""
        if self._sum:
            io.verify(self._home / build.VECTORS, self._sum, REMEDY)

    @property
    def _kind(self) -> Any:
        return _PRECISIONS[self.precision]

    @property
    def _home(self) -> Path:
        assert self._folder is not None
        return self._folder

    def _built(self) -> Any:
        """The index over the base, trained and filled when it is not yet."""
        if self._index is None:
            assert self._base is not None
            if not (self._home / build.INDEX).is_file():
                build.build(self._home, self._base, self.cells, self.code)
            self._index = build.opened(self._home)
        return self._index

    def _rebuild(self) -> None:
        """Write what is there now as a new base."""
        if not len(self):
            self._base = self._index = self._folder = None
            self._tail = np.zeros((0, 0), np.float32)
            self._position = np.zeros(0, np.int64)
            return
        folder = _temporary(self)
        rows = build.Gathered(self._at, self._position, int(self._dim or 0))
        self._base, self._index, self._folder = build.write(folder, rows, self._kind), None, folder
        self._sum = ""
        self._tail, self._position = self._tail[:0], np.arange(len(self))


def _link(source: Path, target: Path) -> None:
    """A second name for a file that is never changed; a copy where the file system has no such thing."""
    with io.typed_errors(target):
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def _temporary(index: FaissDisk) -> Path:
    """A folder for a base that was not saved yet, below TMPDIR; it goes with the index."""
    place = Path(tempfile.mkdtemp(prefix="sensorium-index-"))
    weakref.finalize(index, shutil.rmtree, place, ignore_errors=True)
    return place
