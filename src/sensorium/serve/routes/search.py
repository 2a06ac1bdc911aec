"""POST /search: one input or several, to the nearest items of a side."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from sensorium.errors import SensoriumError
from sensorium.search.query import Query, no_match
from sensorium.serve import bodies
from sensorium.serve.context import Context
from sensorium.serve.engine.query import count_facets, encode_inputs, has_input, run_query
from sensorium.serve.engine.requests import SearchRequest
from sensorium.serve.engine.workers import SearchAnswer, Workers
from sensorium.serve.mounting import own_path
from sensorium.serve.problems import Problem, Redactor, responses

_LONG = 1000  # hits from which an answer is streamed
_STREAMED = 500  # hits of one piece


def endpoint(context: Context) -> Callable[[Request], Awaitable[Response]]:
    """The function that answers searches."""
    registry, settings, log = context.registry, context.settings, context.log

    async def search(request: Request) -> Response:
        start = time.perf_counter()
        body, files = await read(request, context)
        workers = registry.get(body.run).workers
        if body.k > settings.max_k or (body.pool or 0) > settings.max_k:
            raise Problem(422, f"k or pool is {max(body.k, body.pool or 0)}; at most {settings.max_k}")
        if body.k * body.collapse_size > settings.max_k:
            raise Problem(422, f"k × collapse_size is {body.k * body.collapse_size}; at most {settings.max_k}")
        if settings.log_queries:
            texts = [value for one in body.queries or [body] for value in one.inputs().values()]
            log.line("info", "query", run=workers.name, text=texts, k=body.k)
        if body.facets and not has_input(body, files):
            to, facets = await count_facets(body, workers)
            return respond(body, SearchAnswer([], None), None, workers, start, to, facets)
        vectors = await encode_inputs(body, files, workers, context)
        answer, resolved = await run_query(body, vectors, workers)
        facets = (await count_facets(body, workers, resolved.to))[1] if body.facets else None
        return respond(body, answer, resolved, workers, start, resolved.to, facets)

    return search


def routes(context: Context, function: Callable[[Request], Awaitable[Response]]) -> APIRouter:
    """The route of searches, which documents them; :class:`Shortcut` answers most."""
    router = APIRouter()
    form = {
        "query": {"type": "string", "description": "the rest of the search, as JSON (SearchRequest)"},
        **{name: {"type": "string", "format": "binary"} for name in context.documents.files},
    }
    body = {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/SearchRequest"}},
            "multipart/form-data": {"schema": {"type": "object", "properties": form}},
        },
    }
    router.add_api_route(
        "/search",
        function,
        methods=["POST"],
        tags=["search"],
        summary="Find the nearest items",
        response_class=Response,
        openapi_extra={"requestBody": body},
        responses={
            200: {
                "description": "The nearest items, best first",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SearchResponse"}}},
            },
            **responses(400, 404, 408, 409, 413, 415, 422, 503),
        },
    )
    return router


class Shortcut:
    """ASGI that takes the busiest request, POST to one path, straight to its function, and all others to the app.

    FastAPI's routing and dependencies would cost as much as the search; its documentation stays.
    """

    def __init__(
        self, app: Any, path: str, function: Callable[[Request], Awaitable[Response]], redact: Redactor
    ) -> None:
        self.app, self.path, self.function, self.redact = app, path, function, redact

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http" or own_path(scope) != self.path or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        scope["route"] = self  # by whose path requests are counted
        try:
            response = await self.function(Request(scope, receive))
        except (Problem, SensoriumError) as error:
            response = self.redact.response(error)
        await response(scope, receive, send)


async def read(request: Request, context: Context) -> tuple[SearchRequest, dict[str, bytes]]:
    """The search of a request, from JSON or a form, and its uploaded files by modality. Raises problems."""
    kind, documents = bodies.media_type(request), context.documents
    if kind == "application/json":
        return await bodies.parse(await request.body(), documents.search), {}
    if kind != "multipart/form-data":
        raise Problem(415, f"content type '{kind[:60]}'; send application/json or multipart/form-data")
    found: dict[str, bytes] = {}
    for part in await bodies.form(request):
        if part.name not in ("query", *documents.files):
            files = ", ".join(documents.files)
            raise Problem(422, f"form field '{part.name[:60]}'; expected query (JSON) and files {files}")
        if part.name in found:
            raise Problem(422, f"form field '{part.name}' is there twice; send several inputs as JSON, in queries")
        found[part.name] = part.content
    return await bodies.parse(found.pop("query", b"{}"), documents.search), found


def respond(
    request: SearchRequest,
    answer: SearchAnswer,
    query: Query | None,
    workers: Workers,
    start: float,
    to: str,
    facets: dict[str, Any] | None = None,
) -> Response:
    """An answer as JSON; a long one in pieces. query: None for facets without an input."""
    head = {
        "run": workers.name,
        "direction": query.direction if query else None,
        "to": to,
        "corrected": bool(query and query.corrected),
        "space": request.space,
        "took_ms": round(1000 * (time.perf_counter() - start), 3),
        "no_match": no_match(workers.run, query, answer.best) if query else None,
        **({} if facets is None else {"facets": facets}),
    }
    opening = orjson.dumps(head)[:-1] + b',"hits":['
    if len(answer.hits) < _LONG:
        return Response(opening + b",".join(answer.hits) + b"]}", media_type="application/json")

    async def pieces() -> AsyncIterator[bytes]:
        yield opening
        for first in range(0, len(answer.hits), _STREAMED):
            yield (b"," if first else b"") + b",".join(answer.hits[first : first + _STREAMED])
        yield b"]}"

    return StreamingResponse(pieces(), media_type="application/json")
