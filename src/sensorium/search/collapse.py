"""Collapsing: one hit for each value of a column, its best item, and on demand the further items of its group.

The index is asked for more and more hits until there are enough groups; where that would take long, the best items of
the other groups are found by one matrix product. Items without a value are a group each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import scores
from sensorium.scores.similarity import error32
from sensorium.search.ranking import Found, Ranked, admit, find, probability
from sensorium.types import blocks

if TYPE_CHECKING:
    from sensorium.search.query import Query
    from sensorium.search.run import Run

_WIDER = 8  # times as many hits, each time there are too few groups
_MOST = 1000  # hits, from which on the other groups are searched by themselves
_BLOCK = 8192  # items scored at a time


def group_of(run: Run, query: Query, rows: np.ndarray) -> np.ndarray:
    """The group of each row (m,) int64: the code of its value, or a number below 0 of its own."""
    codes = run.index(query.to).table.codes(str(query.collapse), "collapse").codes[rows].astype(np.int64)
    return np.where(codes < 0, -1 - rows, codes)


def groups(run: Run, vector: np.ndarray, found: Found, query: Query, index: Any) -> Ranked:
    """The best hit of each group, best first, with the group's size: ``query.wanted``, where there are so many.

    found: of one pass of the index, without the hits that are not admitted.
    """
    depth, one = query.depth, found
    best = _best(run, one.ranked, query)
    if len(best.rows) < query.wanted and not one.whole:
        allowed = _allowed(run, query)
        wanted = min(query.wanted, _number(run, query, allowed))
        while len(best.rows) < wanted and not one.whole and not _too_low(one, query, depth):
            if depth >= _MOST:
                best = _with_the_others(run, vector, best, found.first, allowed, query, index)
                break
            depth *= _WIDER
            (wider,) = find(run, vector[None], query, index, depth)
            one = replace(wider, ranked=admit(run, wider.ranked, query))
            best = _best(run, one.ranked, query)
    best = best.take(np.arange(min(query.wanted, len(best.rows))))
    return replace(best, group_size=_sizes(run, query, best.rows))


def further(run: Run, vector: np.ndarray, ranked: Ranked, first: int, query: Query, index: Any) -> Ranked:
    """The hits with the further ones of their groups, ``collapse_size`` − 1 at most, each group's best first."""
    mine = group_of(run, query, ranked.rows)
    allowed = _allowed(run, query)
    allowed[ranked.rows] = False
    codes = run.index(query.to).table.codes(str(query.collapse), "collapse")
    chosen = np.zeros(len(codes) + 1, bool)  # the last is code -1: groups of one
    chosen[mine[mine >= 0]] = True
    rows = np.flatnonzero(allowed & chosen[codes.codes])
    members = admit(run, _scored(run, vector, rows, first, query, index), replace(query, exclude=frozenset()))
    of = codes.codes[members.rows]
    lists = np.empty(len(ranked.rows), object)
    for place, group in enumerate(mine.tolist()):
        at = np.flatnonzero(of == group) if group >= 0 else np.zeros(0, np.int64)
        lists[place] = replace(members.take(at[: query.collapse_size - 1]), top=None)
    return replace(ranked, collapsed=lists)


def _best(run: Run, ranked: Ranked, query: Query) -> Ranked:
    """The first hit of each group, in order."""
    _, first = np.unique(group_of(run, query, ranked.rows), return_index=True)
    return ranked.take(np.sort(first))


def _too_low(found: Found, query: Query, depth: int) -> bool:
    """Whether deeper hits would not reach the least score: hits at this depth were left out for it."""
    return query.min_score is not None and len(found.ranked.rows) + len(query.exclude) < depth


def _with_the_others(
    run: Run, vector: np.ndarray, best: Ranked, first: int, allowed: np.ndarray, query: Query, index: Any
) -> Ranked:
    """The best hits of groups, and those of all groups that are not among them."""
    every = group_of(run, query, np.arange(len(allowed)))
    others = np.flatnonzero(allowed & ~np.isin(every, group_of(run, query, best.rows)))
    near, error = _near(run, vector, first, query, index)
    near, group = near[others], every[others]
    # The best of a group is among those that may be so for all that is known; of groups of one, only the best count.
    valued = group >= 0
    tops = np.full(int(group.max(initial=-1)) + 1, -np.inf, np.float32)
    np.maximum.at(tops, group[valued], near[valued])
    least = np.full(len(others), -np.inf, np.float32)
    least[valued] = tops[group[valued]]
    if (single := near[~valued]).size > query.wanted:
        least[~valued] = np.partition(single, len(single) - query.wanted)[len(single) - query.wanted]
    rows = others[near >= least - 2 * error]
    both = best.join(_best(run, admit(run, _scored(run, vector, rows, first, query, index), query), query))
    return both.take(np.argsort(-both.scores, kind="stable"))


def _near(run: Run, vector: np.ndarray, first: int, query: Query, index: Any) -> tuple[np.ndarray, float]:
    """Every row's score (n,) float32 but for rounding, and a bound of the error. first: as for :func:`_scored`."""
    index = run.index(query.to) if index is None else index
    near, longest = np.empty(len(index), np.float32), 0.0
    for part in blocks(len(index), _BLOCK):
        some = np.asarray(index.vectors(part))
        near[part] = some @ vector
        longest = max(longest, float(np.einsum("ij,ij->i", some, some).max()))
    error = float(error32(np.linalg.norm(vector), longest**0.5, len(vector)))
    if query.corrected:
        shift = run.shift(query.direction, query.to)
        if shift.hubs is None or shift.hubs[first]:
            near -= shift.bias
            error += 2e-7 * float(np.abs(near).max() + np.abs(shift.bias).max())  # of subtracting, twice
    return near, error


def _scored(run: Run, vector: np.ndarray, rows: np.ndarray, first: int, query: Query, index: Any) -> Ranked:
    """All of these rows, scored as a search does, best first. first: of the best raw hit."""
    index = run.index(query.to) if index is None else index
    score = np.empty(len(rows), np.float32)
    for part in blocks(len(rows), _BLOCK):
        some = np.asarray(index.vectors(rows[part]))
        score[part] = scores.pair_scores(np.broadcast_to(vector, some.shape), some)
    if query.corrected and len(rows):
        shift = run.shift(query.direction, query.to)
        # Whether a query is corrected may depend on its best raw hit, which therefore stands first, and leaves again.
        positions, corrected = shift.rerank(
            np.append(first, rows)[None], np.append(np.float32(np.inf), score)[None], len(rows) + 1
        )
        rest = ~np.isposinf(corrected[0])
        rows, score = positions[0][rest], corrected[0][rest]
    order = np.lexsort((rows, -score))
    rows, score = rows[order], score[order]
    return Ranked(rows, score, probability(run, query, vector, rows, score))


def _allowed(run: Run, query: Query) -> np.ndarray:
    """Mask (n,) of the rows that may be hits."""
    table = run.index(query.to).table
    mask = table.where(query.where or {})
    gone = table.rows.rows(query.exclude)
    mask[gone[gone >= 0]] = False
    return mask


def _number(run: Run, query: Query, allowed: np.ndarray) -> int:
    """How many groups there are under a mask."""
    counts, single = run.index(query.to).table.codes(str(query.collapse), "collapse").counts(allowed)
    return int(np.count_nonzero(counts)) + single


def _sizes(run: Run, query: Query, rows: np.ndarray) -> np.ndarray:
    """How many items each row's group has among those that may be hits (m,)."""
    codes = run.index(query.to).table.codes(str(query.collapse), "collapse")
    counts = codes.counts(_allowed(run, query) if query.where or query.exclude else None)[0]
    mine = codes.codes[rows]
    return np.where(mine < 0, 1, np.append(counts, 1)[mine])
