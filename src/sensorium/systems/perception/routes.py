"""Routes of live faces: ``WS /faces``, ``GET /faces`` (what is there), ``POST /faces`` (one picture, or numbers)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from sensorium.errors import SensoriumError
from sensorium.modalities.face.layout import EMOTIONS, POINTS, WIDTH
from sensorium.serve import bodies
from sensorium.serve.context import Context
from sensorium.serve.engine.inputs import content_of
from sensorium.serve.problems import Problem, responses
from sensorium.systems.perception import generation_routes, model_routes, runs, session
from sensorium.systems.perception.frames import Frames
from sensorium.systems.perception.limits import FaceLimits
from sensorium.systems.perception.messages import Frame
from sensorium.systems.perception.requests import Asked, FacesAbout, FacesAnswer, FacesRequest
from sensorium.systems.perception.session import Service, Session
from sensorium.systems.perception.socket import Sockets

_TOLD = ("streams", "faces", "prompts", "bytes", "pixels", "seconds", "idle")  # limits that a client is told
_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": FacesRequest.model_json_schema(ref_template="#/components/schemas/{model}")},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "the rest of the request, as JSON"},
                    "image": {"type": "string", "format": "binary"},
                },
            }
        },
    },
}


def routes(context: Context) -> APIRouter:
    """The routes of live faces, for every run that takes them."""
    limits = FaceLimits()
    service = Service(context, limits, Frames(context, limits))

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        warming = asyncio.create_task(session.warm_quietly(service))
        yield
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
        await service.frames.close()

    router = APIRouter(tags=["faces"], lifespan=lifespan)
    router.include_router(generation_routes.routes(context))
    router.add_api_websocket_route("/faces", Sockets(service).connect)
    router.include_router(model_routes.routes(context))

    @router.get("/faces", summary="Runs that take faces, what reads their pictures, and what is missing")
    async def about() -> FacesAbout:
        found, lost = [], runs.others(context.registry)
        for served, _ in runs.fitting(context.registry):
            try:
                found.append(session.about(await session.choose(service, Asked(run=served.name)), context.redact))
            except (Problem, SensoriumError) as error:
                lost[served.name] = context.redact(str(error))
        told = {name: getattr(limits, name) for name in _TOLD}
        why = None if found else runs.nothing(context.registry)
        return FacesAbout(emotions=list(EMOTIONS), points=POINTS, runs=found, others=lost, why=why, limits=told)

    @router.post(
        "/faces",
        summary="The faces of one picture, their emotions and nearest prompts",
        response_model=FacesAnswer,
        openapi_extra={"requestBody": _BODY},
        responses=responses(400, 404, 408, 409, 413, 415, 422, 501, 503),
    )
    async def faces(request: Request) -> Any:
        start = time.perf_counter()
        asked, image = await _read(request)
        frame = await _frame(asked, image, limits)
        one = Session(service, asked, await session.choose(service, asked))
        body = await one.answer(frame, start, 0, context.settings.max_pixels)
        return Response(body, media_type="application/json")

    return router


async def _read(request: Request) -> tuple[FacesRequest, bytes | None]:
    """The request, from JSON or a form, and an uploaded picture. Raises problems."""
    kind = bodies.media_type(request)
    if kind == "application/json":
        return await bodies.parse(await request.body(), FacesRequest), None
    if kind != "multipart/form-data":
        raise Problem(415, f"content type '{kind[:60]}'; send application/json or multipart/form-data")
    found: dict[str, bytes] = {}
    for part in await bodies.form(request):
        if part.name not in ("query", "image") or part.name in found:
            raise Problem(422, f"form field '{part.name[:60]}'; expected query (JSON) and image (a file), each once")
        found[part.name] = part.content
    return await bodies.parse(found.get("query", b"{}"), FacesRequest), found.get("image")


async def _frame(asked: FacesRequest, image: bytes | None, limits: FaceLimits) -> Frame:
    """The one input of a request as a frame. Raises a 400, 413 or 422 problem."""
    given = {"image": asked.image or image, "landmarks": asked.landmarks, "vectors": asked.vectors}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1 or (asked.image and image):
        raise Problem(400, f"give exactly one of {', '.join(given)}; got {', '.join(named) or 'none'}")
    if named == ["image"]:
        return Frame(0, 0, picture=await content_of("image", given["image"]))  # type: ignore[arg-type]
    rows, shape = given[named[0]], (POINTS, 3) if named == ["landmarks"] else (WIDTH,)
    if len(rows) > limits.faces:  # type: ignore[arg-type]
        raise Problem(413, f"{len(rows)} faces; at most {limits.faces}")  # type: ignore[arg-type]
    wrong = [len(row) for row in rows if len(row) != shape[0]]  # type: ignore[union-attr]
    if wrong:
        raise Problem(422, f"{named[0]}: a face of {wrong[0]} entries; expected {' x '.join(map(str, shape))} numbers")
    with np.errstate(over="ignore"):
        numbers = np.array(rows, np.float32).reshape(-1, *shape)
    if not np.isfinite(numbers).all():
        raise Problem(422, f"{named[0]}: holds numbers beyond float32; send finite ones")
    return Frame(0, 0, **{named[0]: numbers})
