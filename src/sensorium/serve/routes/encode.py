"""POST /encode, and the same in the shape of OpenAI's embeddings: vectors of texts, pictures and sounds."""

from __future__ import annotations

import base64
import time
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sensorium.search.query import side_of as input_side
from sensorium.serve.engine import query
from sensorium.serve.engine.decode import Decoders
from sensorium.serve.engine.query import Name, Side
from sensorium.serve.engine.registry import Shelf
from sensorium.serve.engine.workers import Lanes
from sensorium.serve.problems import Problem, responses, told
from sensorium.serve.settings import Settings

_KINDS = ("text", "image", "audio", "face")
Text = Annotated[str, Field(min_length=1)]


class EncodeRequest(BaseModel):
    """Things of one kind to encode: texts, or files in base64."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: Name | None = Field(None, description="name of the run; needed when several are served")
    side: Side | None = Field(None, description="needed when both sides take this kind")
    text: list[Text] | None = Field(None, min_length=1)
    image: list[str] | None = Field(None, min_length=1)
    audio: list[str] | None = Field(None, min_length=1)
    face: list[str] | None = Field(None, min_length=1)
    space: Literal["head", "encoder"] = Field("head", description="the shared space, or the encoder's own")


class EncodeResponse(BaseModel):
    """The vectors, in order."""

    vectors: list[list[float]]
    dim: int
    encoder: dict[str, Any] = Field(description="fingerprint of what made them")


class EmbeddingsRequest(BaseModel):
    """What OpenAI's clients send. model: the name of a run, or NAME:left, NAME:right."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: Name
    input: Text | Annotated[list[Text], Field(min_length=1)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, description="refused unless it is the width that the run has")
    user: str | None = None


class Embedding(BaseModel):
    """One vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """What was read; characters stand for tokens, which not every encoder has."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """What OpenAI's clients expect."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: Usage


def routes(shelf: Shelf, settings: Settings, decoders: Decoders) -> APIRouter:
    """The routes that encode."""
    router = APIRouter(tags=["encode"])

    @router.post(
        "/encode",
        summary="Vectors of texts, pictures or sounds",
        response_class=Response,
        openapi_extra=_body("EncodeRequest"),
        responses={200: _answer("EncodeResponse"), **responses(400, 404, 413, 415, 422, 503)},
    )
    async def encode(request: Request) -> Response:
        asked = await document(request, EncodeRequest)
        kinds = [kind for kind in _KINDS if getattr(asked, kind) is not None]
        if len(kinds) != 1:
            raise Problem(400, f"give exactly one of {', '.join(_KINDS)}; got {', '.join(kinds) or 'none'}")
        lanes: Lanes = shelf.get(asked.run).lanes
        side = side_of(lanes, asked.side, kinds[0])
        values = getattr(asked, kinds[0])
        vectors = await encoded(kinds[0], values, side, asked.space, lanes, settings, decoders)
        found = {
            "vectors": vectors,
            "dim": vectors.shape[1],
            "encoder": {key: str(value) for key, value in lanes.run.fingerprint(side).items()},
        }
        return Response(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    @router.post(
        "/v1/embeddings",
        summary="Vectors of texts, in OpenAI's shape",
        response_class=Response,
        openapi_extra=_body("EmbeddingsRequest"),
        responses={200: _answer("EmbeddingsResponse"), **responses(400, 404, 413, 415, 422, 503)},
    )
    async def embeddings(request: Request) -> Response:
        started = time.perf_counter()
        asked = await document(request, EmbeddingsRequest)
        name, _, side = (
            asked.model.rpartition(":") if asked.model.endswith((":left", ":right")) else (asked.model, "", "")
        )
        if name not in shelf.folders:
            raise Problem(404, f"no model '{asked.model[:100]}'; models are runs: {', '.join(shelf.names)}")
        lanes: Lanes = shelf.get(name).lanes
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        vectors = await encoded("text", texts, side_of(lanes, side or None, "text"), "head", lanes, settings, decoders)
        if asked.dimensions not in (None, vectors.shape[1]):
            raise Problem(400, f"dimensions={asked.dimensions}; run '{name}' makes {vectors.shape[1]}, leave it out")
        packed: Any = list(vectors)
        if asked.encoding_format == "base64":
            packed = [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
        size = sum(map(len, texts))
        found = {
            "object": "list",
            "model": asked.model,
            "data": [{"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(packed)],
            "usage": {"prompt_tokens": size, "total_tokens": size},
        }
        took = {"openai-processing-ms": f"{1000 * (time.perf_counter() - started):.0f}"}
        return Response(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY), 200, took, "application/json")

    return router


def _body(model: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _answer(model: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"description": "The vectors", "content": {"application/json": {"schema": schema}}}


async def document(request: Request, model: type[Any]) -> Any:
    """A JSON body as a model. Raises a 415 or 422 problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, f"content type '{kind[:60]}'; send application/json")
    try:
        body = await request.body()
        return await query.aside(len(body), model.model_validate_json, body)
    except ValidationError as error:
        raise Problem(422, told(error)) from None


def side_of(lanes: Lanes, side: str | None, kind: str) -> str:
    """The side to encode for. Raises a 400 problem when the run has it not, or several would do."""
    side = side or input_side(lanes.run, kind, None)
    if side not in lanes.sides:
        raise Problem(400, f"run '{lanes.name}' has no {side} side; both sides are one table: left")
    return side


async def encoded(
    kind: str, values: list[str], side: str, space: str, lanes: Lanes, settings: Settings, decoders: Decoders
) -> np.ndarray:
    """Values as (n, d) in the shared space, or as (n, d_in) in the encoder's own."""
    if len(values) > settings.max_encode:
        raise Problem(413, f"{len(values)} items; at most {settings.max_encode}")
    raw = await query.gathered([query.encoded(kind, value, side, lanes, settings, decoders) for value in values])
    if space == "head":
        return await lanes.sides[side].encoding.do(
            lambda: np.concatenate([lanes.run.project_one(side, one) for one in raw])
        )
    if raw[0].ndim == 2:
        raise Problem(422, f"the {side} encoder makes a sequence of frames of an item; ask for space: head")
    return np.stack(raw)
