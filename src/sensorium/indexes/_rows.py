"""The rows of an index: ids, metadata columns and vectors, added, removed, filtered and saved.

On disk: ``vectors.npy`` (float32), ``items.parquet`` (ids and columns) and ``index.json`` (format,
kind, arguments, fingerprint, counts and the checksum of every other file).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import fingerprint as fingerprint_
from sensorium import io, scores
from sensorium.errors import BadData, Corrupt
from sensorium.scores.similarity import LONGEST, lengths
from sensorium.table import Table, as_column
from sensorium.types import Hits, as_ids, blocks

FORMAT = 1
TOO_MANY_REMOVED = 0.25  # share of the vectors from which removed ones are dropped
REMEDY = "build the index again: sensorium index RUN"


class Rows:
    """Vectors (total, d) by *position*, and a table of the n ≤ total rows that are not removed.

    A removed row keeps its position until :meth:`compact`, so that what was built of the vectors stays
    valid. position (n,): of each row of ``table``, ascending. lengths (total,): Euclidean, of each vector.
    """

    def __init__(self) -> None:
        self.table = Table(np.zeros(0, "<U1"), {})
        self.position = np.zeros(0, np.int64)
        self.total = 0
        self.lengths = np.zeros(0)
        self._buffer = np.zeros((0, 0), np.float32)  # vectors, with spare rows at the end
        self._compacting = threading.Lock()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def all_vectors(self) -> np.ndarray:
        """All vectors (total, d) by position, removed ones included."""
        return self._buffer[: self.total]

    @property
    def dim(self) -> int:
        """Width of the vectors; 0 before the first."""
        return int(self._buffer.shape[1])

    def vectors(self, rows: Any = slice(None)) -> np.ndarray:
        """Vectors of the given rows of ``table``."""
        return self.all_vectors[rows if self.total == len(self.table) else self.position[rows]]

    def add(self, ids: Sequence[Any] | np.ndarray, vectors: np.ndarray, columns: Mapping[str, Any]) -> None:
        """Append rows; all or, when anything is wrong, none. Raises BadData.

        The first vectors are copied unless they are read-only: such arrays are taken as they are, mapped ones too.
        """
        ids, vectors, columns, length = checked(ids, vectors, columns, self.dim if self.total else None)
        self.table = self.table.append(ids, columns)
        n, total = self.total, self.total + len(ids)
        if not n:
            self._buffer = vectors.copy() if vectors.flags.writeable else vectors
        else:
            if len(self._buffer) < total or not self._buffer.flags.writeable:
                buffer = np.empty((max(total, n + n // 2), vectors.shape[1]), np.float32)
                buffer[:n] = self.all_vectors
                self._buffer = buffer
            self._buffer[n:total] = vectors
        self.position, self.total = np.append(self.position, np.arange(n, total)), total
        self.lengths = np.append(self.lengths, length)

    def remove(self, ids: Sequence[Any] | np.ndarray) -> int:
        """Remove rows; returns how many there were. Unknown ids are no error."""
        rows = self.table.rows.rows(as_ids(ids).tolist())
        keep = np.ones(len(self.table), bool)
        keep[rows[rows >= 0]] = False
        gone = len(keep) - int(np.count_nonzero(keep))
        if gone:
            self.table, self.position = self.table.take(keep), self.position[keep]
        return gone

    def compact(self, share: float = 0.0) -> bool:
        """Drop the vectors of removed rows when they are more than a share of all; whether it did.

        Positions change then, and what was built of the vectors must be built again.
        """
        with self._compacting:  # readers in other threads may compact too
            if self.total - len(self.table) <= share * self.total:
                return False
            self._buffer, self.lengths = self.all_vectors[self.position], self.lengths[self.position]
            self.total = len(self.table)
            self.position = np.arange(self.total)
        return True

    def allowed(self, where: Mapping[str, Any] | None, exclude: Sequence[Any] | np.ndarray | None) -> np.ndarray | None:
        """Mask (total,) of the positions that a search may return; None for all."""
        mask = self.table.where(where) if where else np.ones(len(self.table), bool)
        if exclude is not None and len(exclude):
            rows = self.table.rows.rows(as_ids(exclude).tolist())
            mask[rows[rows >= 0]] = False
        if self.total == len(self.table):
            return None if mask.all() else mask
        scattered = np.zeros(self.total, bool)
        scattered[self.position[mask]] = True
        return scattered

    def check(self, queries: np.ndarray, k: int) -> np.ndarray:
        """Queries as float32 (q, d). Raises BadData for another width or NaN, and for k < 1."""
        return checked_queries(queries, k, self.dim if self.total else None)

    def hits(self, positions: np.ndarray, best: np.ndarray) -> Hits:
        """Positions (q, k) and their scores as rows of ``table``; position -1 is row -1 with score -inf."""
        found, rows = positions >= 0, positions.astype(np.int64)
        if self.total != len(self.table):
            rows[found] = np.searchsorted(self.position, positions[found])
        hits = Hits(rows, np.where(found, best, -np.inf).astype(np.float32))
        hits.table = self.table
        return hits

    def save(self, folder: Path, kind: str, arguments: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
        """Write the rows and ``index.json`` beside whatever derived files the index wrote before."""
        self.compact()
        io.write(folder / "vectors.npy", _npy(self.all_vectors))
        self.table.save(folder / "items.parquet")
        write_head(folder, kind, arguments, fingerprint, len(self.table), self.dim)

    @classmethod
    def load(cls, folder: Path, kind: str, must: Sequence[str] = ()) -> tuple[Rows, dict[str, Any]]:
        """What :meth:`save` wrote, vectors as a memory map, and ``index.json``.

        Raises Corrupt for a damaged or missing file among the rows and those in ``must``.
        """
        folder = Path(folder)
        head = read_head(folder, kind)
        for name in ("vectors.npy", "items.parquet", *must):
            io.verify(folder / name, head["xxh3"].get(name, ""), REMEDY)
        rows = cls()
        rows.table = Table.load(folder / "items.parquet")
        rows._buffer = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
        rows.total = len(rows.table)
        rows.position = np.arange(rows.total)
        if rows._buffer.shape != (head["count"], head["dim"]) or rows.total != head["count"]:
            raise Corrupt(f"{folder}: {rows.total} ids for vectors of shape {rows._buffer.shape}; {REMEDY}")
        rows.lengths = np.concatenate(
            [np.zeros(0), *(lengths(rows._buffer[part]) for part in blocks(head["count"], 8192))]
        )
        return rows, head


def checked(
    ids: Sequence[Any] | np.ndarray, vectors: np.ndarray, columns: Mapping[str, Any], dim: int | None
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Rows to be added: ids (n,), vectors (n, d) float32, columns, and the vectors' lengths (n,). Raises BadData.

    dim: the width of the vectors that are there already; None for the first.
    """
    ids, vectors = as_ids(ids), np.asarray(vectors, np.float32)
    columns = {name: as_column(column, name) for name, column in columns.items()}
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise BadData(f"index: {len(ids)} ids for vectors of shape {vectors.shape}; expected ({len(ids)}, d)")
    if dim is not None and vectors.shape[1] != dim:
        raise BadData(f"index: vectors are {vectors.shape[1]} wide, those already here {dim}")
    for name, column in columns.items():
        if len(column) != len(ids):
            raise BadData(f"index: column '{name}' has {len(column)} values for {len(ids)} ids")
    length = lengths(vectors)
    if not (length < LONGEST).all():
        bad = ids[np.flatnonzero(length >= LONGEST)[0]]
        raise BadData(f"index: vector of id '{bad}' holds NaN or infinity, or is too long; correct or drop it")
    return ids, vectors, columns, length


def checked_queries(queries: np.ndarray, k: int, dim: int | None) -> np.ndarray:
    """Queries as float32 (q, d). Raises BadData for another width (None: any) or NaN, and for k < 1."""
    queries = np.asarray(queries, np.float32)
    if k < 1:
        raise BadData(f"k={k}; expected 1 or more")
    if queries.ndim != 2 or (dim is not None and queries.shape[1] != dim):
        raise BadData(f"index: queries have shape {queries.shape}; expected (q, {0 if dim is None else dim})")
    if not np.isfinite(queries).all():
        raise BadData("index: a query holds NaN or infinity")
    return queries


def write_head(
    folder: Path, kind: str, arguments: Mapping[str, Any], fingerprint: Mapping[str, Any], count: int, dim: int,
    **more: Any,
) -> None:  # fmt: skip
    """Write ``index.json`` over the files that lie in the folder now. more: further entries, of this kind alone."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != "index.json")
    head = {
        "format": FORMAT,
        "kind": kind,
        "arguments": dict(arguments),
        "fingerprint": dict(fingerprint),
        "count": count,
        "dim": dim,
        "xxh3": {p.name: io.checksum(p) for p in files},
        **more,
    }
    io.write_json(folder / "index.json", {**head, "checksum": fingerprint_.checksum(head)})


def read_head(folder: Path, kind: str) -> dict[str, Any]:
    """``index.json`` of an index of this kind. Raises Corrupt."""
    head = io.read_json(folder / "index.json", REMEDY)
    if not isinstance(head, dict) or head.get("format") != FORMAT or head.get("kind") != kind:
        raise Corrupt(f"{folder / 'index.json'} is not a format {FORMAT} index of kind '{kind}'; {REMEDY}")
    types = {"arguments": dict, "fingerprint": dict, "count": int, "dim": int, "xxh3": dict}
    body = {key: value for key, value in head.items() if key != "checksum"}
    known = head.get("checksum")  # of indexes that were made before there was one: none
    if (known is not None and known != fingerprint_.checksum(body)) or not all(
        isinstance(head.get(key), type_) for key, type_ in types.items()
    ):
        raise Corrupt(f"{folder / 'index.json'} is damaged; {REMEDY}")
    return head


def best_of(
    queries: np.ndarray, vectors: np.ndarray, found: np.ndarray, k: int, wide: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best k of the first ``wide`` found rows (q, ·), -1 for none, by exact score and then by row."""
    positions, best = np.full((len(found), k), -1, np.int64), np.full((len(found), k), -np.inf, np.float32)
    for i, row in enumerate(found):
        row = row[row >= 0][:wide]
        score = scores.pair_scores(np.broadcast_to(queries[i], (len(row), queries.shape[1])), vectors[row])
        order = np.lexsort((row, -score))[:k]
        positions[i, : len(order)], best[i, : len(order)] = row[order], score[order]
    return positions, best


def _npy(vectors: np.ndarray) -> list[Any]:
    """A .npy file in pieces: NumPy's own writer raises an error without an errno when the disk is full."""
    head = BytesIO()
    vectors = np.ascontiguousarray(vectors)
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(vectors))
    return [head.getvalue(), *(vectors[rows] for rows in blocks(len(vectors), 65536))]
