"""The work on one run, in threads of its own: encoding and searching, each in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson

from sensorium import io, modalities, store
from sensorium.errors import BadData, Mismatch
from sensorium.indexes.exact import Exact
from sensorium.numerics import unit
from sensorium.pipeline import store_name
from sensorium.search import journal, media
from sensorium.search.folder import RunFolder
from sensorium.search.query import Query, Ranked
from sensorium.search.query import search as ranked_hits
from sensorium.search.run import Run
from sensorium.serve.engine.batching import Batcher
from sensorium.serve.settings import Settings
from sensorium.table import RowLookup

_FRAGMENTS = 200_000  # items whose JSON is remembered


@dataclass(frozen=True)
class Question:
    """One search. query (d,), or raw (d_in,) as side ``side``'s encoder gives it, still to be projected."""

    k: int
    query: np.ndarray | None = None
    raw: np.ndarray | None = None
    side: str = "left"
    where: Mapping[str, Any] | None = None
    exclude: frozenset[str] = frozenset()
    direction: str = ""
    corrected: bool = True
    mmr: float | None = None
    pool: int = 0

    def resolved(self, run: Run, to: str, space: str = "head") -> Query:
        """The query of this question to a side."""
        corrects = space == "head" and self.direction in run.corrections
        corrected = self.corrected and corrects
        calibrated = space == "head" and self.direction in run.trust and corrected == corrects
        return Query(to, self.direction, self.k, self.where, self.exclude, corrected, calibrated, self.mmr, self.pool)


@dataclass(frozen=True)
class Answer:
    """hits: one JSON object each, best first. corrected: whether they were. best: the highest score."""

    hits: list[bytes]
    corrected: bool
    best: float | None


@dataclass
class Side:
    """What is kept of one side while it is served."""

    lane: Batcher
    encoding: Batcher
    raw: Batcher
    media: media.Media | None
    fragments: dict[int, bytes] = field(default_factory=dict)
    fragments_of: Any = None  # the table that the fragments were made from
    columns: list[Any] = field(default_factory=list)  # what is told of the columns
    columns_of: Any = None  # the table that this was told of


class Lanes:
    """One version of a run at work: a thread for each side's index, and one for each side's encoder."""

    def __init__(self, name: str, run: Run, settings: Settings) -> None:
        self.name, self.run, self.identity = name, run, identify(run.folder)
        most, wait = settings.batch, settings.batch_wait_ms / 1000
        self.sides = {}
        for side in run.sides:
            lane = Batcher(partial(self._search, side), most, wait)
            raw = Batcher(partial(self._search_raw, side), most, wait, lane.thread)  # rows must not move meanwhile
            encoding = Batcher(partial(self._encode, side), most, wait)
            self.sides[side] = Side(lane, encoding, raw, media.open(run.folder, side))
        self._raw: dict[str, Exact] = {}
        self._raw_stores = {side: self._store(side) for side in run.sides}
        self._raw_rows = _LookupOf(self._raw_stores)

    def kind(self, side: str) -> str:
        """What a side's items are shown as: image, audio, text or none."""
        takes = getattr(self.run.encoder(side), "takes", "vectors")
        if takes in modalities.names():
            return modalities.find(takes).shown_as
        return "text" if "text" in self.run.index(side).table.columns else "none"

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """:meth:`kind` of every side."""
        return {side: self.kind(side) for side in self.run.sides}

    def encode(self, side: str, value: Any) -> Any:
        """A value as (d_in,), or (t, d_in) frames, as the side's encoder gives it: an awaitable."""
        return self.sides[side].encoding.ask(value)

    def search(self, to: str, question: Question) -> Any:
        """The answer to a question to one side's index: an awaitable."""
        return self.sides[to].lane.ask(question)

    def search_raw(self, side: str, question: Question) -> Any:
        """The answer among a side's items as the frozen encoder alone sees them: an awaitable."""
        return self.sides[side].raw.ask(question)

    def shown(self, side: str, id: str) -> str | None:
        """Where what an item looks like can be fetched; None when nothing is kept of it."""
        mine = self.sides[side]
        live = self.run.journals[side].latest.get(id)
        there = bool(live.media_type) if live is not None else mine.media is not None and id in mine.media
        return f"/media/{quote(id, safe='')}?run={quote(self.name, safe='')}&side={side}" if there else None

    def media(self, side: str, id: str) -> tuple[str, bytes | Path] | None:
        """Media type, and bytes or a file, of an item; None when nothing is kept of it."""
        live = self.run.journals[side]
        if id in live.latest:
            return live.media(id)
        kept = self.sides[side].media
        return None if kept is None else kept.get(id)

    def compact(self, side: str) -> None:
        """Save a side's index with its live changes in it, and leave only the last word on each id in the journal.

        In the thread of the side's index. Skipped where the folder was exchanged: its index is not ours then.
        """
        index, live = self.run.index(side), self.run.journals[side]
        with journal.held(self.run.folder):
            if identify(self.run.folder) != self.identity:
                return
            with io.publish(self.run.folder / "index" / side) as folder:
                index.save(folder)
        live.rewrite()

    def item(self, side: str, row: int) -> dict[str, Any]:
        """An item of a side's index, for JSON."""
        table = self.run.index(side).table
        id, columns = str(table.ids[row]), {name: plain(value) for name, value in table.metadata(row).items()}
        return {"id": id, "side": side, "kind": self.kinds[side], "media": self.shown(side, id), "columns": columns}

    def _encode(self, side: str, values: list[Any]) -> list[Any]:
        encoder = self.run.encoder(side)
        if encoder is None:
            raise BadData(f"the {side} items of run '{self.name}' came as vectors, so only vector and id can ask")
        return [np.asarray(vector, np.float32) for vector in encoder.encode(values)]

    def _search(self, to: str, questions: list[Question]) -> list[Answer]:
        queries = [question.resolved(self.run, to) for question in questions]
        ranked = ranked_hits(self.run, np.concatenate(self._queries(questions)), queries)
        return [self._answer(one, query) for one, query in zip(ranked, queries, strict=True)]

    def _answer(self, ranked: Ranked, query: Query) -> Answer:
        chances = None if ranked.probability is None else ranked.probability.tolist()
        hits = self._fragments(query.to, ranked.rows.tolist(), ranked.scores.tolist(), chances)
        return Answer(hits, query.corrected, ranked.best)

    def _fragments(self, to: str, rows: list[int], scores: list[float], chances: list[float] | None) -> list[bytes]:
        """Hits as JSON; what does not depend on the query is remembered."""
        side, table = self.sides[to], self.run.index(to).table
        if side.fragments_of is not table or len(side.fragments) > _FRAGMENTS:
            side.fragments, side.fragments_of = {}, table
        known, hits = side.fragments, []
        for place, row in enumerate(rows):
            rest = known.get(row)
            if rest is None:
                rest = known[row] = orjson.dumps(self.item(to, row))[1:]
            chance = b"" if chances is None else b'"probability":%.4f,' % chances[place]
            hits.append(b'{"rank":%d,"score":%.7g,%b%b' % (place + 1, scores[place], chance, rest))
        return hits

    def _queries(self, questions: list[Question]) -> list[np.ndarray]:
        """The projected query (1, d) of each; what is still raw goes through its head together."""
        queries: list[Any] = [None if q.query is None else q.query[None] for q in questions]
        for side in self.run.sides:
            rows = [i for i, q in enumerate(questions) if q.raw is not None and q.side == side]
            if rows:
                projected = self.run.project(side, np.stack([questions[i].raw for i in rows]))
                for i, z in zip(rows, projected, strict=True):
                    queries[i] = z[None]
        return queries

    def _search_raw(self, side: str, questions: list[Question]) -> list[Answer]:
        queries = [question.resolved(self.run, side, "encoder") for question in questions]
        asked = np.stack([question.raw for question in questions])
        asked = unit(asked)
        ranked = ranked_hits(self.run, asked, queries, self.raw_index(side))
        return [self._answer(one, query) for one, query in zip(ranked, queries, strict=True)]

    def has_raw(self, side: str) -> bool:
        """Whether a side's items can be searched as the frozen encoder alone sees them."""
        kept = self._raw_stores[side]
        return kept is not None and kept.offsets is None

    def raw_index(self, side: str) -> Exact:
        """A side's items by the encoder's own vectors at unit length, as they are now.

        Raises Mismatch when the store does not lie beside the run, BadData for items of several frames.
        """
        table = self.run.index(side).table
        if side in self._raw and self._raw[side].fingerprint.get("table") is table:
            return self._raw[side]
        index = Exact()
        index.add(table.ids, self.raw_vectors(side, table.ids.tolist()), dict(table.columns))
        index.fingerprint = {"table": table}
        self._raw[side] = index
        return index

    def raw_vectors(self, side: str, ids: Sequence[str]) -> np.ndarray:
        """The encoder's own vectors of items, (n, d_in) at unit length."""
        kept = self._raw_stores[side]
        if kept is None:
            raise Mismatch(
                f"the embeddings of the {side} items do not lie beside run '{self.name}', so its raw space cannot "
                f"be searched; copy the folder {RunFolder(self.run.folder).stores.name} there too, or leave out space"
            )
        if kept.offsets is not None:
            raise BadData(f"the {side} items are sequences of frames, which are not compared raw; leave out space")
        rows, live = self._raw_rows[side], self.run.journals[side].latest
        old = [(place, row) for place, id in enumerate(ids) if id not in live and (row := rows.row(id)) >= 0]
        vectors = np.zeros((len(ids), kept.dim), np.float32)
        if old:
            places, at = np.array(old).T
            vectors[places] = kept.vectors[at]
        for place, id in enumerate(ids):
            if id in live and live[id].vector is not None:
                vectors[place] = live[id].vector
        return unit(vectors)

    def _store(self, side: str) -> Any:
        """The store of a side's embeddings beside the run; None when there is none."""
        encoder = self.run.encoder(side)
        if encoder is None:
            return None
        folder = RunFolder(self.run.folder).stores / store_name(side, self.run.recipe, encoder.fingerprint)
        return store.open(folder) if store.exists(folder) else None


class _LookupOf(dict[str, RowLookup]):
    """Rows of the ids of each side's store, looked up when first needed."""

    def __init__(self, stores: Mapping[str, Any]) -> None:
        self._stores = stores

    def __missing__(self, side: str) -> RowLookup:
        self[side] = RowLookup.of(self._stores[side].ids)
        return self[side]


def identify(folder: Path) -> tuple[int, ...]:
    """Numbers that differ once a folder was exchanged for another."""
    found = []
    for path in (folder, folder / "metrics.json"):
        try:
            stat = path.stat()
        except OSError:
            found += [0, 0]
        else:
            found += [stat.st_ino, 0 if path == folder else stat.st_mtime_ns]
    return tuple(found)


def plain(value: Any) -> Any:
    """A column's value as JSON can carry it: NaN is null, and no lone surrogate is left in text."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return value if isinstance(value, (int, float, bool)) or value is None else str(value)
