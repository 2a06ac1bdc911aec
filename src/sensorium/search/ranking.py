"""Step 4 of a query: the nearest rows of an index, corrected, calibrated, and selected as the query says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.errors import Corrupt
from sensorium.search import class_table, mmr

if TYPE_CHECKING:
    from sensorium.search.query import Query
    from sensorium.search.run import Run

#: A corrected search corrects the best DEPTH × k raw hits, at least DEPTH_LEAST of them.
DEPTH = 10
DEPTH_LEAST = 200


@dataclass(frozen=True)
class Ranked:
    """The hits of one query, best first: rows (m,) of the index's table, scores (m,), m ≤ k.

    probability (m,): that each hit is right; None where the run has no calibration for such scores.
    fallback (m,) bool: whether a hit is of the fallback; None for a query without one. group_size (m,): items of the
    hit's group that pass the filter; collapsed (m,): its further hits, a Ranked each; None where nothing is collapsed,
    or one item a group is asked for. top: the highest score found, whatever min_score; None for that of the hits.
    """

    rows: np.ndarray
    scores: np.ndarray
    probability: np.ndarray | None = None
    fallback: np.ndarray | None = None
    group_size: np.ndarray | None = None
    collapsed: np.ndarray | None = None
    top: float | None = None

    @property
    def best(self) -> float | None:
        """The highest score; None without hits."""
        if self.top is not None:
            return self.top
        return float(self.scores.max()) if len(self.scores) else None

    def take(self, places: np.ndarray) -> Ranked:
        """The hits at these places."""
        parts = (self.rows, self.scores, self.probability, self.fallback, self.group_size, self.collapsed)
        return Ranked(*(None if x is None else x[places] for x in parts), self.top)  # type: ignore[arg-type]

    def join(self, other: Ranked) -> Ranked:
        """These hits, then those of another one that has the same parts; ``top`` stays."""
        mine = (self.rows, self.scores, self.probability, self.fallback, self.group_size, self.collapsed)
        more = (other.rows, other.scores, other.probability, other.fallback, other.group_size, other.collapsed)
        pairs = zip(mine, more, strict=True)
        return Ranked(*(None if x is None or y is None else np.concatenate([x, y]) for x, y in pairs), self.top)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Found:
    """What one pass of the index gives for a query.

    first: row of the best raw hit, -1 without one. whole: every row that passes the filter is among them.
    """

    ranked: Ranked
    first: int
    whole: bool


def search(run: Run, vectors: np.ndarray, queries: Sequence[Query], index: Any = None) -> list[Ranked]:
    """The hits of each query, whose vectors are (q, d). In the thread of the index, whose rows must not move.

    index: searched instead of the run's own; it must hold the same items in the same rows.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, query in enumerate(queries):
        groups.setdefault(query.key, []).append(i)
    answers: dict[int, Ranked] = {}
    for places in groups.values():
        found = find(run, vectors[places], queries[places[0]], index)
        for place, one in zip(places, found, strict=True):
            query = queries[place]
            ranked = _select(run, vectors[place], one, query, index)
            answers[place] = ranked if query.fallback is None else _filled(run, vectors[place], ranked, query, index)
    return [answers[i] for i in range(len(queries))]


def find(run: Run, vectors: np.ndarray, query: Query, index: Any, depth: int | None = None) -> list[Found]:
    """The nearest ``depth`` (``query.depth``) rows of each vector, corrected and calibrated as the query says."""
    index = run.index(query.to) if index is None else index
    shift = run.shift(query.direction, query.to) if query.corrected else None
    depth = min(query.depth if depth is None else depth, max(1, len(index)))
    fetched = depth if shift is None else min(max(DEPTH * depth, DEPTH_LEAST), max(1, len(index)))
    rows, scores = index.search(vectors, fetched, where=query.where)
    firsts, whole = rows[:, 0].tolist(), (rows[:, -1] < 0) | (fetched >= len(index))
    if shift is not None:
        whole &= (rows >= 0).sum(axis=1) <= depth
        rows, scores = shift.rerank(rows, scores, depth)
    found = []
    for q in range(len(rows)):
        there = rows[q] >= 0
        hits, own = rows[q][there], scores[q][there]
        ranked = Ranked(hits, own, probability(run, query, vectors[q], hits, own))
        found.append(Found(ranked, firsts[q], bool(whole[q])))
    return found


def probability(run: Run, query: Query, vector: np.ndarray, rows: np.ndarray, scores: np.ndarray) -> np.ndarray | None:
    """How likely the hits in these rows (k,), of these scores, are right; None where nothing says so.

    Of a class table: the softmax over all classes, which a live stream gives, too. Else the calibration of scores.
    """
    if query.classes:
        return class_table.of_hits(run, query, vector, rows)
    if not query.calibrated:
        return None
    from sensorium.evaluate import calibration

    try:
        return calibration.from_dict(run.trust[query.direction]["probability"])(scores)
    except (KeyError, TypeError, ValueError, StopIteration, AttributeError) as error:
        raise Corrupt(
            f"{run.folder}: the calibration of {query.direction} is damaged ({error}); evaluate the run again"
        ) from None


def _select(run: Run, vector: np.ndarray, found: Found, query: Query, index: Any) -> Ranked:
    """A query's hits without the excluded ids and too low scores, collapsed, diversified: at most k."""
    ranked = admit(run, found.ranked, query)
    if query.collapse is not None:
        from sensorium.search import collapse

        ranked = collapse.groups(run, vector, replace(found, ranked=ranked), query, index)
    if query.mmr is not None:
        index = run.index(query.to) if index is None else index
        ranked = ranked.take(mmr.mmr(ranked.scores, index.vectors(ranked.rows), query.k, query.mmr))
    ranked = ranked.take(np.arange(min(query.k, len(ranked.rows))))
    if query.collapse_size > 1:
        from sensorium.search import collapse

        ranked = collapse.further(run, vector, ranked, found.first, query, index)
    return ranked


def admit(run: Run, ranked: Ranked, query: Query) -> Ranked:
    """The hits that are not excluded and reach the least score."""
    if query.exclude:
        ranked = ranked.take(~np.isin(ranked.rows, run.places(query.to).rows(query.exclude)))
    if query.min_score is not None:
        top = ranked.best
        ranked = replace(ranked.take(ranked.scores.astype(np.float64) >= query.min_score), top=top)
    return ranked


def _filled(run: Run, vector: np.ndarray, ranked: Ranked, query: Query, index: Any) -> Ranked:
    """A query's hits and, where they are fewer than k, those of its fallback that are not among them."""
    ranked = replace(ranked, fallback=np.zeros(len(ranked.rows), bool))
    if len(ranked.rows) >= query.k:
        return ranked
    ids = run.index(query.to).table.ids[ranked.rows].tolist()
    second = replace(
        query, where=query.fallback or None, fallback=None, min_score=None, exclude=query.exclude | set(ids)
    )
    more = search(run, vector[None], [second], index)[0]
    if query.collapse is not None:  # of a group that is there, another item is no other hit
        from sensorium.search import collapse

        taken = collapse.group_of(run, query, ranked.rows)
        more = more.take(~np.isin(collapse.group_of(run, query, more.rows), taken))
    more = replace(more, fallback=np.ones(len(more.rows), bool), top=None)
    return ranked.join(more.take(np.arange(min(query.k - len(ranked.rows), len(more.rows)))))
