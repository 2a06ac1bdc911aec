"""Nearest prompts of faces, and their places on the map: projected, searched and placed in one call of the index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sensorium.errors import SensoriumError
from sensorium.search.query import Input, Options, Query, no_match, resolve
from sensorium.search.query import search as ranked_hits
from sensorium.search.ranking import Ranked
from sensorium.serve.engine.placing import Placer, placer
from sensorium.serve.engine.projection import POINTS, Maps
from sensorium.serve.engine.registry import ServedRun
from sensorium.serve.problems import Problem
from sensorium.table import Table, json_value

_TEXTS = ("text", "prompt", "label", "name")  # columns, the first of which says what an item of the other side is


@dataclass(frozen=True)
class Near:
    """What is near to one face: z (d,), its projected vector; prompts, the nearest first; place [x, y] on the map."""

    z: np.ndarray
    prompts: list[dict[str, Any]]
    no_match: bool | None
    place: list[float] | None


@dataclass(frozen=True)
class Target:
    """The side of a run that faces are compared with."""

    served: ServedRun
    side: str
    query: Query

    @property
    def table(self) -> Table:
        """The items that are searched."""
        return self.served.run.index(self.query.to).table


def target(served: ServedRun, side: str, k: int) -> Target:
    """What is searched by the faces of a run, whose side is ``side``: ``k`` nearest items of the other side."""
    return Target(served, side, resolve(served.run, [Input(side)], Options(max(1, k))))


async def near(target: Target, vectors: np.ndarray, k: int, place: Placer | None) -> list[Near]:
    """What is near to perception vectors (n, 1441): one call in the thread of the searched side's index."""
    searching = target.served.workers.sides[target.query.to].searching
    return await searching.do(partial(_near, target, vectors, k, place))


def _near(target: Target, vectors: np.ndarray, k: int, place: Placer | None) -> list[Near]:
    run = target.served.run
    z = run.project(target.side, vectors)
    places: Sequence[Any] = [None] * len(z) if place is None else np.round(place(z).astype(np.float64), 4).tolist()
    if not k:
        return [Near(z[i], [], None, places[i]) for i in range(len(z))]
    ranked = ranked_hits(run, z, [target.query] * len(z))
    table, name = target.table, text_column(target.table)
    return [
        Near(z[i], _prompts(table, name, one), no_match(run, target.query, one.best), places[i])
        for i, one in enumerate(ranked)
    ]


def text_column(table: Table) -> str | None:
    """The column that says in words what an item is; None where there is none."""
    return next((name for name in _TEXTS if name in table.columns), None)


def _prompts(table: Table, name: str | None, ranked: Ranked) -> list[dict[str, Any]]:
    found = []
    for place, (row, score) in enumerate(zip(ranked.rows.tolist(), ranked.scores.tolist(), strict=True)):
        id = str(table.ids[row])
        text = id if name is None else json_value(table.metadata(row)[name])
        hit = {"id": id, "text": str(text), "score": round(score, 4)}
        if ranked.probability is not None:
            hit["probability"] = round(float(ranked.probability[place]), 4)
        found.append(hit)
    return found


class Placers:
    """What places faces on the maps of served runs; made once for each version of a run and of its items."""

    def __init__(self) -> None:
        self._maps = Maps()

    async def get(self, served: ServedRun, side: str, method: str) -> Placer | None:
        """The placer of a map; None while the map is being computed, and where there can be none."""
        tables = tuple(served.run.index(one).table for one in served.run.sides)
        key = f"place {side} {method}"
        known = served.cache.get(key)
        if known is not None and all(a is b for a, b in zip(known[0], tables, strict=True)):
            return known[1]
        try:
            made = await placer(self._maps, served, method, POINTS, side)
        except (Problem, SensoriumError):
            made, known = None, (tables, None)  # a side without items, or a method that is not installed
            served.cache[key] = known
            return None
        if made is not None:
            served.cache[key] = (tables, made)
        return made
