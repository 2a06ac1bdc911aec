"""Items by id: what is known of one, and adding and removing while serving, durable before it is answered."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sensorium.search import journal
from sensorium.serve.engine import query, related
from sensorium.serve.engine.decode import Decoders, Undecodable
from sensorium.serve.engine.query import Input, Name, Number, RunQuery, Side, SideQuery, Whole
from sensorium.serve.engine.registry import Shelf, Shown
from sensorium.serve.engine.workers import Lanes
from sensorium.serve.problems import Problem, responses, told
from sensorium.serve.settings import Settings

_PARTNERS = 100  # of one item, that are told
_KEPT_MEDIA = 4 << 20  # bytes of an uploaded picture or sound that is kept to be shown

Id = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Item(BaseModel):
    """An item of a run."""

    id: str
    side: Side
    kind: Literal["image", "audio", "text", "none"] = Field(description="what the item is shown as")
    media: str | None = Field(description="where its picture or sound can be fetched")
    columns: dict[str, Any]


class ItemPage(Item):
    """An item, and the items of the other side that belong to it, where the run knows them."""

    partners: list[Item]


class NewItem(Input):
    """An item to add: what it is (text, a file in base64, or a vector), and its columns."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    id: Id = Field(description="a new id, or one to replace")
    run: Name | None = Field(None, description="name of the run; needed when several are served")
    side: Side = Field(description="the side to add to")
    columns: dict[Name, str | bool | Whole | Number] = Field(
        default_factory=dict, description="values of the side's columns; what is left out is empty"
    )
    replace: bool = Field(False, description="take the place of an item that has this id")


class Added(BaseModel):
    """An item was added."""

    id: str
    items: int = Field(description="how many items the side has now")


_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewItem"}}},
}


def routes(shelf: Shelf, settings: Settings, decoders: Decoders) -> APIRouter:
    """The routes of items."""
    router = APIRouter(tags=["items"])

    @router.get("/items/{id:path}", summary="One item", responses=responses(400, 404, 422, 503))
    async def item(
        id: str,
        run: RunQuery = None,
        side: SideQuery = None,
    ) -> ItemPage:
        shown = shelf.get(run)
        at = await side_of(shown.lanes, side, id)
        return ItemPage(**await _item(shown.lanes, at, id), partners=await _partners(shown, at, id))

    @router.post(
        "/items",
        status_code=201,
        summary="Add an item, durably",
        openapi_extra={"requestBody": _BODY},
        responses=responses(400, 404, 409, 413, 415, 422, 503, 507),
    )
    async def add(request: Request) -> Added:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Problem(415, f"content type '{kind[:60]}'; send application/json")
        try:
            body = await request.body()
            new = await query.aside(len(body), NewItem.model_validate_json, body)
        except ValidationError as error:
            raise Problem(422, told(error)) from None
        lanes: Lanes = shelf.get(new.run).lanes
        if new.side not in lanes.sides:
            raise Problem(400, f"run '{lanes.name}' has no {new.side} side; both sides are one table: left")
        change = await _change(new, lanes, settings, decoders)
        items = await lanes.sides[new.side].lane.do(lambda: put(lanes, new.side, change, new.replace, settings))
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
        lanes: Lanes = shelf.get(run).lanes
        at = await side_of(lanes, side, id)
        await lanes.sides[at].lane.do(lambda: put(lanes, at, journal.Change(id), True, settings))
        return Response(status_code=204)

    return router


async def side_of(lanes: Lanes, side: str | None, id: str) -> str:
    """The side that has an item. Raises a 404 problem, or 400 when both have."""
    return (await query.stored(lanes, side, id))[0]


async def _item(lanes: Lanes, side: str, id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        row = lanes.run.places(side).row(id)
        return None if row < 0 else lanes.item(side, row)

    found = await lanes.sides[side].lane.do(look)
    if found is None:
        raise Problem(404, f"no item '{id}' on the {side} side of run '{lanes.name}'")
    return found


async def _partners(shown: Shown, side: str, id: str) -> list[Item]:
    lanes: Lanes = shown.lanes

    def look(at: str, ids: list[str]) -> list[dict[str, Any]]:
        return [lanes.item(at, row) for row in lanes.run.places(at).rows(ids).tolist() if row >= 0]

    known = await asyncio.to_thread(lambda: related.of(shown).of(side, id, len(lanes.sides) == 1))
    found = []
    for at in lanes.sides:
        ids = [one for where, one in known[:_PARTNERS] if where == at]
        found += [Item(**one) for one in await lanes.sides[at].lane.do(lambda at=at, ids=ids: look(at, ids))]
    return found


async def _change(new: NewItem, lanes: Lanes, settings: Settings, decoders: Decoders) -> journal.Change:
    """A new item with its encoder's vector and what it looks like. Raises problems for what cannot be added."""
    name, value = query.given(new, ("text", "image", "audio", "face", "vector"))
    run, side, columns = lanes.run, new.side, dict(new.columns)
    media_type, content = "", b""
    if name == "vector":
        vector = query.as_vector(value, settings)
        query.check_width(vector, run.head(side).dim_in, side)
    else:
        if name == "text":
            columns.setdefault("text", value)
        else:
            content = await query.aside(len(value), query.unpacked, value, name)
            try:
                _, media_type = await decoders.decode(name, content)
            except Undecodable as error:
                raise Problem(422, str(error)) from None
            if len(content) > _KEPT_MEDIA:
                media_type, content = "", b""
        vector = await query.encoded(name, value, side, lanes, settings, decoders)
    if not np.isfinite(vector).all() or not vector.any():
        raise Problem(422, f"the {side} encoder makes no usable vector of this {name}")
    return journal.Change(new.id, vector, columns, journal.digest(run.fingerprint(side)), media_type, content)


def put(lanes: Lanes, side: str, change: journal.Change, replace: bool, settings: Settings) -> int:
    """Make a change durable and apply it; returns how many items there are. In the thread of the side's index."""
    run = lanes.run
    index, kept = run.index(side), run.journals[side]
    run.apply(side, kept.read())  # what another process wrote
    there = change.id in run.places(side)
    if change.vector is None and not there:
        raise Problem(404, f"no item '{change.id}' on the {side} side of run '{lanes.name}'")
    if there and not replace:
        raise Problem(409, f"the {side} side of run '{lanes.name}' has an item '{change.id}'; send replace: true")
    known = index.table.columns
    unknown = [name for name in change.columns if name not in known and name != "text"]
    if unknown and len(index.table):
        raise Problem(422, f"columns: no column '{unknown[0]}'; this side has {', '.join(known) or 'none'}")
    run.apply(side, [*kept.append([change]), change])
    if kept.size > settings.journal_bytes:
        lanes.compact(side)
    return len(index)
