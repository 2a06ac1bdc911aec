"""Bodies of requests: JSON documents and forms, read within the limits of the guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from sensorium.serve.engine.inputs import run_in_thread_if_large
from sensorium.serve.problems import Problem, findings

Model = TypeVar("Model", bound=BaseModel)
_BOM = b"\xef\xbb\xbf"
_PARTS = 32  # of a form


@dataclass
class Part:
    """One part of a form."""

    name: str
    content: bytes


def media_type(request: Request) -> str:
    """The content type of a request, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def document(request: Request, model: type[Model]) -> Model:
    """A JSON body as a model. Raises a 415 or 422 problem."""
    kind = media_type(request)
    if kind != "application/json":
        raise Problem(415, f"content type '{kind[:60]}'; send application/json")
    return await parse(await request.body(), model)


async def parse(body: bytes, model: type[Model]) -> Model:
    """JSON text as a model; a byte order mark before it is allowed. Raises a 422 problem."""
    try:
        return await run_in_thread_if_large(len(body), model.model_validate_json, body.removeprefix(_BOM))
    except ValidationError as error:
        raise Problem(422, findings(error)) from None


async def form(request: Request) -> list[Part]:
    """The parts of a multipart form, in order, whether they have file names or not. Raises a 400 problem."""
    _, options = parse_options_header(request.headers.get("content-type", ""))
    parts: list[Part] = []
    headers: dict[bytes, bytes] = {}
    pending: list[bytes] = [b"", b""]  # name and value of the header that is being read
    content, whole = bytearray(), []

    def header_end() -> None:
        headers[pending[0].lower()] = pending[1]
        pending[:] = b"", b""

    def headers_finished() -> None:
        _, fields = parse_options_header(headers.get(b"content-disposition", b""))
        if b"name" not in fields:
            raise Problem(400, "the form cannot be read: a part without a name")
        if len(parts) >= _PARTS:
            raise Problem(413, f"the form has more than {_PARTS} parts")
        parts.append(Part(fields[b"name"].decode("utf-8", "replace"), b""))

    def part_begin() -> None:
        headers.clear()
        content.clear()

    def part_end() -> None:
        parts[-1].content = bytes(content)

    def collect(place: int) -> Any:
        def add(data: bytes, start: int, end: int) -> None:
            pending[place] += data[start:end]

        return add

    callbacks: Any = {
        "on_part_begin": part_begin,
        "on_part_data": lambda data, start, end: content.extend(data[start:end]),
        "on_part_end": part_end,
        "on_header_field": collect(0),
        "on_header_value": collect(1),
        "on_header_end": header_end,
        "on_headers_finished": headers_finished,
        "on_end": lambda: whole.append(True),
    }
    try:
        parser = MultipartParser(options[b"boundary"], callbacks)
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
        if not whole:
            raise ValueError("it ends before its last part does")
    except KeyError:
        raise Problem(400, "the form cannot be read: its content type names no boundary") from None
    except (FormParserError, ValueError) as error:
        raise Problem(400, f"the form cannot be read: {error}") from None
    return parts
