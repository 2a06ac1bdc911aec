"""POST /search: one input or several, to the nearest items of a side."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import StreamingResponse

from sensorium.errors import SensoriumError
from sensorium.search import mmr
from sensorium.search.query import SIDES
from sensorium.serve.engine import query as queries
from sensorium.serve.engine.decode import Decoders
from sensorium.serve.engine.query import FILES, SearchRequest, Vector
from sensorium.serve.engine.registry import Shelf
from sensorium.serve.engine.workers import Answer, Lanes, Question
from sensorium.serve.metering import Log
from sensorium.serve.problems import Problem, answered, responses, told
from sensorium.serve.settings import Settings

_LONG = 1000  # hits from which an answer is streamed
_STREAMED = 500  # hits of one piece
_FIELDS = 8  # of a form

_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/SearchRequest"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "the rest of the search, as JSON (SearchRequest)"},
                    **{name: {"type": "string", "format": "binary"} for name in FILES},
                },
            }
        },
    },
}


def endpoint(
    shelf: Shelf, settings: Settings, decoders: Decoders, log: Log
) -> Callable[[Request], Awaitable[Response]]:
    """The function that answers searches."""

    async def search(request: Request) -> Response:
        start = time.perf_counter()
        question, files = await read(request)
        shown = shelf.get(question.run)
        if question.k > settings.max_k or (question.pool or 0) > settings.max_k:
            raise Problem(422, f"k or pool is {max(question.k, question.pool or 0)}; at most {settings.max_k}")
        lanes: Lanes = shown.lanes
        if settings.log_queries:
            texts = [one.text for one in question.queries or [question] if one.text]
            log.line("info", "query", run=lanes.name, text=texts, k=question.k)
        vectors = await understood(question, files, lanes, settings, decoders)
        answer, direction, to = await asked(question, vectors, lanes)
        return respond(question, answer, direction, to, lanes, start)

    return search


def routes(function: Callable[[Request], Awaitable[Response]]) -> APIRouter:
    """The route of searches, which documents them; :class:`Shortcut` answers most."""
    router = APIRouter()
    router.add_api_route(
        "/search",
        function,
        methods=["POST"],
        tags=["search"],
        summary="Find the nearest items",
        response_class=Response,
        openapi_extra={"requestBody": _BODY},
        responses={
            200: {
                "description": "The nearest items, best first",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SearchResponse"}}},
            },
            **responses(400, 404, 409, 413, 415, 422, 503),
        },
    )
    return router


class Shortcut:
    """ASGI that takes the busiest request, POST to one path, straight to its function, and all others to the app.

    FastAPI's routing and dependencies would cost as much as the search; its documentation stays.
    """

    def __init__(self, app: Any, path: str, function: Callable[[Request], Awaitable[Response]]) -> None:
        self.app, self.path, self.function = app, path, function

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http" or scope["path"] != self.path or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        scope["route"] = self  # by whose path requests are counted
        try:
            response = await self.function(Request(scope, receive))
        except (Problem, SensoriumError) as error:
            response = answered(error)
        await response(scope, receive, send)


async def read(request: Request) -> tuple[SearchRequest, dict[str, bytes]]:
    """A request's question and uploaded files, from JSON or a form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        body = await request.body()
        return await queries.aside(len(body), parse, body), {}
    if kind != "multipart/form-data":
        raise Problem(415, f"content type '{kind[:60]}'; send application/json or multipart/form-data")
    files: dict[str, bytes] = {}
    text: Any = "{}"
    try:
        parser = MultiPartParser(request.headers, request.stream(), max_files=len(FILES), max_fields=_FIELDS)
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Problem(400, f"the form cannot be read: {getattr(error, 'message', error)}") from None
    try:
        for name, value in form.multi_items():
            if name == "query" and isinstance(value, str):
                text = value
            elif name in FILES and isinstance(value, UploadFile):
                files[name] = await value.read()
            else:
                raise Problem(422, f"form field '{name[:60]}'; expected query (JSON) and files {', '.join(FILES)}")
    finally:
        await form.close()
    return await queries.aside(len(text), parse, text.encode("utf-8", "replace")), files


def parse(body: bytes) -> SearchRequest:
    """The question of a JSON body. Raises a 422 problem."""
    try:
        return SearchRequest.model_validate_json(body)
    except ValidationError as error:
        raise Problem(422, told(error)) from None


async def understood(
    question: SearchRequest, files: dict[str, bytes], lanes: Lanes, settings: Settings, decoders: Decoders
) -> list[Vector]:
    """Every input of a question as numbers."""
    if question.queries is None:
        single = [n for n in queries.INPUTS if getattr(question, n) is not None]
        if len(single) + len(files) != 1:
            named = ", ".join([*single, *files]) or "none"
            raise Problem(400, f"give exactly one of {', '.join(queries.INPUTS)}, or several in queries; got {named}")
        name, value = next(iter(files.items())) if files else queries.given(question)
        return [await queries.vector_of(name, value, question.from_, 1.0, lanes, settings, decoders)]
    if any(getattr(question, name) is not None for name in queries.INPUTS):
        raise Problem(400, "give one input, or several in queries, not both")
    if len(question.queries) + len(files) > settings.max_queries:
        raise Problem(413, f"{len(question.queries) + len(files)} inputs; at most {settings.max_queries}")
    inputs = [(*queries.given(one), one.from_ or question.from_, one.weight) for one in question.queries]
    inputs += [(name, content, question.from_, 1.0) for name, content in files.items()]
    return await queries.gathered([queries.vector_of(*one, lanes, settings, decoders) for one in inputs])


async def asked(question: SearchRequest, vectors: list[Vector], lanes: Lanes) -> tuple[Answer, str, str]:
    """The answer to a question, its direction, and the side that was searched."""
    sides = {vector.side for vector in vectors}
    if question.space == "encoder":
        return await _asked_raw(question, vectors, lanes)
    one_table = len(lanes.sides) == 1
    if one_table:
        to, direction = "left", "left->right"
    elif len(sides) == 1:
        (side,) = sides
        to = question.to or SIDES[1 - SIDES.index(side)]
        direction = f"{side}->{to}"
    elif question.to is None:
        raise Problem(400, "the inputs belong to both sides; say which side to search with to: left or right")
    else:
        to, direction = question.to, f"both->{question.to}"
    if to not in lanes.sides:
        raise Problem(400, f"run '{lanes.name}' has no {to} side")
    exclude = frozenset(v.id for v in vectors if v.id is not None and (v.side == to or one_table))
    common = _common(question, exclude, direction)
    only = vectors[0]
    if question.queries is None and only.query is None:
        answer = await lanes.search(to, Question(raw=only.raw, side=only.side, **common))
    else:
        query = only.query if question.queries is None else await queries.combined(vectors, lanes)
        answer = await lanes.search(to, Question(query=query, **common))
    return answer, direction, to


async def _asked_raw(question: SearchRequest, vectors: list[Vector], lanes: Lanes) -> tuple[Answer, str, str]:
    if len(vectors) > 1 or question.queries is not None:
        raise Problem(400, "space=encoder takes one input; the encoders of two sides have nothing in common")
    (only,) = vectors
    if question.to not in (None, only.side):
        raise Problem(400, f"space=encoder searches the input's own side, {only.side}; leave out to")
    lane, raw = lanes.sides[only.side].lane, only.raw
    if only.id is not None:
        raw = (await lane.do(lambda: lanes.raw_vectors(only.side, [only.id])))[0]
    if raw is None:
        raise Problem(422, "the input is a sequence of frames, which are not compared raw; leave out space")
    exclude = frozenset() if only.id is None else frozenset((only.id,))
    common = _common(question, exclude, f"{only.side}->{only.side}")
    answer = await lanes.search_raw(only.side, Question(raw=raw, side=only.side, **{**common, "corrected": False}))
    return answer, f"{only.side}->{only.side}", only.side


def _common(question: SearchRequest, exclude: frozenset[str], direction: str) -> dict[str, Any]:
    return {
        "k": question.k,
        "where": question.where,
        "exclude": exclude,
        "direction": direction,
        "corrected": question.corrected,
        "mmr": question.mmr,
        "pool": question.pool or mmr.POOL * question.k,
    }


def respond(question: SearchRequest, answer: Answer, direction: str, to: str, lanes: Lanes, start: float) -> Response:
    """An answer as JSON; a long one in pieces."""
    head = {
        "run": lanes.name,
        "direction": direction,
        "to": to,
        "corrected": answer.corrected,
        "space": question.space,
        "no_match": no_match(question, answer, direction, lanes),
        "took_ms": round(1000 * (time.perf_counter() - start), 3),
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


def no_match(question: SearchRequest, answer: Answer, direction: str, lanes: Lanes) -> bool | None:
    """Whether the best hit is below the score that answers must have; None where the run does not know."""
    known = lanes.run.trust.get(direction)
    told = known.get("no_match") if known else None
    meant = question.space == "head" and (answer.corrected or direction not in lanes.run.corrections)
    if not told or not meant or answer.best is None or told["score"] is None:
        return None
    return bool(answer.best < told["score"])
