"""GET /media/{id}: what an item looks like or sounds like, by id only."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import xxhash
from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse

from sensorium.serve.engine.query import RunQuery, SideQuery
from sensorium.serve.engine.registry import Shelf
from sensorium.serve.engine.workers import Lanes
from sensorium.serve.problems import Problem, responses
from sensorium.serve.routes.items import side_of
from sensorium.serve.settings import Settings

_FRESH = 60  # seconds a browser may show its copy without asking


def routes(shelf: Shelf, settings: Settings) -> APIRouter:
    """The route of pictures and sounds."""
    router = APIRouter(tags=["items"])

    @router.get(
        "/media/{id:path}",
        summary="The picture or sound of an item",
        response_class=Response,
        responses={
            200: {"description": "The picture or sound", "content": {"image/*": {}, "audio/*": {}}},
            206: {"description": "The part that was asked for", "content": {"audio/*": {}, "image/*": {}}},
            304: {"description": "Unchanged"},
            **responses(400, 404, 416, 422, 503),
        },
    )
    async def media(
        request: Request,
        id: str,
        run: RunQuery = None,
        side: SideQuery = None,
    ) -> Response:
        lanes: Lanes = shelf.get(run).lanes
        at = await side_of(lanes, side, id)
        found = await lanes.sides[at].lane.do(lambda: lanes.media(at, id))  # where live changes are made, too
        if found is None:
            raise Problem(404, f"run '{lanes.name}' keeps nothing to show of item '{id}'")
        kind, content = found
        return await respond(request, kind, content)

    return router


async def respond(request: Request, kind: str, content: bytes | Path) -> Response:
    """Bytes or a file as an answer, or the part of it that was asked for."""
    headers = {"cache-control": f"private, max-age={_FRESH}", "content-disposition": "inline"}
    if isinstance(content, Path):
        stat = await asyncio.to_thread(os.stat, content)
        return FileResponse(
            content, media_type=kind, headers=headers, stat_result=stat, content_disposition_type="inline"
        )
    headers |= {"etag": f'"{xxhash.xxh3_64_hexdigest(content)}"', "accept-ranges": "bytes"}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range")
    part = None if asked is None else _part(asked, len(content))
    if part is None:
        return Response(content, media_type=kind, headers=headers)
    if part.start >= part.stop:
        raise Problem(
            416, f"range {asked[:60]!r} of {len(content)} bytes", {"content-range": f"bytes */{len(content)}"}
        )
    headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{len(content)}"
    return Response(content[part], 206, headers, kind)


def _part(asked: str, size: int) -> slice | None:
    """The slice of a Range header of one range; None for what is not understood, which is then ignored."""
    unit, _, ranges = asked.partition("=")
    first, dash, last = ranges.strip().partition("-")
    if unit.strip() != "bytes" or not dash or len(asked) > 60:
        return None
    if not (first + last).isascii() or not (first + last).isdigit():
        return None
    if not first:
        return slice(max(0, size - int(last)), size)
    return slice(int(first), min(size, int(last) + 1) if last else size)
