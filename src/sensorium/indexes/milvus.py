"""Search in a Milvus database: a file in the run folder, or the same on a server or a cluster (the extra 'scale')."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.contracts import Index
from sensorium.errors import BadRecipe, Corrupt, DatabaseError, Mismatch, require
from sensorium.indexes import _milvus_collection as collections
from sensorium.indexes import _milvus_database as databases
from sensorium.indexes import _milvus_filters as filters
from sensorium.indexes import _milvus_search as searching
from sensorium.indexes._rows import REMEDY, checked, checked_queries, read_head, write_head
from sensorium.table import Table
from sensorium.types import Hits, as_ids, blocks

_FILE = "milvus-{}.db"
_ITEMS = "items.parquet"
_PART = 8192  # items written at a time


class Milvus(Index):
    """Vectors and metadata in Milvus, which searches and filters; ids and metadata of all items in memory too.

    uri: address of a server or cluster, such as http://localhost:19530; empty for an embedded database (milvus-lite)
    in the run folder, which one process at a time can open. What signs in is the environment variable MILVUS_TOKEN.
    collection: the alias under which a server keeps the items, by default recipe and side; each new index is a
    collection of its own, built beside the one before and then named by the alias.
    kind: Milvus' kind of vector index: FLAT, HNSW or AUTOINDEX; a server has IVF_FLAT, IVF_SQ8 and DISKANN too.
    breadth: how widely an approximate kind searches, 1 to 32,768: ef of HNSW, nprobe of IVF, search_list of DISKANN.
    rescore: look at ``rescore`` × k candidates, 1 to 1,024, and order them by their exact scores (1: only order).
    """

    def __init__(
        self, uri: str = "", collection: str = "", kind: str = "HNSW", breadth: int = 128, rescore: int = 4
    ) -> None:
        databases.check_uri(uri)
        collections.check(kind, collection, embedded=not uri)
        for name, value, most in (("breadth", breadth, 2**15), ("rescore", rescore, 2**10)):
            if not 1 <= value <= most:
                raise BadRecipe(f"milvus: {name}={value}; expected 1 or more, up to {most}")
        for library in ("pymilvus",) if uri else ("pymilvus", "milvus_lite"):
            require(library, "scale")  # before what is to be indexed takes its time
        self.uri, self.collection, self.kind, self.breadth, self.rescore = uri, collection, kind, breadth, rescore
        self.table, self.fingerprint, self.name, self.dim = Table(np.zeros(0, "<U1"), {}), {}, "", 0
        self._places: list[Path] = []  # where an embedded database may lie: the first that is there
        self._database: databases.Database | None = None
        self._held = ""  # name of the collection, once there is one
        self._fields: dict[str, filters.Field] = {}  # of the collection, by column
        self._local: set[str] = set()  # columns whose field could not hold a value: the table alone knows them
        self._cells = 0  # of an IVF index
        self._saved = False  # whether the collection is one that a search may use, so that changes are noted

    def __len__(self) -> int:
        return len(self.table)

    @property
    def arguments(self) -> dict[str, Any]:
        """The part's own arguments, as saved."""
        return {name: getattr(self, name) for name in ("uri", "collection", "kind", "breadth", "rescore")}

    @property
    def alias(self) -> str:
        """The alias of the collection in use, on a server."""
        return collections.name_of(self.collection or self.name or "sensorium")

    @property
    def holds(self) -> str:
        """The name of the collection in use; empty before the first item."""
        return self._held

    def vectors(self, rows: Any = slice(None)) -> np.ndarray:
        """Vectors of the given rows of :attr:`table`. Raises Mismatch for items that the database does not hold."""
        ids = self.table.ids[rows]
        if not len(ids):
            return np.zeros((0, self.dim), np.float32)
        found, there = self._open().vectors(self._held, filters.key_of(ids.tolist()), self.dim)
        if not there.all():
            lost = int(np.count_nonzero(~there))
            raise Mismatch(f"milvus: {self._held} lacks {lost} items, such as '{ids[~there][0]}'; {REMEDY}")
        return found

    def add(self, ids: Sequence[Any], vectors: np.ndarray, columns: Mapping[str, Any] | None = None) -> None:
        """Append items; all, or none when BadData is raised (NaN, another width, an id already here).

        Those that the database holds already, because an earlier call was interrupted, are not written again.
        Raises DatabaseError when the database gives no answer; the same call then goes on.
        """
        ids, vectors, made, _ = checked(ids, vectors, columns or {}, self.dim if self._held else None)
        table = self.table.append(ids, made)
        if not len(ids):
            return
        database = self._open()
        unfinished = False
        if not self._held:
            unfinished = self._make(database, ids, vectors, made)
        keys, names = filters.key_of(ids.tolist()), ids.tolist()
        encoded = self._encoded(made, len(ids))
        there = database.known(self._held, keys) if unfinished else set()
        rows = np.array([i for i, key in enumerate(keys) if key not in there], np.int64)
        if len(rows):
            self._note_change(database)
        for part in blocks(len(rows), _PART):
            some = rows[part]
            columns = {name: [values[i] for i in some] for name, values in encoded.items()}
            database.write(self._held, [keys[i] for i in some], [names[i] for i in some], vectors[some], columns)
        self.table = table

    def remove(self, ids: Sequence[Any]) -> int:
        """Remove items, at once; returns how many there were."""
        rows = self.table.rows.rows(as_ids(ids).tolist())
        rows = np.unique(rows[rows >= 0])
        if len(rows):
            database = self._open()
            self._note_change(database)
            database.remove(self._held, filters.key_of(self.table.ids[rows].tolist()))
            keep = np.ones(len(self.table), bool)
            keep[rows] = False
            self.table = self.table.take(keep)
        return len(rows)

    def search(
        self,
        queries: np.ndarray,
        k: int,
        where: Mapping[str, Any] | None = None,
        exclude: Sequence[Any] | None = None,
    ) -> Hits:
        """The k nearest that the database finds of each query (q, d), best first, with exact scores.

        where: see ``Table.where``; exclude: ids never returned. Both are evaluated by the database while it searches,
        but for conditions that Milvus has no expression for. A query for which it finds fewer items than there are
        is searched exactly; where fewer than k match the row is -1 and the score -inf.
        Raises BadData for NaN or another width, BadRecipe for an unknown column, DatabaseError.
        """
        queries = checked_queries(queries, k, self.dim if self._held else None)
        expressions, rest = filters.expression(self.table, self._asked, where or {})
        out = self.table.rows.rows(as_ids(exclude).tolist()) if exclude is not None and len(exclude) else ()
        rows = np.full((len(queries), k), -1, np.int64)
        best = np.full((len(queries), k), -np.inf, np.float32)
        if len(self.table) and len(queries):
            asked = searching.Search(self._open(), self._held, self.table, self._how, expressions)
            asked.leave_out(rest, where or {}, [row for row in out if row >= 0])
            rows, best = asked.best(queries, k, self.rescore * k)
        hits = Hits(rows, best)
        hits.table = self.table
        return hits

    def report(self, vectors: np.ndarray) -> dict[str, Any]:
        """Measured when built: recall@10 against exact search, with 100 of ``vectors`` as queries."""
        every = vectors if len(vectors) == len(self) else self.vectors()
        k = min(10, len(self))
        about = {"database": self.uri or "embedded", "kind": self.kind}
        if not k:
            return about
        some = np.unique(np.linspace(0, len(vectors) - 1, min(100, len(vectors))).astype(np.int64))
        asked = np.asarray(vectors[some], np.float32)
        truth = scores.topk(asked, every, k)[0]
        found = self.search(asked, k).rows
        return about | {"recall@10": float(np.mean((truth[:, :, None] == found[:, None, :]).any(axis=2)))}

    def save(self, folder: Path) -> None:
        """Write into a folder (call it inside ``io.publish``): ids, metadata and, embedded, a copy of the database.

        On a server the collection is complete and indexed from now on, and the alias names it; the one that it named
        before stays for those who search it at this moment, older ones are deleted.
        """
        folder, more = Path(folder), {"held": self._held, "alias": self.alias, "cells": self._cells}
        if self._held:
            self._settle()
            if not self.uri:
                more["file"] = self._copy(folder)
        more |= {"fields": [field.plain() for field in self._fields.values()], "local": sorted(self._local)}
        self.table.save(folder / _ITEMS)
        write_head(folder, "milvus", self.arguments, self.fingerprint, len(self), self.dim, **more)

    @classmethod
    def load(cls, folder: Path) -> Milvus:
        """Open what :meth:`save` wrote.

        Raises Corrupt for a damaged file; Mismatch where the collection is not there, or of another encoder or head
        than the folder; DatabaseError when the database gives no answer, Busy when another process has it.
        """
        folder = Path(folder)
        head = read_head(folder, "milvus")
        index = cls(**head["arguments"])
        collections.verify_items(folder / _ITEMS, head)
        index.table, index.fingerprint, index.dim = Table.load(folder / _ITEMS), head["fingerprint"], head["dim"]
        index._held, index._cells, index.name = head["held"], head["cells"], head["alias"]
        index._fields = {one["column"]: filters.Field(**one) for one in head["fields"]}
        index._local, index._saved = set(head["local"]), True
        if len(index) != head["count"]:
            raise Corrupt(f"{folder}: {len(index)} items, {head['count']} expected; {REMEDY}")
        if index._held:
            if not index.uri:
                index._places = [folder / head["file"]]
                if not index._places[0].is_dir():
                    raise Corrupt(f"{index._places[0]} is missing; {REMEDY}")
            collections.check_holds(index._open(), index._held, index.fingerprint)
        return index

    # What lies where.

    def _open(self) -> databases.Database:
        """The database, opened when it is not: an embedded one where the folder lies now."""
        if self._database is None:
            folder = None
            if not self.uri:
                if not self._places:
                    self._places = [_temporary(self)]
                folder = next((place for place in self._places if place.exists()), self._places[0])
            database = databases.Database(self.uri, folder)
            weakref.finalize(self, database.close)
            if self._held and not self.uri:  # opened again: what it holds is not in memory yet
                database.ready(self._held)
            self._database = database
        return self._database

    def _make(self, database: databases.Database, ids: np.ndarray, vectors: np.ndarray, columns: Any) -> bool:
        """Make the collection, or take the one that an interrupted call left; whether it may hold some items."""
        self.dim, self._cells = int(vectors.shape[1]), collections.cells_of(len(ids))
        self._fields = {field.column: field for field in filters.fields_of(columns)}
        name, unfinished = collections.generation(database, self.alias, ids, vectors, columns, self.kind)
        if not unfinished:
            build = collections.build_parameters(self.kind, self._cells)
            database.make(name, self.dim, list(self._fields.values()), self.kind, build)
            collections.begin(database, name)
        self._held, self._saved = name, unfinished and "built" in database.about(name)
        return unfinished

    @property
    def _asked(self) -> dict[str, filters.Field]:
        """The fields that conditions can be evaluated by."""
        return {column: field for column, field in self._fields.items() if column not in self._local}

    def _encoded(self, columns: Mapping[str, np.ndarray], n: int) -> dict[str, list[Any]]:
        """The fields of n rows. A column whose field cannot hold them is not asked of the database any more."""
        made: dict[str, list[Any]] = {}
        for column, field in self._fields.items():
            stored = filters.encode(field, columns[column]) if column in columns else None
            if stored is None:
                self._local.add(column)
            made |= stored or filters.nothing(field, n)
        return made

    def _note_change(self, database: databases.Database) -> None:
        """Say of a collection that may be searched that it is no longer what it was built as."""
        if self._saved and self.uri:
            self._saved = False
            database.set_about(self._held, {**database.about(self._held), "changed": True})

    @property
    def _how(self) -> Any:
        return collections.search_parameters(self.kind, self.breadth, self._cells)

    def _settle(self) -> None:
        """Make the collection complete: indexed, described, and named by the alias."""
        database = self._open()
        database.settle(self._held)
        about = database.about(self._held)
        if not about.get("built"):
            there = database.count(self._held)
            if there != len(self):
                raise DatabaseError(
                    f"milvus at {database.where}: {self._held} holds {there} items, {len(self)} were written; "
                    "nothing is lost: type it again"
                )
        about = {"built": about.get("built", len(self)), **collections.stamp(self.fingerprint), **_changed(about)}
        database.set_about(self._held, about)
        if self.uri:
            collections.publish(database, self.alias, self._held)
        self._saved = True

    def _copy(self, folder: Path) -> str:
        """Copy the embedded database into a folder; it is opened again when it is next needed."""
        database, self._database = self._open(), None
        source = Path(str(database.folder))
        database.close()
        name = _FILE.format(collections.token())
        databases.copy(source, folder / name)
        self._places = [source, source.parent / name]  # the second once the folder took the place of this one
        return name


def _changed(about: Mapping[str, Any]) -> dict[str, Any]:
    return {"changed": True} if about.get("changed") else {}


def _temporary(index: Milvus) -> Path:
    """A place for an embedded database that was not saved yet; it goes with the index."""
    place = Path(tempfile.mkdtemp(prefix="sensorium-milvus-"))
    weakref.finalize(index, shutil.rmtree, place, ignore_errors=True)
    return place / _FILE.format("new")
