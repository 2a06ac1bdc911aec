"""The map: the shared space in two dimensions, related pairs, columns to colour by."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from sensorium.pairs import SPLITS
from sensorium.serve.context import Context
from sensorium.serve.engine import binary, layout, related, row_version
from sensorium.serve.engine.projection import MOST_POINTS, POINTS, Maps, Method, Working
from sensorium.serve.problems import Problem, responses
from sensorium.serve.routes import map_labels, map_selection
from sensorium.serve.routes.runs import Sample, side_of, some, tables
from sensorium.table import Table, json_value
from sensorium.table.columns import kind_of, sortable, value_of

NAMED = 11  # categories with a colour of their own; the rest are "other", coded 255
OTHER = 255
MOST_ROWS = 200  # items of one answer
Generation = Annotated[str | None, Query(max_length=40)]


class MethodHere(BaseModel):
    """A way to lay the map out, and what to type where it is not installed."""

    name: str
    title: str
    installed: bool
    install: str | None


class Methods(BaseModel):
    """The ways there are."""

    methods: list[MethodHere]


def column(values: np.ndarray) -> bytes:
    """A column (n,) to colour by: float32 numbers with their range, or codes of the most frequent categories."""
    distinct, codes, counts = np.unique(sortable(values), return_inverse=True, return_counts=True)
    if values.dtype.kind in "iuf" and len(distinct) > NAMED:
        x = values.astype(np.float32)
        finite = x[np.isfinite(x)]
        low, high = np.quantile(finite, [0.01, 0.99]).tolist() if len(finite) else (0.0, 1.0)
        return binary.pack({"type": "number", "low": low, "high": high}, {"values": x})
    order = np.argsort(-counts, kind="stable")
    code = np.full(len(distinct), OTHER, np.uint8)
    code[order[:NAMED]] = np.arange(min(NAMED, len(order)))
    named = [{"name": str(distinct[i]), "count": int(counts[i])} for i in order[:NAMED]]
    header = {
        "type": "category",
        "values": named,
        "others": int(counts[order[NAMED:]].sum()),
        "distinct": len(distinct),
    }
    return binary.pack(header, {"codes": code[codes]})


def comparable(values: np.ndarray) -> np.ndarray:
    """A column (n,) as numbers or text, which can be sorted; what is missing as NaN or ""."""
    kind = kind_of(values)
    if values.dtype.kind in "biufU":
        return values
    if kind in ("integer", "boolean"):
        return np.array([np.nan if one is None else float(one) for one in values])
    texts = (json_value(value_of(one)) for one in values)
    return np.array(["" if one is None else ", ".join(map(str, one)) if kind == "list" else str(one) for one in texts])


def split_column(known: related.Related, ids: Mapping[str, Table], side: str) -> np.ndarray:
    """For each item of a side the split its pairs belong to, "" where it has none."""
    both = [table.ids for table in ids.values()]
    left, right, split = known.rows(both[0], both[-1])
    found = np.full(len(ids[side]), len(SPLITS), np.uint8)
    if side == "left":
        found[left] = split
    if side == "right" or len(both) == 1:
        found[right] = split
    return np.array([*SPLITS, ""])[found]


def routes(context: Context) -> APIRouter:
    """The routes under ``/runs/{run}/map``."""
    router = APIRouter(prefix="/runs/{run}/map", tags=["map"])
    maps, registry = Maps(), context.registry

    @router.get("", responses={200: {"content": {binary.MEDIA_TYPE: {}}}, 202: {"model": Working},
                               **responses(404, 409, 500, 501, 503)}, response_class=Response)  # fmt: skip
    async def coordinates(
        run: str,
        method: Method = "pca",
        n: Annotated[int, Query(ge=10, le=MOST_POINTS)] = POINTS,
    ) -> Response:
        """Coordinates of both sides: arrays xy (points, 2) and rows (points,), or 202 while they are worked on.

        n: points at most, of both sides together; PCA always takes all. Each side in the header has a
        ``generation``, which the routes beside this one take to be sure that a row is still the same item.
        """
        found = await maps.of(registry.get(run), method, n)
        if isinstance(found, Working):
            return Response(found.model_dump_json(), 202, {"retry-after": "1"}, "application/json")
        return Response(found, media_type=binary.MEDIA_TYPE)

    @router.get("/methods", responses=responses(404, 503))
    async def methods(run: str) -> Methods:
        """The ways to lay the map out that there are here."""
        registry.get(run)
        there = [(name, title, layout.installed(name)) for name, (_, title) in layout.METHODS.items()]
        return Methods(methods=[MethodHere(name=name, title=title, installed=ok, install=None if ok else layout.INSTALL)
                                for name, title, ok in there])  # fmt: skip

    @router.get("/pairs", responses={200: {"content": {binary.MEDIA_TYPE: {}}}, **responses(404, 410, 503)},
                response_class=Response)  # fmt: skip
    async def pairs(run: str, left: Generation = None, right: Generation = None) -> Response:
        """Related pairs as rows: arrays left (p,), right (p,) and split (p,), codes into the header's splits.

        left, right: the generations that the map was of; 410 where its rows are no longer those.
        """
        served = registry.get(run)
        known = await asyncio.to_thread(related.of, served)
        there = await tables(served)
        for side, version in (("left", left), ("right", right)):
            if version is not None and side in there:
                await asyncio.to_thread(row_version.check, served, side, there[side], version)
        both = [table.ids for table in there.values()]
        a, b, split = await asyncio.to_thread(known.rows, both[0], both[-1])
        header = {"splits": [*SPLITS, ""], "why": context.redact(known.why)}
        arrays = {"left": a.astype(np.uint32), "right": b.astype(np.uint32), "split": split.astype(np.uint8)}
        return Response(binary.pack(header, arrays), media_type=binary.MEDIA_TYPE)

    @router.get("/column", responses={200: {"content": {binary.MEDIA_TYPE: {}}}, **responses(404, 410, 503)},
                response_class=Response)  # fmt: skip
    async def one_column(
        run: str,
        name: str,
        side: Literal["left", "right"] = "left",
        version: Annotated[str | None, Query(alias="generation", max_length=40)] = None,
    ) -> Response:
        """A metadata column of every item of a side: array values (numbers) or codes (categories).

        The name ``split`` stands for the split an item was in, unless a column has that name. generation:
        that of the map's side; 410 where its rows are no longer those.
        """
        served = registry.get(run)
        side_of(served.run, side)
        there = await tables(served)
        if version is not None:
            await asyncio.to_thread(row_version.check, served, side, there[side], version)
        columns = there[side].columns
        known = served.cache.get(f"column {side} {name}")
        if known is None or known[0] is not there[side]:
            if name in columns:
                values = columns[name]
            elif name == "split":
                pairs = await asyncio.to_thread(related.of, served)
                values = await asyncio.to_thread(split_column, pairs, there, side)
            else:
                has = ", ".join([*columns, "split"])
                raise Problem(404, f"no column '{name[:100]}'; the {served.run.names[side]} side has {has}")
            known = (there[side], await asyncio.to_thread(column, values))
            served.cache[f"column {side} {name}"] = known
        return Response(known[1], media_type=binary.MEDIA_TYPE)

    @router.get("/points", responses=responses(400, 404, 410, 422, 503))
    async def points(
        run: str,
        rows: str,
        version: Annotated[str, Query(alias="generation", max_length=40, description="of this side, from the map")],
        side: Literal["left", "right"] = "left",
    ) -> Sample:
        """The items at some rows of a side, in that order: rows=3,1,4; 410 where rows are no longer what they were."""
        numbers = rows.split(",")
        if len(numbers) > MOST_ROWS or not all(one.isascii() and one.isdigit() and len(one) < 12 for one in numbers):
            raise Problem(400, f"rows must be at most {MOST_ROWS} row numbers, such as rows=3,1,4")
        return Sample(items=await some(registry.get(run), side, [int(one) for one in numbers], version))

    map_labels.add(router, context, maps)
    map_selection.add(router, context, maps)
    return router
