"""Workers of one served run: threads that encode and search, each in batches."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson

from sensorium import io, modalities
from sensorium.errors import BadData, SensoriumError
from sensorium.indexes.exact import Exact
from sensorium.numerics import unit
from sensorium.search import journal, media, migration
from sensorium.search.query import Query, Ranked
from sensorium.search.query import search as ranked_hits
from sensorium.search.raw import RawVectors
from sensorium.search.run import Run
from sensorium.serve.engine.batching import Batcher
from sensorium.serve.mounting import Mount
from sensorium.serve.settings import Settings
from sensorium.table import json_value

_FRAGMENTS = 200_000  # items whose JSON is remembered


@dataclass(frozen=True)
class SearchTask:
    """One search. vector (d,), or raw (d_in,) as side ``side``'s encoder gives it, still to be projected."""

    query: Query
    vector: np.ndarray | None = None
    raw: np.ndarray | None = None
    side: str = "left"


@dataclass(frozen=True)
class SearchAnswer:
    """hits: one JSON object each, best first. best: the highest score, None without hits."""

    hits: list[bytes]
    best: float | None


@dataclass
class SideWorkers:
    """One side: its batchers, its media, and cached JSON of its items."""

    searching: Batcher
    encoding: Batcher
    raw: Batcher
    media: media.Media | None
    fragments: dict[int, bytes] = field(default_factory=dict)
    fragments_of: Any = None  # the table that the fragments were made from
    prefix: str = ""  # of the paths in the fragments


class Workers:
    """Workers of one version of a run: a thread for each side's index, and one for each side's encoder.

    digests: by side, of the encoder of the vectors that its head takes.
    """

    def __init__(self, name: str, run: Run, settings: Settings, mount: Mount | None = None) -> None:
        self.name, self.run, self.identity = name, run, identify(run.folder)
        self.several = settings.workers > 1  # processes that add items
        self.mount = mount or Mount()
        most, wait = settings.batch, settings.batch_wait_ms / 1000
        self.sides = {}
        for side in run.sides:
            searching = Batcher(self._search, most, wait)
            raw = Batcher(self._search_raw, most, wait, searching.thread)  # rows must not move meanwhile
            encoding = Batcher(partial(self._encode, side), most, wait)
            self.sides[side] = SideWorkers(searching, encoding, raw, media.open(run.folder, side))
        self.digests = {side: run.encoder_digest(side) for side in run.sides}
        self._compacted = dict.fromkeys(run.sides, 0)  # bytes of the journal after its last compaction
        self._raw: dict[str, tuple[Any, Exact]] = {}  # with the table that it was made of
        self.raw = {side: RawVectors(run, side) for side in run.sides}
        self.looks: dict[tuple[str, str], Any] = {}  # see engine.looks
        self.kept: dict[tuple[str, ...], Any] = {}  # what the routes of systems keep for this version of the run

    def takes(self, side: str) -> str:
        """The kind of item that a side's encoder takes; "vectors" where its items came as vectors."""
        encoder = self.run.encoder(side)
        return "vectors" if encoder is None else encoder.takes

    def kind(self, side: str) -> str:
        """What a side's items are shown as: image, audio, text or none."""
        takes = self.takes(side)
        if takes in modalities.names():
            return modalities.find(takes).shown_as
        shown = self.sides[side].media
        if takes == "vectors" and shown is not None and shown.shown_as != "none":
            return shown.shown_as
        return "text" if "text" in self.run.index(side).table.columns else "none"

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """:meth:`kind` of every side."""
        return {side: self.kind(side) for side in self.run.sides}

    def encode(self, side: str, value: Any) -> Any:
        """A value as (d_in,), or (t, d_in) frames, as the side's encoder gives it: an awaitable."""
        return self.sides[side].encoding.submit(value)

    def search(self, task: SearchTask) -> Any:
        """The answer of the index that a task searches: an awaitable."""
        return self.sides[task.query.to].searching.submit(task)

    def search_raw(self, task: SearchTask) -> Any:
        """The answer among a side's items by the frozen encoder's own vectors: an awaitable."""
        return self.sides[task.query.to].raw.submit(task)

    def media_url(self, side: str, id: str) -> str | None:
        """Where the picture or sound of an item can be fetched; None when it has none."""
        mine = self.sides[side]
        live = self.run.journals[side].latest.get(id)
        there = bool(live.media_type) if live is not None else mine.media is not None and id in mine.media
        path = f"/media/{quote(id, safe='')}?run={quote(self.name, safe='')}&side={side}"
        return self.mount.prefix + path if there else None

    def media(self, side: str, id: str) -> tuple[str, bytes | Path] | None:
        """Media type, and bytes or a file, of an item; None when it has none."""
        live = self.run.journals[side]
        if id in live.latest:
            return live.media(id)
        stored = self.sides[side].media
        return None if stored is None else stored.get(id)

    def compact(self, side: str) -> None:
        """Save a side's index with its live changes in it, and leave only the last change of each id in the journal.

        In the thread of the side's index. Skipped where the folder was replaced: its index is another then.
        """
        index, live = self.run.index(side), self.run.journals[side]
        with journal.locked(self.run.folder):
            if identify(self.run.folder) != self.identity:
                return
            with io.publish(self.run.folder / "index" / side) as folder:
                index.save(folder)
        live.rewrite()

    def compact_if_large(self, side: str, most: int) -> None:
        """Compact a journal of more than ``most`` bytes that has doubled since the last time."""
        live = self.run.journals[side]
        if live.size > max(most, 2 * self._compacted[side]):
            self.compact(side)
            self._compacted[side] = live.size

    def item(self, side: str, row: int) -> dict[str, Any]:
        """An item of a side's index, for JSON."""
        table = self.run.index(side).table
        id = str(table.ids[row])
        columns = {name: json_value(value) for name, value in table.metadata(row).items()}
        return {"id": id, "side": side, "kind": self.kinds[side], "media": self.media_url(side, id), "columns": columns}

    def _encode(self, side: str, values: list[Any]) -> list[Any]:
        encoder = self.run.encoder(side)
        if encoder is None:
            name = self.run.names[side]
            raise BadData(f"the {name} items of run '{self.name}' came as vectors, so only vector and id can ask")
        return [np.asarray(vector, np.float32) for vector in encoder.encode(values)]

    def follow(self, side: str) -> None:
        """Apply what other processes changed, if they did, to a side's index, in whose thread this is."""
        live = self.run.journals[side]
        if live.is_behind:
            with contextlib.suppress(SensoriumError, OSError):  # it is tried again, and logged, by the application
                self.run.apply(side, live.read())

    def _search(self, tasks: list[SearchTask]) -> list[SearchAnswer]:
        if self.several:
            self.follow(tasks[0].query.to)
        ranked = ranked_hits(self.run, self._vectors(tasks), [task.query for task in tasks])
        return [self._answer(task, one) for task, one in zip(tasks, ranked, strict=True)]

    def _search_raw(self, tasks: list[SearchTask]) -> list[SearchAnswer]:
        vectors = unit(np.stack([task.raw for task in tasks]))
        ranked = ranked_hits(self.run, vectors, [task.query for task in tasks], self.raw_index(tasks[0].query.to))
        return [self._answer(task, one) for task, one in zip(tasks, ranked, strict=True)]

    def _answer(self, task: SearchTask, ranked: Ranked) -> SearchAnswer:
        return SearchAnswer(self.fragments(task.query.to, ranked), ranked.best)

    def fragments(self, to: str, ranked: Ranked, first: int = 1) -> list[bytes]:
        """Hits as JSON, ranked from ``first``; the part that does not depend on the query is cached."""
        side, table = self.sides[to], self.run.index(to).table
        same = side.fragments_of is table and side.prefix == self.mount.prefix
        if not same or len(side.fragments) > _FRAGMENTS:
            side.fragments, side.fragments_of, side.prefix = {}, table, self.mount.prefix
        chances = None if ranked.probability is None else ranked.probability.tolist()
        plain = ranked.fallback is None and ranked.group_size is None
        known, hits = side.fragments, []
        for place, (row, score) in enumerate(zip(ranked.rows.tolist(), ranked.scores.tolist(), strict=True)):
            rest = known.get(row)
            if rest is None:
                rest = known[row] = orjson.dumps(self.item(to, row))[1:]
            more = b"" if chances is None else b'"probability":%.4f,' % chances[place]
            if not plain:
                more += self._group(to, ranked, place)
            hits.append(b'{"rank":%d,"score":%.7g,%b%b' % (place + first, score, more, rest))
        return hits

    def _group(self, to: str, ranked: Ranked, place: int) -> bytes:
        """What a fallback and collapsing say of a hit, as JSON."""
        text = b"" if ranked.fallback is None else b'"fallback":%b,' % (b"true" if ranked.fallback[place] else b"false")
        if ranked.group_size is None:
            return text
        further = [] if ranked.collapsed is None else self.fragments(to, ranked.collapsed[place], 2)
        return b'%b"group_size":%d,"collapsed":[%b],' % (text, ranked.group_size[place], b",".join(further))

    def _vectors(self, tasks: list[SearchTask]) -> np.ndarray:
        """The projected vectors (q, d); raw ones are projected by the head in one batch."""
        vectors: list[Any] = [task.vector for task in tasks]
        for side in self.run.sides:
            rows = [i for i, task in enumerate(tasks) if task.raw is not None and task.side == side]
            if rows:
                projected = self.run.project(side, np.stack([tasks[i].raw for i in rows]))
                for i, z in zip(rows, projected, strict=True):
                    vectors[i] = z
        return np.stack(vectors)

    def has_raw(self, side: str) -> bool:
        """Whether a side's items can be searched by the frozen encoder's own vectors."""
        return self.raw[side].available

    def raw_vector(self, side: str, id: str) -> np.ndarray:
        """The encoder's own vector of an item, (d_in,) at unit length. In the thread of the side's index."""
        return self.raw_index(side).vectors(np.array([self.run.places(side)[id]]))[0]

    def raw_index(self, side: str) -> Exact:
        """A side's items by the encoder's own vectors at unit length, as they are now, in the order of its index.

        Raises Mismatch when the store does not lie beside the run, BadData for items of several frames.
        """
        table = self.run.index(side).table
        known = self._raw.get(side)
        if known is None or known[0] is not table:
            index = Exact()
            index.add(table.ids, unit(self.raw[side].of(table.ids)), dict(table.columns))
            known = self._raw[side] = table, index
        return known[1]


def identify(folder: Path) -> tuple[int, ...]:
    """Numbers that differ once a folder, or the state of its migration to another encoder, was replaced by another."""
    found = []
    for path, dated in ((folder, False), (folder / "metrics.json", True), (folder / migration.FOLDER, False)):
        try:
            stat = path.stat()
        except OSError:
            found += [0, 0]
        else:
            found += [stat.st_ino, stat.st_mtime_ns if dated else 0]
    return tuple(found)


def written(identity: tuple[int, ...]) -> float:
    """When the metrics.json of such numbers was written, Unix time."""
    return identity[3] / 1e9
