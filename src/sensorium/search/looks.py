"""Looks: what completes a set of items of a run, in one gap or in several, and why.

A look is a few items that belong together; a gap is the category of an item that it lacks. Scores are those of
:mod:`sensorium.search.sets`; higher is better::

    looks = Looks(sensorium.open("runs/outfits"))
    board = looks.board(["17781", "10764"])
    looks.complete(board, "Shoes", LookOptions(k=5))     # rows, scores, and the reasons of each
    looks.plan(board, ["Shoes", "Bags"])                 # one item a gap, chosen together
    looks.explain(board).spoils                          # the item that fits the others least
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.pairs.sets import ItemSets, ragged
from sensorium.search import mmr as relevance
from sensorium.search import planning, sets
from sensorium.search.by_category import ByCategory
from sensorium.search.raw import RawVectors
from sensorium.search.sets import Members

if TYPE_CHECKING:
    from sensorium.search.run import Run

CATEGORY = "category"
POOL = 200  # candidates of the index that are scored again
MMR = 0.3  # λ where none is given


@dataclass(frozen=True)
class LookOptions:
    """k: how many. pool: candidates of the index that are scored exactly and chosen from.

    mmr: λ of maximal marginal relevance; None is relevance alone. where: conditions on columns, see ``Table.where``.
    """

    k: int = 10
    pool: int = POOL
    mmr: float | None = None
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Board:
    """The m items of a look. rows (m,): in the index, -1 for those that are not in it; ids: "" for these."""

    ids: list[str]
    rows: np.ndarray
    members: Members


class Task(NamedTuple):
    """One gap of a board to fill; ``category`` None leaves it open."""

    board: Board
    category: str | None
    options: LookOptions


class Found(NamedTuple):
    """Candidates, best first: rows (c,) of the index, scores (c,), and reasons (c, m): the score with each item."""

    rows: np.ndarray
    scores: np.ndarray
    reasons: np.ndarray


class Planned(NamedTuple):
    """A look with its gaps filled. rows: one a gap, -1 where its category has nothing left. fit: of each item of the
    board, then of each that was chosen, its score by the others. score: their mean.
    """

    rows: np.ndarray
    score: float
    fit: np.ndarray


class Explained(NamedTuple):
    """fit (m,): the score of each item by the others. score: their mean. spoils: id of the lowest of three or more."""

    fit: np.ndarray
    score: float | None
    spoils: int | None


class Looks:
    """The items of one side of a run as parts of looks. In the thread of the side's index, as rows move.

    side: needed where the run has two. column: the metadata column that holds categories. raw: opened before.
    Raises BadRecipe where the index has no such column.
    """

    def __init__(
        self, run: Run, side: str | None = None, column: str = CATEGORY, raw: RawVectors | None = None
    ) -> None:
        self.run, self.column = run, column
        self.side = run.sides[0] if side is None else run.key_of(side)
        columns = run.index(self.side).table.columns
        if column not in columns:
            near = nearest(column, columns) if columns else "its items have no columns"
            raise BadRecipe(f"the {run.names[self.side]} items of {run.folder} have no column '{column}' that says "
                            f"their category; {near}")  # fmt: skip
        self.head = run.head(self.side)
        self._by_category = ByCategory(column)
        self.raw = raw or (RawVectors(run, self.side) if self.head.takes_sets else None)

    @property
    def index(self) -> Any:
        """The side's index, with live changes."""
        return self.run.index(self.side)

    def members(self, rows: np.ndarray) -> Members:
        """Items at rows (n,) of the index."""
        index = self.index
        table, z = index.table, index.vectors(rows)
        words = ["" if one is None else str(one) for one in table.columns[self.column][rows].tolist()]
        takes = self.head.takes_sets
        return Members(z, words, self.raw.of(table.ids[rows]) if takes and self.raw is not None else None)

    def board(
        self, ids: Sequence[str] = (), vectors: Any = None, categories: Sequence[str | None] | None = None
    ) -> Board:
        """A board of items by id, then of ``vectors`` (v, d_in) of the side's encoder, which are in no index.

        categories: of the vectors, where they are known. Raises BadData for an unknown id, one named twice, or none.
        """
        rows = self.run.places(self.side).rows([str(one) for one in ids])
        for id, row in zip(ids, rows.tolist(), strict=True):
            if row < 0:
                some = self.index.table.ids[:20000].tolist()
                raise BadData(f"no item '{id}' in {self.run.folder}; {nearest(str(id), some)}")
        if len(set(rows.tolist())) < len(rows):
            raise BadData("the look names one item twice; name each once")
        found = self.members(rows)
        outside = np.zeros((0, self.head.dim_in), np.float32) if vectors is None else np.asarray(vectors, np.float32)
        if not len(rows) and not len(outside):
            raise BadData("the look is empty; name an item of it")
        if len(outside):
            words = [one or "" for one in (categories or [None] * len(outside))]
            if len(words) != len(outside):
                raise BadData(f"{len(words)} categories for {len(outside)} vectors; give one each")
            z = self.run.project(self.side, outside)
            found = found.join(Members(z, words, outside if self.head.takes_sets else None))
        names = [str(one) for one in ids] + [""] * len(outside)
        return Board(names, np.concatenate([rows, np.full(len(outside), -1)]), found)

    def complete(self, board: Board, category: str | None, options: LookOptions | None = None) -> Found:
        """The best items of a category for a board, best first; none where the category has nothing.

        Raises BadRecipe for an unknown column of ``where``, or λ outside 0 to 1.
        """
        return self.complete_many([Task(board, category, options or LookOptions())])[0]

    def complete_many(self, tasks: Sequence[Task]) -> list[Found]:
        """:meth:`complete` for several boards: those of one category and filter are one pass of the index."""
        asked = np.concatenate([self._query(task.board, task.category) for task in tasks])
        groups: dict[str, list[int]] = {}
        for at, task in enumerate(tasks):
            groups.setdefault(repr((task.category, sorted(task.options.where.items()))), []).append(at)
        rows: list[Any] = [None] * len(tasks)
        for places in groups.values():
            first = tasks[places[0]]
            depth = max(tasks[at].options.pool + len(tasks[at].board.rows) for at in places)
            depth = min(depth, max(1, len(self.index)))
            for at, one in zip(places, self._pools(asked[places], depth, first), strict=True):
                one = one[(one >= 0) & ~np.isin(one, tasks[at].board.rows)]
                rows[at] = one
        return [self._ranked(task, asked[at], rows[at]) for at, task in enumerate(tasks)]

    def plan(self, board: Board, gaps: Sequence[str], options: LookOptions | None = None) -> list[Planned]:
        """The ``options.k`` best looks with one item in each gap, chosen together, best first; no item twice.

        Chosen is what makes the mean over all items of their score by the others highest: exactly where the pools
        are small, otherwise by beam search (see :mod:`sensorium.search.planning`). ``options.mmr`` is not used.
        """
        if not gaps:
            raise BadRecipe("no gap to fill; name a category of what is missing")
        options = options or LookOptions(k=1)
        pools = [
            self.complete(board, gap, LookOptions(options.pool, options.pool, None, options.where)).rows for gap in gaps
        ]
        rows = np.unique(np.concatenate(pools))
        everything = board.members.join(self.members(rows))
        own, m = np.arange(len(board.rows)), len(board.rows)
        places = [m + np.searchsorted(rows, pool) for pool in pools]
        made = planning.plan(self.head, everything, own, places, list(gaps), options.k)
        looks = []
        for chosen in made:
            there = chosen[chosen >= 0]
            fit = self._fit(everything, np.concatenate([own, there]))
            picked = np.array([rows[place - m] if place >= 0 else -1 for place in chosen.tolist()], np.int64)
            looks.append(Planned(picked, float(fit.mean()) if len(fit) > 1 else 0.0, fit))
        return looks

    def explain(self, board: Board) -> Explained:
        """How well each item of a board fits the others, and which of three or more fits them least."""
        m = len(board.rows)
        if m < 2:
            return Explained(np.full(m, np.nan), None, None)
        fit = self._fit(board.members, np.arange(m))
        return Explained(fit, float(fit.mean()), int(fit.argmin()) if m > 2 else None)

    def _fit(self, members: Members, rows: np.ndarray) -> np.ndarray:
        return sets.fits(self.head, members, ItemSets.of([rows]))[0] if len(rows) > 1 else np.zeros(len(rows))

    def _query(self, board: Board, category: str | None) -> np.ndarray:
        return sets.queries(self.head, board.members, ragged([np.arange(len(board.rows))]), [category])

    def _pools(self, queries: np.ndarray, depth: int, task: Task) -> Any:
        """Rows of the best ``depth`` candidates of each query, -1 where there are fewer."""
        where = self._where(task.category, task.options.where)
        if task.category is not None and not task.options.where:
            found = self._by_category.top(self.index, task.category, queries, depth)
            if found is not None:
                return found
        return self.index.search(queries, depth, where=where)[0]

    def _where(self, category: str | None, where: Mapping[str, Any]) -> Mapping[str, Any]:
        if category is None:
            return where
        if self.column in where:
            raise BadRecipe(f"where: '{self.column}' is the gap's own column; leave it out, or leave out the gap")
        return {self.column: category, **where}

    def _ranked(self, task: Task, query: np.ndarray, rows: np.ndarray) -> Found:
        """The pool at rows (p,) by its exact scores; equal ones in order of row."""
        options = task.options
        z = self.index.vectors(rows)
        score = z.astype(np.float64) @ query.astype(np.float64)
        order = np.lexsort((rows, -score))[: options.pool]
        rows, z, score = rows[order], z[order], score[order]
        if options.mmr is None:
            best = np.arange(min(options.k, len(rows)))
        else:
            best = relevance.mmr(score, z, options.k, options.mmr)
        if task.category is not None or not self.head.takes_sets:
            slot: list[str | None] = [task.category] * len(best)
        else:
            slot = list(self.members(rows[best]).category)
        reasons = sets.with_each(self.head, task.board.members, z[best], slot)
        return Found(rows[best], score[best], reasons)
