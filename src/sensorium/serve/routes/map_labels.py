"""Labels of the map: dense regions and what is typical of their items."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from sensorium.serve.context import Context
from sensorium.serve.engine import binary, map_labels, presentation, related
from sensorium.serve.engine.projection import MOST_POINTS, POINTS, Maps, Method, Working
from sensorium.serve.engine.registry import ServedRun
from sensorium.serve.problems import responses
from sensorium.serve.routes.runs import tables
from sensorium.table import Table, json_value
from sensorium.table.columns import missing, value_of

_CLASSES = 50  # distinct values of a column up to which it says classes


class Label(BaseModel):
    """A region: the middle of its densest cell, its words or class, how many points it has."""

    x: float
    y: float
    text: str
    count: int
    level: Literal[0, 1] = Field(description="0: one of few large regions, 1: of many small ones")


class Labels(BaseModel):
    """All labelled regions, and the column of each side that they were made from."""

    columns: dict[str, str]
    labels: list[Label]


def column_of(served: ServedRun, side: str, table: Table, named: str = "") -> str | None:
    """The column that labels a side: the named one, the display column, else the first with few values; or None."""
    if named in table.columns:
        return named
    display = presentation.display_column(table, presentation.options(served.run).column_of(side))
    if display is not None:
        return display
    return next((name for name in table.columns if 1 < len(set(values_of(table, name))) <= _CLASSES), None)


def values_of(table: Table, name: str, most: int | None = None) -> list[str]:
    """The values of a column as text, "" where they are missing."""
    values = table.columns[name][:most]
    texts = [json_value(value_of(one)) for one in values]
    return ["" if gone else str(one) for one, gone in zip(texts, missing(values).tolist(), strict=True)]


def documents(
    there: Mapping[str, Table], columns: Mapping[str, str], known: related.Related
) -> tuple[dict[str, list[list[str]]], bool]:
    """The words of every item by side, or its class alone; whether they are classes. Blocking.

    A side without a column of its own takes the words of the first related item of the other side.
    """
    texts = {side: values_of(there[side], name) for side, name in columns.items()}
    is_class = bool(texts) and all(len(set(found)) <= min(_CLASSES, len(found) // 2) for found in texts.values())
    made = {side: [[one] if one else [] for one in found] if is_class else [*map(map_labels.words, found)]
            for side, found in texts.items()}  # fmt: skip
    sides = list(there)
    if len(sides) == 2 and len(made) == 1:
        (has,) = made
        other = sides[1 - sides.index(has)]
        pairs = dict(zip(sides, known.rows(there[sides[0]].ids, there[sides[1]].ids)[:2], strict=True))
        made[other] = [[] for _ in range(len(there[other]))]
        for mine, theirs in zip(pairs[other].tolist()[::-1], pairs[has].tolist()[::-1], strict=True):
            made[other][mine] = made[has][theirs]
    return made, is_class


def compute(served: ServedRun, there: Mapping[str, Table], body: bytes, named: str) -> Labels:
    """The labels of a map. Blocking."""
    header, arrays = binary.unpack(body)
    columns = {
        side: name for side, table in there.items() if (name := column_of(served, side, table, named)) is not None
    }
    if not columns:
        return Labels(columns={}, labels=[])
    words, is_class = documents(there, columns, related.of(served))
    xy, rows = arrays["xy"], arrays["rows"]
    of_point: list[list[str]] = []
    for one in header["sides"]:
        mine = words.get(one["name"], [])
        some = rows[one["start"] : one["start"] + one["points"]].tolist()
        of_point += [mine[row] if row < len(mine) else [] for row in some]
    read = map_labels.sampled(len(xy))
    chosen = of_point if isinstance(read, slice) else [of_point[i] for i in read.tolist()]
    found = map_labels.labelled(xy[read], chosen, is_class)
    return Labels(columns=columns, labels=[Label(**vars(one)) for one in found])


def add(router: APIRouter, context: Context, maps: Maps) -> None:
    """Add the route to those of the map."""

    @router.get("/labels", responses={202: {"model": Working}, **responses(404, 409, 500, 501, 503)},
                response_model=Labels)  # fmt: skip
    async def labels(
        run: str,
        method: Method = "pca",
        n: Annotated[int, Query(ge=10, le=MOST_POINTS)] = POINTS,
        column: Annotated[str, Query(max_length=200)] = "",
    ) -> Labels | Response:
        """Labels of the map's regions: words that are typical of a text column, or the class that most items have.

        column: what they are made from; without it the column that names items. 202 while the map is worked on.
        """
        served = context.registry.get(run)
        body = await maps.of(served, method, n)
        if isinstance(body, Working):
            return Response(body.model_dump_json(), 202, {"retry-after": "1"}, "application/json")
        there = await tables(served)
        key, known = (hash(body), column), served.cache.get("labels")
        if known is None or known[0] != key:
            known = served.cache["labels"] = (key, await asyncio.to_thread(compute, served, there, body, column))
        return known[1]
