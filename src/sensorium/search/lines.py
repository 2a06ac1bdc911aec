"""Hits of many lines in one pass: encoded once, searched in batches, and chosen line by line.

:func:`batches` goes through a script, and a :class:`Picker` makes the record of each line: :class:`LineHits` the
nearest items, systems what they choose among them. In the thread of the side's index.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sensorium import progress
from sensorium.errors import BadData, BadRecipe
from sensorium.search import mmr as relevance
from sensorium.search import query
from sensorium.search.query import Input, Options, Query
from sensorium.search.ranking import Ranked
from sensorium.search.script import Script
from sensorium.types import blocks

if TYPE_CHECKING:
    from sensorium.search.run import Run

BATCH = 8192  # lines that are encoded, searched and written together: texts of one length fill a batch of the network
DEEPER = 8  # by how much the search goes on where too few of the hits are allowed
_CELLS = 1 << 22  # candidates of all lines together that are held at a time
MARGIN = 4  # candidates for each hit, where some may not be allowed


@dataclass(frozen=True)
class Choice:
    """How a line's hits are chosen among its candidates.

    k: how many. mmr: λ of maximal marginal relevance. min_score: hits of a lower score are left out. distinct: codes
    (n,) of the index's rows of which each value gets one hit; -1 is a value of its own. vary: the first hits of so many
    lines before are left out, where another one is allowed.
    """

    k: int = 10
    mmr: float | None = None
    min_score: float | None = None
    distinct: np.ndarray | None = None
    vary: int = 0

    def __post_init__(self) -> None:
        if self.vary < 0:
            raise BadRecipe(f"vary={self.vary}; expected 0 or more lines")


class Allowed:
    """Which rows of the index a line may have: conditions for the index, and a mask for what they cannot say."""

    def where(self, line: int) -> Mapping[str, Any]:
        """Conditions of ``Table.where`` that hold for every row the line may have."""
        return {}

    def mask(self, rows: np.ndarray, line: int) -> np.ndarray | None:
        """Mask (m,) of the rows that the line may have; None for all."""
        return None


class Encoded:
    """The vectors of a script's lines in the shared space, each text encoded once, however often it is asked for.

    side: of the lines; by default the only one that takes text, or vectors of their width.
    """

    def __init__(self, run: Run, script: Script, side: str | None = None) -> None:
        self.run, self.script = run, script
        if script.vectors is not None:
            self.side = query.side_of(run, "vector", script.vectors[0], side)
        else:
            self.side = query.side_of(run, "text", "", side)
        self._known: dict[str, np.ndarray] = {}

    def vectors(self, lines: Sequence[int]) -> np.ndarray:
        """Vectors (m, d) of lines that are not empty. Raises BadData, naming the line, for NaN or another width."""
        if self.script.vectors is not None:
            given = self.script.vectors[np.asarray(lines, np.int64)]
            bad = np.flatnonzero(~np.isfinite(given).all(1))
            if len(bad):
                raise BadData(f"{self.script.named(lines[int(bad[0])])}: the vector holds NaN or infinity; correct it")
            return self.run.project(self.side, given)
        texts = [str(self.script.texts[line]) for line in lines]
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            encoded = self.run.encode(self.side, new)
            self._known.update(zip(new, encoded, strict=True))
        return np.stack([self._known[text] for text in texts])


@dataclass
class Finder:
    """Finds the hits of lines, one batch after the other.

    options: ``to``, ``where``, ``corrected`` and ``space`` hold for every line; ``k`` and the others are in ``choice``.
    """

    run: Run
    side: str
    options: Options
    choice: Choice
    allowed: Allowed = field(default_factory=Allowed)
    index: Any = None

    def __post_init__(self) -> None:
        self.query = query.resolve(self.run, [Input(self.side)], replace(self.options, k=self.choice.k))
        self.found_in = self.run.index(self.query.to) if self.index is None else self.index
        self.recent: deque[int] = deque(maxlen=self.choice.vary)
        if self.choice.mmr is not None and not 0 <= self.choice.mmr <= 1:
            raise BadRecipe(f"mmr={self.choice.mmr}; expected 0 (all variety) to 1 (all relevance)")

    def find(self, vectors: np.ndarray, lines: Sequence[int]) -> list[Ranked]:
        """The hits of each line, whose vectors are (m, d), in the order given."""
        groups: dict[Any, list[int]] = {}
        wheres = [self.allowed.where(line) for line in lines]
        for at, where in enumerate(wheres):
            groups.setdefault(repr(sorted(where.items(), key=lambda one: one[0])), []).append(at)
        candidates: list[Ranked | None] = [None] * len(lines)
        for places in groups.values():
            where = wheres[places[0]] or self.options.where
            for at, ranked in zip(places, self._deep(vectors, lines, places, where), strict=True):
                candidates[at] = ranked
        return [self._chosen(ranked) for ranked in candidates if ranked is not None]

    def _deep(self, vectors: np.ndarray, lines: Sequence[int], places: Sequence[int], where: Any) -> list[Ranked]:
        """Allowed candidates of lines of one filter, enough to choose from, or all there are."""
        total = max(1, len(self.found_in))
        need = self.choice.k * (relevance.POOL if self.choice.mmr is not None else 1) + self.choice.vary
        depth = min(total, need * (MARGIN if self.choice.distinct is not None else 1) + MARGIN)
        done: dict[int, Ranked] = {}
        waiting = list(places)
        while waiting:
            asked = replace(self.query, k=depth, where=where or None)
            still = []
            for part in blocks(len(waiting), max(1, _CELLS // depth)):
                some = waiting[part]
                for at, ranked in zip(some, self._search(vectors[some], asked), strict=True):
                    last = len(ranked.rows) < depth or depth >= total or self._too_low(ranked)
                    kept = self._admitted(ranked, lines[at])
                    if last or len(kept.rows) >= need:
                        done[at] = kept
                    else:
                        still.append(at)
            waiting, depth = still, min(total, depth * DEEPER)
        return [done[at] for at in places]

    def _search(self, vectors: np.ndarray, asked: Query) -> list[Ranked]:
        return query.search(self.run, vectors, [asked] * len(vectors), self.index)

    def _too_low(self, ranked: Ranked) -> bool:
        """Whether deeper hits cannot reach the least score."""
        least = self.choice.min_score
        return least is not None and len(ranked.scores) > 0 and float(ranked.scores[-1]) < least

    def _admitted(self, ranked: Ranked, line: int) -> Ranked:
        mask = self.allowed.mask(ranked.rows, line)
        if mask is not None:
            ranked = ranked.take(np.flatnonzero(mask))
        if self.choice.min_score is not None:
            ranked = ranked.take(np.flatnonzero(ranked.scores.astype(np.float64) >= self.choice.min_score))
        if self.choice.distinct is not None:
            codes = self.choice.distinct[ranked.rows]
            first = np.zeros(len(codes), bool)
            first[np.unique(codes, return_index=True)[1]] = True
            ranked = ranked.take(np.flatnonzero(first | (codes < 0)))
        return ranked

    def _chosen(self, ranked: Ranked) -> Ranked:
        """At most k hits of a line's candidates; its first one is remembered for the lines that follow."""
        if self.recent and len(ranked.rows):
            fresh = np.flatnonzero(~np.isin(ranked.rows, list(self.recent)))
            ranked = ranked.take(fresh) if len(fresh) else ranked
        if self.choice.mmr is not None and len(ranked.rows):
            ranked = ranked.take(np.arange(min(self.choice.k * relevance.POOL, len(ranked.rows))))
            vectors = self.found_in.vectors(ranked.rows)
            ranked = ranked.take(relevance.mmr(ranked.scores, vectors, self.choice.k, self.choice.mmr))
        ranked = ranked.take(np.arange(min(self.choice.k, len(ranked.rows))))
        if self.choice.vary and len(ranked.rows):
            self.recent.append(int(ranked.rows[0]))
        return ranked

    def remember(self, ids: Iterable[str]) -> None:
        """First hits of earlier lines, by id, where a script goes on that was interrupted."""
        rows = self.run.places(self.query.to).rows(list(ids))
        self.recent.extend(int(row) for row in rows.tolist() if row >= 0)


class Picker(Protocol):
    """Makes the record of each line of a script."""

    @property
    def about(self) -> str:
        """All that the records depend on but the script and the run, as text."""

    def prepare(self, encoded: Encoded) -> None:
        """Called once, before the first line is picked."""

    def pick(self, z: np.ndarray, lines: Sequence[int]) -> list[dict[str, Any]]:
        """A record for each line, whose vectors are (m, d)."""

    def record(self, line: int) -> dict[str, Any]:
        """The record of an empty line."""

    def go_on(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Records of the lines before the first that is picked, where a script goes on."""

    def notes(self) -> list[str]:
        """What else there is to say of the whole script."""


@dataclass
class LineHits:
    """The nearest items of each line: records ``{"line", "query", "text", "hits", "note"}``.

    ``query`` is the line's id, text or number; ``note`` says why a line has no hits, None otherwise.
    """

    script: Script
    finder: Finder

    @property
    def about(self) -> str:
        """The search's options."""
        choice = self.finder.choice
        return repr((self.finder.side, self.finder.options, choice.k, choice.mmr, choice.min_score, choice.vary))

    def notes(self) -> list[str]:
        """Nothing."""
        return []

    def prepare(self, encoded: Encoded) -> None:
        """Nothing is needed."""

    def pick(self, z: np.ndarray, lines: Sequence[int]) -> list[dict[str, Any]]:
        """The record of each line, whose vectors are (m, d)."""
        found = self.finder.find(z, lines)
        to = self.finder.query.to
        return [self.record(line, hits(self.finder.run, to, one)) for line, one in zip(lines, found, strict=True)]

    def record(self, line: int, found: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """The record of a line."""
        note = None if found else "the line is empty" if self.script.empty_at(line) else "nothing passes the filter"
        return {**self.script.heading(line), "hits": list(found), "note": note}

    def go_on(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Remember the first hits of the lines before."""
        self.finder.remember(record["hits"][0]["id"] for record in records if record["hits"])


def batches(encoded: Encoded, picker: Picker, start: int = 0, show: bool = False) -> Iterator[list[dict[str, Any]]]:
    """The records of a script's lines from ``start`` on, a batch at a time, empty lines included.

    show: a progress bar. Raises BadData for a script of empty lines.
    """
    script = encoded.script
    n, empty = len(script), script.empty
    if empty.all():
        raise BadData(f"{script.where} has {n:,} lines, all empty; expected text to search for")
    picker.prepare(encoded)
    parts = [range(start + part.start, start + part.stop) for part in blocks(n - start, BATCH)]
    asked = [[line for line in every if not empty[line]] for every in parts]
    with progress.bar("lines", n, show) as done:
        done(start)
        for every, asking, z in zip(parts, asked, _encoded_ahead(encoded, asked), strict=True):
            found = picker.pick(z, asking) if asking else []
            by_line = dict(zip(asking, found, strict=True))
            yield [by_line[line] if line in by_line else picker.record(line) for line in every]
            done(len(every))


def _encoded_ahead(encoded: Encoded, asked: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
    """The vectors of each batch of lines; those of the next are computed meanwhile, in a thread."""
    pool = ThreadPoolExecutor(1, "sensorium-lines")

    def begin(lines: Sequence[int]) -> Future[np.ndarray]:
        return pool.submit(lambda: encoded.vectors(lines) if len(lines) else np.zeros((0, 0), np.float32))

    try:
        coming = begin(asked[0] if asked else [])
        for lines in [*asked[1:], []][: len(asked)]:
            found, coming = coming, begin(lines)
            yield found.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def hits(run: Run, to: str, ranked: Ranked) -> list[dict[str, Any]]:
    """A line's hits as dicts: see :func:`sensorium.search.query.hits`."""
    return query.hits(run, Query(to, "", len(ranked.rows)), ranked)
