"""GET /media/{id}: the picture or sound of an item, by id only."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import xxhash
from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse

from sensorium import modalities
from sensorium.serve.context import Context
from sensorium.serve.engine.requests import RunQuery, SideQuery
from sensorium.serve.problems import Problem, responses
from sensorium.serve.routes.items import side_of

_FRESH = 60  # seconds a browser may show its copy without revalidation
#: Headers of files that came with a run: a browser that opens one by itself executes and loads nothing.
SANDBOX = {"content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"}


def routes(context: Context) -> APIRouter:
    """The route of pictures and sounds."""
    router, registry = APIRouter(tags=["items"]), context.registry

    @router.get(
        "/media/{id:path}",
        summary="The picture or sound of an item",
        response_class=Response,
        responses={
            200: {"description": "The picture or sound", "content": {"image/*": {}, "audio/*": {}}},
            206: {"description": "The requested range", "content": {"audio/*": {}, "image/*": {}}},
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
        workers = registry.get(run).workers
        at = await side_of(workers, side, id)
        found = await workers.sides[at].searching.do(lambda: workers.media(at, id))  # the thread of live changes
        if found is None:
            raise Problem(404, f"run '{workers.name}' has no picture or sound of item '{id}'")
        kind, content = found
        if kind not in modalities.served_types():  # a browser would execute text/html or a script of somebody's run
            raise Problem(404, f"the media of item '{id}' are of a type that is not served")
        return await respond(request, kind, content)

    return router


async def respond(request: Request, kind: str, content: bytes | Path) -> Response:
    """Bytes or a file as an answer, or the requested range of it."""
    headers = {"cache-control": f"private, max-age={_FRESH}", "content-disposition": "inline", **SANDBOX}
    if isinstance(content, Path):
        stat = await asyncio.to_thread(os.stat, content)
        return FileResponse(
            content, media_type=kind, headers=headers, stat_result=stat, content_disposition_type="inline"
        )
    headers |= {"etag": f'"{xxhash.xxh3_64_hexdigest(content)}"', "accept-ranges": "bytes"}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    span = request.headers.get("range")
    part = None if span is None else _part(span, len(content))
    if part is None:
        return Response(content, media_type=kind, headers=headers)
    if part.start >= part.stop:
        raise Problem(416, f"range {span[:60]!r} of {len(content)} bytes", {"content-range": f"bytes */{len(content)}"})
    headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{len(content)}"
    return Response(content[part], 206, headers, kind)


def _part(span: str, size: int) -> slice | None:
    """The slice of a Range header of one range; None for any other, which is ignored."""
    unit, _, ranges = span.partition("=")
    first, dash, last = ranges.strip().partition("-")
    if unit.strip() != "bytes" or not dash or len(span) > 60:
        return None
    if not (first + last).isascii() or not (first + last).isdigit():
        return None
    if not first:
        return slice(max(0, size - int(last)), size)
    return slice(int(first), min(size, int(last) + 1) if last else size)
