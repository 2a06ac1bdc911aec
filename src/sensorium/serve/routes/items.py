"""Items by id: reading one; adding and removing while serving, durable before the answer."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from sensorium.search import journal
from sensorium.serve.bodies import document, media_type
from sensorium.serve.context import Context
from sensorium.serve.engine import additions, inputs, related
from sensorium.serve.engine.registry import ServedRun
from sensorium.serve.engine.requests import RunQuery, Side, SideQuery
from sensorium.serve.engine.workers import Workers
from sensorium.serve.problems import Problem, responses
from sensorium.serve.routes import bulk

_RELATED = 100  # related items of one item, at most


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


_ITEM = {"$ref": "#/components/schemas/NewItem"}
_BODY = {
    "required": True,
    "description": "One item; or, as JSON lines, a stream of any number of items",
    "content": {"application/json": {"schema": _ITEM}, bulk.MEDIA_TYPES[0]: {"schema": _ITEM}},
}
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"model": bulk.BulkAdded, "description": "Every item of a stream was added"},
    207: {"model": bulk.BulkAdded, "description": "Some items of a stream were added, some were not"},
}


def routes(context: Context) -> APIRouter:
    """The routes of items."""
    registry, settings = context.registry, context.settings
    router = APIRouter(tags=["items"])

    def put(workers: Workers, side: str, change: journal.Change, replace: bool) -> int:
        additions.catch_up(workers, side)
        additions.check(workers, side, change, replace)
        return additions.put(workers, side, [change], settings)

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
        summary="Add items, durably: one, or a stream of JSON lines",
        response_model=Added,
        openapi_extra={"requestBody": _BODY},
        responses={**_STREAMED, **responses(400, 404, 408, 409, 413, 415, 422, 503, 507)},
    )
    async def add(
        request: Request,
        atomic: Annotated[bool, Query(description="of a stream: add all of its items, or none")] = False,
    ) -> Any:
        if media_type(request) in bulk.MEDIA_TYPES:
            return await bulk.add(request, context, atomic)
        new = await document(request, context.documents.item)
        workers = registry.get(new.run).workers
        change = await additions.change_of(new, workers, context)
        items = await workers.sides[new.side].searching.do(lambda: put(workers, new.side, change, new.replace))
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
        await workers.sides[at].searching.do(lambda: put(workers, at, journal.Change(id), True))
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
        raise Problem(404, f"no item '{id}' on the {workers.run.names[side]} side of run '{workers.name}'")
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
