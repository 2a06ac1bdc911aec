"""What an index keeps and answers with: ids, metadata columns and vectors, removable and durable.

On disk: ``vectors.npy`` (float32), ``items.parquet`` (ids and columns) and ``index.json`` (format,
kind, arguments, fingerprint, counts and the checksum of every other file).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData, Corrupt
from sensorium.scores.similarity import LONGEST, lengths
from sensorium.table import Table
from sensorium.types import Hits, as_ids, blocks

FORMAT = 1
REMEDY = "build the index again: sensorium index RUN"


class Kept:
    """n rows of ids, columns and vectors (n, d); removed rows stay in place, not alive, until :meth:`compact`.

    table and alive (n,) hold all rows, as do lengths (n,), the Euclidean length of each vector.
    """

    def __init__(self) -> None:
        self.table = Table(np.zeros(0, "<U1"), {})
        self._room = np.zeros((0, 0), np.float32)  # vectors, with spare rows at the end
        self.alive = np.zeros(0, bool)
        self.lengths = np.zeros(0)
        self._compacting = threading.Lock()

    def __len__(self) -> int:
        return int(np.count_nonzero(self.alive))

    @property
    def vectors(self) -> np.ndarray:
        """All vectors (n, d), removed ones included."""
        return self._room[: len(self.table)]

    def add(self, ids: Sequence[Any] | np.ndarray, vectors: np.ndarray, columns: Mapping[str, Any]) -> None:
        """Append rows; all or, when anything is wrong, none. Raises BadData."""
        ids, vectors = as_ids(ids), np.asarray(vectors, np.float32)
        columns = {name: np.asarray(column) for name, column in columns.items()}
        if vectors.ndim != 2 or len(vectors) != len(ids):
            raise BadData(f"index: {len(ids)} ids for vectors of shape {vectors.shape}; expected ({len(ids)}, d)")
        if len(self.table) and vectors.shape[1] != self.vectors.shape[1]:
            raise BadData(f"index: vectors are {vectors.shape[1]} wide, those already here {self.vectors.shape[1]}")
        for name, column in columns.items():
            if len(column) != len(ids):
                raise BadData(f"index: column '{name}' has {len(column)} values for {len(ids)} ids")
        length = lengths(vectors)
        if not (length < LONGEST).all():
            bad = ids[np.flatnonzero(length >= LONGEST)[0]]
            raise BadData(f"index: vector of id '{bad}' holds NaN or infinity, or is too long; mend or drop it")
        table = self.table.append(ids, columns)
        n, total = len(self.table), len(table)
        if not n:
            self._room = vectors.copy()
        else:
            if len(self._room) < total or not self._room.flags.writeable:
                room = np.empty((max(total, n + n // 2), vectors.shape[1]), np.float32)
                room[:n] = self.vectors
                self._room = room
            self._room[n:total] = vectors
        self.table, self.alive = table, np.append(self.alive, np.ones(len(ids), bool))
        self.lengths = np.append(self.lengths, length)

    def remove(self, ids: Sequence[Any] | np.ndarray) -> int:
        """Mark rows as removed; returns how many there were. Unknown ids are no error."""
        gone = self.alive & np.isin(self.table.ids, as_ids(ids))
        self.alive = self.alive & ~gone
        return int(np.count_nonzero(gone))

    def compact(self) -> bool:
        """Drop removed rows, which renumbers the others; False when there were none."""
        if self.alive.all():
            return False
        with self._compacting:  # readers in other threads compact too
            if self.alive.all():
                return False
            self._room = self.vectors[self.alive]
            self.table, self.lengths = self.table.take(self.alive), self.lengths[self.alive]
            self.alive = np.ones(len(self.table), bool)
        return True

    def allowed(self, where: Mapping[str, Any] | None, exclude: Sequence[Any] | np.ndarray | None) -> np.ndarray | None:
        """Mask (n,) of the rows a search may return; None for all."""
        mask = self.alive
        if where:
            mask = mask & self.table.where(where)
        if exclude is not None and len(exclude):
            mask = mask & ~np.isin(self.table.ids, as_ids(exclude))
        return None if mask.all() else mask

    def check(self, queries: np.ndarray, k: int) -> np.ndarray:
        """Queries as float32 (q, d). Raises BadData for another width or NaN, and for k < 1."""
        queries = np.asarray(queries, np.float32)
        if k < 1:
            raise BadData(f"k={k}; expected 1 or more")
        if queries.ndim != 2 or (len(self.table) and queries.shape[1] != self.vectors.shape[1]):
            raise BadData(f"index: queries have shape {queries.shape}; expected (q, {self.vectors.shape[1]})")
        if not np.isfinite(queries).all():
            raise BadData("index: a query holds NaN or infinity")
        return queries

    def hits(self, positions: np.ndarray, scores: np.ndarray) -> Hits:
        """Ids and scores of positions (q, k); -1 becomes the id "" with score -inf."""
        found = positions >= 0
        ids = np.full(positions.shape, "", self.table.ids.dtype if len(self.table) else "<U1")
        ids[found] = self.table.ids[positions[found]]
        return Hits(ids, np.where(found, scores, -np.inf).astype(np.float32))

    def save(self, folder: Path, kind: str, arguments: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
        """Write the rows and ``index.json`` beside whatever derived files the index wrote before."""
        self.compact()
        io.write(folder / "vectors.npy", lambda file: np.save(file, self.vectors, allow_pickle=False))
        self.table.save(folder / "items.parquet")
        files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != "index.json")
        head = {
            "format": FORMAT,
            "kind": kind,
            "arguments": dict(arguments),
            "fingerprint": dict(fingerprint),
            "count": len(self.table),
            "dim": int(self.vectors.shape[1]),
            "xxh3": {p.name: io.checksum(p) for p in files},
        }
        io.write_json(folder / "index.json", head)

    @classmethod
    def load(cls, folder: Path, kind: str, must: Sequence[str] = ()) -> tuple[Kept, dict[str, Any]]:
        """What :meth:`save` wrote, vectors as a memory map, and ``index.json``.

        Raises Corrupt for a damaged or missing file among the rows and those in ``must``.
        """
        folder = Path(folder)
        head = io.read_json(folder / "index.json", REMEDY)
        if not isinstance(head, dict) or head.get("format") != FORMAT or head.get("kind") != kind:
            raise Corrupt(f"{folder / 'index.json'} is not a format {FORMAT} index of kind '{kind}'; {REMEDY}")
        for name in ("vectors.npy", "items.parquet", *must):
            io.verify(folder / name, head["xxh3"].get(name, ""), REMEDY)
        kept = cls()
        kept.table = Table.load(folder / "items.parquet")
        kept._room = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
        kept.alive = np.ones(len(kept.table), bool)
        if kept._room.shape != (head["count"], head["dim"]) or len(kept.table) != head["count"]:
            raise Corrupt(f"{folder}: {len(kept.table)} ids for vectors of shape {kept._room.shape}; {REMEDY}")
        kept.lengths = np.concatenate(
            [np.zeros(0), *(lengths(kept._room[part]) for part in blocks(head["count"], 8192))]
        )
        return kept, head
