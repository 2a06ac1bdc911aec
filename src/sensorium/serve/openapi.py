"""The OpenAPI document, with the bodies that routes read without FastAPI."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from sensorium.serve.context import Context
from sensorium.serve.engine.requests import SearchResponse
from sensorium.serve.problems import MEDIA_TYPE, ProblemDocument
from sensorium.serve.routes.encode import EmbeddingsRequest, EmbeddingsResponse, EncodeResponse

#: Answers whose routes write JSON themselves.
ANSWERS = (SearchResponse, EncodeResponse, EmbeddingsResponse, ProblemDocument)
_METHODS = ("get", "post", "put", "delete", "patch")


def document(app: FastAPI, context: Context) -> dict[str, Any]:
    """The document of an application."""
    if app.openapi_schema:
        return app.openapi_schema
    found = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        servers=app.servers or None,
    )
    bodies = (context.documents.search, context.documents.item, context.documents.encode, EmbeddingsRequest)
    models = [(model, "validation") for model in bodies] + [(model, "serialization") for model in ANSWERS]
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    known = found.setdefault("components", {}).setdefault("schemas", {})
    known |= schemas["$defs"]
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)
    refused = {"description": "Unprocessable Content", "content": {MEDIA_TYPE: {"schema": _ref("ProblemDocument")}}}
    for path in found["paths"].values():
        for method in _METHODS:
            answers = path.get(method, {}).get("responses", {})
            if "422" in answers:
                answers["422"] = refused
    if context.settings.token is not None:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    app.openapi_schema = found
    return found


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
