"""Hits of many lines in one pass: encoded once, searched in batches, and chosen line by line.

Used by ``sensorium search --lines`` and by systems that choose among what is found. In the thread of the side's index.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.errors import BadData, BadRecipe
from sensorium.search import mmr as relevance
from sensorium.search import query
from sensorium.search.query import Input, Options, Query
from sensorium.search.ranking import Ranked
from sensorium.search.script import Script
from sensorium.types import blocks

if TYPE_CHECKING:
    from sensorium.search.run import Run

BATCH = 2048  # lines that are encoded, searched and written together
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


def hits(run: Run, to: str, ranked: Ranked) -> list[dict[str, Any]]:
    """A line's hits as dicts: see :func:`sensorium.search.query.hits`."""
    return query.hits(run, Query(to, "", len(ranked.rows)), ranked)
