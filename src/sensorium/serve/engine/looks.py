"""Looks and similar items of a served run, answered in batches in the thread of the side's index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sensorium.errors import BadData, SensoriumError
from sensorium.search.looks import CATEGORY, Board, LookOptions, Looks, Task
from sensorium.serve.engine.batching import Batcher
from sensorium.serve.engine.workers import Workers
from sensorium.serve.problems import Problem

SPACES = ("encoder", "head")


@dataclass(frozen=True)
class Gap:
    """One gap of a look to fill. vectors (v, d_in), with their categories: of items that are not in the index."""

    ids: Sequence[str]
    category: str | None
    options: LookOptions
    vectors: np.ndarray | None = None
    categories: Sequence[str | None] | None = None


@dataclass(frozen=True)
class Similar:
    """The k items most like one, by the encoder's own vectors or by the head's."""

    id: str
    k: int
    space: str
    where: Mapping[str, Any] = field(default_factory=dict)


class Answer(NamedTuple):
    """Rows, ids and scores, best first; reasons (c, m) of a look's candidates."""

    rows: np.ndarray
    ids: list[str]
    scores: np.ndarray
    reasons: np.ndarray | None = None


def looks(workers: Workers, side: str, column: str = CATEGORY) -> Looks:
    """A side's items as parts of looks. Raises BadRecipe where no such column is."""
    return _known(workers, side, column)[0]


def complete(workers: Workers, side: str, gap: Gap, column: str = CATEGORY) -> Any:
    """The :class:`Answer` to one gap: an awaitable. Raises a 404 problem for an unknown id."""
    return _known(workers, side, column)[1].submit(gap)


def similar(workers: Workers, side: str, asked: Similar) -> Any:
    """The :class:`Answer` of the items most like one: an awaitable. Raises a 404 problem for an unknown id."""
    key = side, ""
    if key not in workers.looks:
        workers.looks[key] = _batcher(workers, side, partial(_similar, workers, side))
    return workers.looks[key].submit(asked)


def board_of(found: Looks, workers: Workers, gap: Gap) -> Board:
    """The board of a request. Raises a 404 problem for an unknown id."""
    _check_ids(workers, found.side, gap.ids)
    return found.board(gap.ids, gap.vectors, gap.categories)


def _known(workers: Workers, side: str, column: str) -> tuple[Looks, Batcher]:
    key = side, column
    if key not in workers.looks:
        found = Looks(workers.run, side, column, workers.raw[side])
        workers.looks[key] = found, _batcher(workers, side, partial(_complete, workers, found))
    return workers.looks[key]


def _batcher(workers: Workers, side: str, answer: Any) -> Batcher:
    """Batches in the thread of the side's index, of the same size as searches."""
    searching = workers.sides[side].searching
    return Batcher(answer, searching.most, searching.wait, searching.thread)


def _complete(workers: Workers, found: Looks, gaps: Sequence[Gap]) -> list[Any]:
    answers: list[Any] = [None] * len(gaps)
    tasks: list[tuple[int, Task]] = []
    for at, gap in enumerate(gaps):
        try:
            tasks.append((at, Task(board_of(found, workers, gap), gap.category, gap.options)))
        except (Problem, SensoriumError) as error:
            answers[at] = error
    ids = found.index.table.ids
    done = found.complete_many([task for _, task in tasks]) if tasks else []
    for (at, _), one in zip(tasks, done, strict=True):
        answers[at] = Answer(one.rows, ids[one.rows].tolist(), one.scores, one.reasons)
    return answers


def _similar(workers: Workers, side: str, asked: Sequence[Similar]) -> list[Any]:
    """The answers to several; those of one space and filter are one pass of its index."""
    answers: list[Any] = [None] * len(asked)
    groups: dict[tuple[str, str], list[int]] = {}
    for at, one in enumerate(asked):
        try:
            _check_ids(workers, side, [one.id])
        except Problem as problem:
            answers[at] = problem
        else:
            groups.setdefault((one.space, repr(sorted(one.where.items()))), []).append(at)
    for (space, _), places in groups.items():
        index = workers.raw_index(side) if space == "encoder" else workers.run.index(side)
        own = workers.run.places(side).rows([asked[at].id for at in places])
        vectors = index.vectors(own)
        if not vectors.any(axis=1).all():
            raise BadData("an item without a vector of the encoder has no neighbours there; type: space=head")
        depth = min(max(asked[at].k for at in places) + 1, max(1, len(index)))
        rows, scores = index.search(vectors, depth, where=asked[places[0]].where)
        for at, mine, row, score in zip(places, own.tolist(), rows, scores, strict=True):
            keep = np.flatnonzero((row >= 0) & (row != mine))[: asked[at].k]
            answers[at] = Answer(row[keep], index.table.ids[row[keep]].tolist(), score[keep])
    return answers


def _check_ids(workers: Workers, side: str, ids: Sequence[str]) -> None:
    places = workers.run.places(side)
    for id in ids:
        if id not in places:
            raise Problem(404, f"no item '{id}' on the {workers.run.names[side]} side of run '{workers.name}'")
