"""Items by id: reading one; adding and removing while serving, durable before the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from sensorium import modalities
from sensorium.search import journal
from sensorium.serve.bodies import document
from sensorium.serve.context import Context
from sensorium.serve.engine import inputs, related
from sensorium.serve.engine.registry import ServedRun
from sensorium.serve.engine.requests import RunQuery, Side, SideQuery
from sensorium.serve.engine.workers import Workers
from sensorium.serve.problems import Problem, responses
from sensorium.serve.settings import Settings

_RELATED = 100  # related items of one item, at most
_MEDIA_BYTES = 4 << 20  # largest uploaded file that is stored to be shown
_COLUMNS = 200  # of one added item


class Item(BaseModel):
    """An item of a run."""

    id: str
    side: Side
    kind: Literal["image", "audio", "text", "none"] = Field(description="what the item is shown as")
    media: str | None = Field(description="where its picture or sound can be fetched")
    columns: dict[str, Any]


class ItemPage(Item):
    """An item and its related items."""

    partners: list[Item] = Field(description="related items of the other side, by the run's stored pairs")
    partners_unknown: str | None = Field(None, description="why related items are unknown, where they are")


class Added(BaseModel):
    """An item was added."""

    id: str
    items: int = Field(description="how many items the side has now")


_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewItem"}}},
}


def routes(context: Context) -> APIRouter:
    """The routes of items."""
    registry, settings = context.registry, context.settings
    router = APIRouter(tags=["items"])

    @router.get("/items/{id:path}", summary="One item", responses=responses(400, 404, 422, 503))
    async def item(
        id: str,
        run: RunQuery = None,
        side: SideQuery = None,
    ) -> ItemPage:
        served = registry.get(run)
        at = await side_of(served.workers, side, id)
        related, why = await _related(served, at, id)
        unknown = context.redact(why) or None
        return ItemPage(**await _item(served.workers, at, id), partners=related, partners_unknown=unknown)

    @router.post(
        "/items",
        status_code=201,
        summary="Add an item, durably",
        openapi_extra={"requestBody": _BODY},
        responses=responses(400, 404, 408, 409, 413, 415, 422, 503, 507),
    )
    async def add(request: Request) -> Added:
        new = await document(request, context.documents.item)
        workers = registry.get(new.run).workers
        if new.side not in workers.sides:
            raise Problem(400, f"run '{workers.name}' has no {new.side} side; both sides are one table: left")
        change = await change_of(new, workers, context)
        items = await workers.sides[new.side].searching.do(
            lambda: put(workers, new.side, change, new.replace, settings)
        )
        return Added(id=new.id, items=items)

    @router.delete(
        "/items/{id:path}",
        status_code=204,
        summary="Remove an item, durably",
        response_class=Response,
        responses=responses(400, 404, 422, 503, 507),
    )
    async def remove(
        id: str,
        run: RunQuery = None,
        side: SideQuery = None,
    ) -> Response:
        workers = registry.get(run).workers
        at = await side_of(workers, side, id)
        await workers.sides[at].searching.do(lambda: put(workers, at, journal.Change(id), True, settings))
        return Response(status_code=204)

    return router


async def side_of(workers: Workers, side: str | None, id: str) -> str:
    """The side that has an item. Raises a 404 problem, or 400 when both have."""
    return (await inputs.stored(workers, side, id))[0]


async def _item(workers: Workers, side: str, id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        row = workers.run.places(side).row(id)
        return None if row < 0 else workers.item(side, row)

    found = await workers.sides[side].searching.do(look)
    if found is None:
        raise Problem(404, f"no item '{id}' on the {side} side of run '{workers.name}'")
    return found


async def _related(served: ServedRun, side: str, id: str) -> tuple[list[Item], str]:
    """The related items of an item, and why they are unknown where they are."""
    workers = served.workers

    def look(at: str, ids: list[str]) -> list[dict[str, Any]]:
        return [workers.item(at, row) for row in workers.run.places(at).rows(ids).tolist() if row >= 0]

    pairs = await asyncio.to_thread(related.of, served)
    known = await asyncio.to_thread(pairs.of, side, id, len(workers.sides) == 1)
    found = []
    for at in workers.sides:
        ids = [one for where, one in known[:_RELATED] if where == at]
        found += [Item(**one) for one in await workers.sides[at].searching.do(lambda at=at, ids=ids: look(at, ids))]
    return found, pairs.why


async def change_of(new: Any, workers: Workers, context: Context) -> journal.Change:
    """A new item with its encoder's vector and its media. Raises problems for what cannot be added."""
    name, value = new.single("vector")
    run, side, columns = workers.run, new.side, dict(new.columns)
    media_type, content = "", b""
    if name == "vector":
        vector = inputs.as_vector(value, context.settings)
        inputs.check_width(vector, run.head(side).dim_in, side)
    elif not modalities.find(name).is_file:
        inputs.check_text(value, context.settings)
        columns.setdefault(name, value)
        vector = await inputs.encode(name, value, side, workers, context)
    else:
        content = await inputs.content_of(name, value)
        inputs.check_takes(name, side, workers)
        decoded = await inputs.decode(name, content, context)
        media_type, vector = decoded.media_type, await workers.encode(side, decoded.value)
        if len(content) > _MEDIA_BYTES:
            media_type, content = "", b""
    check_columns(columns, context.settings)
    if not np.isfinite(vector).all() or not vector.any():
        raise Problem(422, f"the {side} encoder makes no usable vector of this {name}")
    return journal.Change(new.id, vector, columns, journal.digest(run.fingerprint(side)), media_type, content)


def check_columns(columns: Mapping[str, Any], settings: Settings) -> None:
    """Raise a 413 problem for more or longer values than a journal takes."""
    if len(columns) > _COLUMNS:
        raise Problem(413, f"{len(columns)} columns; at most {_COLUMNS}")
    most = max(settings.max_column, settings.max_text)
    for name, value in columns.items():
        limit = most if name == "text" else settings.max_column
        if isinstance(value, str) and len(value) > limit:
            raise Problem(413, f"column '{name[:60]}' of {len(value)} characters; at most {limit}")


def put(workers: Workers, side: str, change: journal.Change, replace: bool, settings: Settings) -> int:
    """Make a change durable and apply it; returns how many items there are. In the thread of the side's index."""
    run = workers.run
    index, changes = run.index(side), run.journals[side]
    run.apply(side, changes.read())  # those of other processes
    there = change.id in run.places(side)
    if change.vector is None and not there:
        raise Problem(404, f"no item '{change.id}' on the {side} side of run '{workers.name}'")
    if there and not replace:
        raise Problem(409, f"the {side} side of run '{workers.name}' has an item '{change.id}'; send replace: true")
    known = index.table.columns
    unknown = [name for name in change.columns if name not in known and name != "text"]
    if unknown and len(index.table):
        raise Problem(422, f"columns: no column '{unknown[0]}'; this side has {', '.join(known) or 'none'}")
    run.commit(side, change)
    if changes.size > settings.journal_bytes:
        workers.compact(side)
    return len(index)
