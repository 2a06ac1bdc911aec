"""Errors as RFC 9457 problem documents: what was wrong, what was expected, what to send."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from sensorium import errors

MEDIA_TYPE = "application/problem+json"
#: The status of each error that a caller can correct.
STATUS: dict[type[errors.SensoriumError], int] = {
    errors.BadRecipe: 400,
    errors.BadData: 422,
    errors.Mismatch: 409,
    errors.Busy: 409,
    errors.Corrupt: 503,
    errors.DatabaseError: 503,
    errors.DiskFull: 507,
    errors.ReadOnly: 503,
    errors.MissingExtra: 501,
}
_LONGEST = 2000  # characters of a detail; a request may have sent megabytes of a wrong name
_SHOWN = 3  # findings of a refused document that are listed
_OBJECT = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")


class ProblemDocument(BaseModel):
    """What every error is answered with (RFC 9457)."""

    type: str = Field("about:blank", description="kind of problem; about:blank means what the status says")
    title: str = Field(description="the status in words")
    status: int = Field(description="the HTTP status again")
    detail: str = Field(description="what was wrong, what was expected, what to send")


class Problem(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


def document(status: int, detail: str) -> bytes:
    """The JSON of a problem."""
    return orjson.dumps(
        {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": _printable(detail)}
    )


def respond(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """A problem as a response."""
    return Response(document(status, detail), status, headers, MEDIA_TYPE)


async def refuse_socket(send: Any, status: int, detail: str) -> None:
    """Answer a WebSocket that is not accepted with a problem document."""
    headers = [(b"content-type", MEDIA_TYPE.encode())]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": document(status, detail)})


def findings(error: ValidationError | RequestValidationError) -> str:
    """What a refused document had wrong, the first findings of it."""
    found = error.errors() if isinstance(error, RequestValidationError) else error.errors(include_url=False)
    lines = []
    for one in found[:_SHOWN]:
        where = ".".join(str(step) for step in one["loc"] if step != "body")
        lines.append(f"{where}: {one['msg']}" if where else str(one["msg"]))
    more = f" (and {len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
    return "; ".join(lines) + more + "; see /openapi.json for what is expected"


class Redactor:
    """Takes out of messages what is no client's business: folders of this machine and addresses of objects.

    folders: run folders by name; each is shown by its name.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        names: dict[str, str] = {}
        for name, folder in folders.items():
            for path in (folder, folder.resolve()):
                names[str(path)] = name
                names.setdefault(str(path.parent), "…")
        for private in (Path.home(), Path(tempfile.gettempdir()), Path(sys.prefix), Path.cwd()):
            if len(private.parts) > 1:
                names.setdefault(str(private), "…")
        order = sorted(names, key=len, reverse=True)
        self._names, self._paths = names, re.compile("|".join(f"{re.escape(one)}(?![\\w-])" for one in order))

    def __call__(self, text: str) -> str:
        """The message without them."""
        return _OBJECT.sub("the input", self._paths.sub(lambda found: self._names[found[0]], text))

    def problem(self, error: errors.SensoriumError) -> Problem:
        """The problem that one of our own errors is."""
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 400)
        return Problem(status, self(str(error)))

    def response(self, error: Problem | errors.SensoriumError) -> Response:
        """One of these errors as a response."""
        problem = error if isinstance(error, Problem) else self.problem(error)
        return respond(problem.status, self(problem.detail), problem.headers)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that may answer with these problems."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in statuses
    }


def install(app: FastAPI, redact: Redactor) -> None:
    """Answer every error of an application with a problem document."""

    async def known_error(request: Request, error: Problem | errors.SensoriumError) -> Response:
        return redact.response(error)

    async def refused(request: Request, error: RequestValidationError | ValidationError) -> Response:
        return respond(422, findings(error))

    async def http(request: Request, error: HTTPException) -> Response:
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return respond(error.status_code, detail, dict(error.headers or {}))

    app.add_exception_handler(Problem, known_error)
    app.add_exception_handler(errors.SensoriumError, known_error)
    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(ValidationError, refused)
    app.add_exception_handler(HTTPException, http)


def _printable(text: str) -> str:
    """Text that JSON can carry, of bounded length: lone surrogates, which no encoding has, are written as escapes."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
