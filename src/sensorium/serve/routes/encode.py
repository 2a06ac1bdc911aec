"""POST /encode, and the same in the shape of OpenAI's embeddings: vectors of texts, pictures and sounds."""

from __future__ import annotations

import base64
import time
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from sensorium.search.query import side_of as input_side
from sensorium.serve.bodies import document
from sensorium.serve.context import Context
from sensorium.serve.engine import inputs
from sensorium.serve.engine.requests import Name, Text
from sensorium.serve.engine.workers import Workers
from sensorium.serve.problems import Problem, responses


class EncodeResponse(BaseModel):
    """The vectors, in order."""

    vectors: list[list[float]]
    dim: int
    encoder: dict[str, Any] = Field(description="fingerprint of the encoder")


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
    """Usage in characters, which stand for tokens that not every encoder has."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """What OpenAI's clients expect."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: Usage


def routes(context: Context) -> APIRouter:
    """The routes that encode."""
    registry, settings = context.registry, context.settings
    router = APIRouter(tags=["encode"])

    @router.post(
        "/encode",
        summary="Vectors of texts, pictures or sounds",
        response_class=Response,
        openapi_extra=_body("EncodeRequest"),
        responses={200: _answer("EncodeResponse"), **responses(400, 404, 408, 413, 415, 422, 503)},
    )
    async def encode(request: Request) -> Response:
        body = await document(request, context.documents.encode)
        every = context.documents.modalities
        kinds = [kind for kind in every if getattr(body, kind) is not None]
        if len(kinds) != 1:
            raise Problem(400, f"give exactly one of {', '.join(every)}; got {', '.join(kinds) or 'none'}")
        workers = registry.get(body.run).workers
        side = side_of(workers, body.side, kinds[0])
        values = getattr(body, kinds[0])
        vectors = await encode_all(kinds[0], values, side, body.space, workers)
        found = {
            "vectors": vectors,
            "dim": vectors.shape[1],
            "encoder": {key: str(value) for key, value in workers.run.fingerprint(side).items()},
        }
        return Response(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    @router.post(
        "/v1/embeddings",
        summary="Vectors of texts, in OpenAI's shape",
        response_class=Response,
        openapi_extra=_body("EmbeddingsRequest"),
        responses={200: _answer("EmbeddingsResponse"), **responses(400, 404, 408, 413, 415, 422, 503)},
    )
    async def embeddings(request: Request) -> Response:
        started = time.perf_counter()
        body = await document(request, EmbeddingsRequest)
        name, _, side = body.model.rpartition(":") if body.model.endswith((":left", ":right")) else (body.model, "", "")
        if name not in registry.folders:
            raise Problem(404, f"no model '{body.model[:100]}'; models are runs: {', '.join(registry.names)}")
        workers = registry.get(name).workers
        texts = [body.input] if isinstance(body.input, str) else body.input
        vectors = await encode_all("text", texts, side_of(workers, side or None, "text"), "head", workers)
        if body.dimensions not in (None, vectors.shape[1]):
            raise Problem(400, f"dimensions={body.dimensions}; run '{name}' makes {vectors.shape[1]}, leave it out")
        embeddings: Any = list(vectors)
        if body.encoding_format == "base64":
            embeddings = [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
        size = sum(map(len, texts))
        found = {
            "object": "list",
            "model": body.model,
            "data": [{"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(embeddings)],
            "usage": {"prompt_tokens": size, "total_tokens": size},
        }
        took = {"openai-processing-ms": f"{1000 * (time.perf_counter() - started):.0f}"}
        return Response(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY), 200, took, "application/json")

    async def encode_all(kind: str, values: list[str], side: str, space: str, workers: Workers) -> np.ndarray:
        """Values as (n, d) in the shared space, or as (n, d_in) in the encoder's own."""
        if len(values) > settings.max_encode:
            raise Problem(413, f"{len(values)} items; at most {settings.max_encode}")
        raw = await inputs.gather([inputs.encode(kind, value, side, workers, context) for value in values])
        if space == "head":
            return await workers.sides[side].encoding.do(
                lambda: np.concatenate([workers.run.project_one(side, one) for one in raw])
            )
        if raw[0].ndim == 2:
            called = workers.run.names[side]
            raise Problem(422, f"the {called} encoder makes a sequence of frames of an item; ask for space: head")
        return np.stack(raw)

    return router


def _body(model: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _answer(model: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"description": "The vectors", "content": {"application/json": {"schema": schema}}}


def side_of(workers: Workers, side: str | None, kind: str) -> str:
    """The side to encode for. Raises a 400 problem when the run has it not, or several would do."""
    side = side or input_side(workers.run, kind, None)
    if side not in workers.sides:
        raise Problem(400, f"run '{workers.name}' has no {side} side; both sides are one table: left")
    return side
