"""Selections of the map: the rows that pass a filter, and points with their coordinates as a file."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from sensorium.serve.context import Context
from sensorium.serve.engine import binary, row_version
from sensorium.serve.engine.projection import MOST_POINTS, POINTS, Maps, Method, Working
from sensorium.serve.problems import Problem, responses
from sensorium.serve.routes.runs import side_of, tables
from sensorium.table import Table, json_value
from sensorium.table.columns import value_of

_PIECE = 1000  # lines that are sent at a time
Side = Literal["left", "right"]


class Filter(BaseModel):
    """Which items of a side: those of some ids, or as ``where`` of a search."""

    side: Side = "left"
    ids: Annotated[list[str], Field(max_length=10_000)] | None = Field(None, description="in place of where")
    where: dict[str, Any] = Field(default_factory=dict)
    generation: str | None = Field(None, max_length=40, description="of this side, from the map")


class Export(BaseModel):
    """Which points of a map, and as which kind of file."""

    method: Method = "pca"
    n: Annotated[int, Field(ge=10, le=MOST_POINTS)] = POINTS
    format: Literal["csv", "json"] = "csv"
    rows: dict[Side, list[Annotated[int, Field(ge=0)]]] | None = Field(
        None, description="by side; null for every point"
    )
    generations: dict[Side, str] = Field(default_factory=dict, description="of the sides that rows are of")


def lines(there: Mapping[str, Table], header: Mapping[str, Any], arrays: Mapping[str, np.ndarray],
          rows: Mapping[str, list[int]] | None) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The points of a map one by one: side, id, x, y and every column; those of some rows in the rows' order."""
    for one in header["sides"]:
        name, table = one["name"], there[one["name"]]
        at = slice(one["start"], one["start"] + one["points"])
        places = dict(zip(arrays["rows"][at].tolist(), arrays["xy"][at].tolist(), strict=True))
        for row in places if rows is None else rows.get(name, []):
            if row in places and row < len(table):
                x, y = places[row]
                columns = {key: json_value(value_of(values[row])) for key, values in table.columns.items()}
                yield {"side": name, "id": str(table.ids[row]), "x": round(x, 5), "y": round(y, 5), "columns": columns}


def pieces(points: Iterator[dict[str, Any]], names: list[str], format: str) -> Iterator[bytes]:
    """The lines as a CSV table with a heading, or as one JSON array of objects."""
    if format == "json":
        before = b"["
        while some := list(itertools.islice(points, _PIECE)):
            yield before + b",\n".join(map(orjson.dumps, some))
            before = b",\n"
        yield b"]\n" if before != b"[" else b"[]\n"
        return
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(["side", "id", "x", "y", *names])
    for count, point in enumerate(points, 1):
        of = point["columns"]
        table.writerow([point["side"], point["id"], point["x"], point["y"], *(_cell(of.get(name)) for name in names)])
        if count % _PIECE == 0:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def _cell(value: Any) -> Any:
    return "; ".join(map(str, value)) if isinstance(value, list) else value


def add(router: APIRouter, context: Context, maps: Maps) -> None:
    """Add the routes to those of the map."""
    registry = context.registry

    @router.post("/rows", responses={200: {"content": {binary.MEDIA_TYPE: {}}}, **responses(400, 404, 410, 422, 503)},
                 response_class=Response)  # fmt: skip
    async def rows(run: str, body: Filter) -> Response:
        """The rows of a side whose items pass a filter: array rows (m,), ascending; 410 where rows have changed.

        Those of ids come in the order of the ids, without the unknown ones.
        """
        served = registry.get(run)
        side_of(served.run, body.side)
        table = (await tables(served))[body.side]
        if body.generation is not None:
            await asyncio.to_thread(row_version.check, served, body.side, table, body.generation)
        if body.ids is not None:
            found = np.array([table.rows[one] for one in body.ids if one in table.rows], np.uint32)
        else:
            found = np.flatnonzero(await asyncio.to_thread(table.where, body.where)).astype(np.uint32)
        return Response(binary.pack({"items": len(table)}, {"rows": found}), media_type=binary.MEDIA_TYPE)

    @router.post("/export", response_class=Response,
                 responses={200: {"content": {"text/csv": {}, "application/json": {}}},
                            202: {"model": Working}, **responses(404, 409, 410, 422, 500, 501, 503)})  # fmt: skip
    async def export(run: str, body: Export) -> Response:
        """Points with side, id, coordinates and columns, as CSV or JSON; 202 while the map is worked on.

        rows: those of some points; with generations, 410 where rows are no longer what they were.
        """
        served = registry.get(run)
        found = await maps.of(served, body.method, body.n)
        if isinstance(found, Working):
            return Response(found.model_dump_json(), 202, {"retry-after": "1"}, "application/json")
        there = await tables(served)
        for side in body.rows or {}:
            if side not in there:
                raise Problem(404, f"no side '{side}'; this run has {' and '.join(there)}")
            version = body.generations.get(side)
            if version is not None:
                await asyncio.to_thread(row_version.check, served, side, there[side], version)
        header, arrays = binary.unpack(found)
        names = list(dict.fromkeys(name for table in there.values() for name in table.columns))
        points = pieces(lines(there, header, arrays, body.rows), names, body.format)

        async def sent() -> AsyncIterator[bytes]:
            while (piece := await asyncio.to_thread(next, points, None)) is not None:
                yield piece

        kind = "text/csv; charset=utf-8" if body.format == "csv" else "application/json"
        name = f'attachment; filename="map.{body.format}"'
        return StreamingResponse(sent(), media_type=kind, headers={"content-disposition": name})
