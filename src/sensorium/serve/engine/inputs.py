"""Inputs of requests as vectors: base64 and files decoded, then encoded in batches."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import modalities
from sensorium.modalities import Decoded
from sensorium.search import joined
from sensorium.search.query import side_of
from sensorium.serve.engine.decode import Undecodable
from sensorium.serve.engine.workers import Workers
from sensorium.serve.problems import Problem
from sensorium.serve.settings import Settings
from sensorium.types import Pictured

if TYPE_CHECKING:
    from sensorium.search.run import Run
    from sensorium.serve.context import Context

_MANY = 1 << 18  # bytes from which reading a document or file takes longer than handing it to a thread
_ALPHABET = str.maketrans("-_", "+/")  # base64 for addresses


@dataclass(frozen=True)
class InputValue:
    """One input of a request. value: text, a list of numbers, or bytes or base64 of a file."""

    name: str
    value: Any
    side: str | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Vector:
    """An input as numbers: raw (d_in,) from the encoder or query (d,) in the shared space; id if it is an item."""

    side: str
    weight: float
    raw: np.ndarray | None = None
    query: np.ndarray | None = None
    id: str | None = None


async def vector_of(entry: InputValue, workers: Workers, context: Context) -> Vector:
    """One input as numbers, encoded in a batch with those of other requests."""
    run, name, side = workers.run, entry.name, entry.side
    if side is not None and side not in workers.sides:
        raise Problem(400, f"both sides of run '{workers.name}' are one table; leave out from, or say left")
    if name == "id":
        side, query = await stored(workers, side, entry.value)
        return Vector(side, entry.weight, query=query, id=entry.value)
    if name == "vector":
        raw = as_vector(entry.value, context.settings)
        side = side_of(run, name, raw, side)
        check_vector(raw, run, side)
        return Vector(side, entry.weight, raw=raw)
    side = side_of(run, name, entry.value, side)
    raw = await encode(name, entry.value, side, workers, context)
    if raw.ndim == 2:  # frames: a head that takes them makes one vector
        frames = await workers.sides[side].encoding.do(lambda: run.project_one(side, raw))
        return Vector(side, entry.weight, query=frames[0])
    return Vector(side, entry.weight, raw=raw)


async def encode(name: str, value: Any, side: str, workers: Workers, context: Context) -> np.ndarray:
    """Text, or the bytes or base64 of a file, as the side's encoder gives it: (d_in,), or (t, d_in) frames."""
    check_takes(name, side, workers)
    encoder = workers.run.encoder(side)
    if isinstance(value, Pictured):
        check_text(value.text, context.settings)
        picture = await decode(name, await content_of(name, value.image), context)
        return await workers.encode(side, Pictured(picture.value, value.text))
    if not modalities.find(name).is_file:
        check_text(value, context.settings)
        return await workers.encode(side, joined.value_of(encoder, name, value))
    decoded = await decode(name, await content_of(name, value), context)
    return await workers.encode(side, joined.value_of(encoder, name, decoded.value))


def check_takes(name: str, side: str, workers: Workers) -> None:
    """Raise a 400 problem unless a side's encoder takes a modality."""
    takes = joined.taken(workers.run.encoder(side)) or ("vectors",)
    if name not in takes:
        kinds = " and ".join(takes)
        raise Problem(400, f"the {workers.run.names[side]} side of run '{workers.name}' takes {kinds}, not {name}")


def check_text(text: str, settings: Settings) -> None:
    """Raise a 413 problem for a text that is too long."""
    if len(text) > settings.max_text:
        raise Problem(413, f"text of {len(text)} characters; at most {settings.max_text}")


async def content_of(name: str, value: str | bytes) -> bytes:
    """The bytes of a file that was sent as bytes or in base64."""
    return value if isinstance(value, bytes) else await run_in_thread_if_large(len(value), decode_base64, value, name)


async def decode(name: str, content: bytes, context: Context) -> Decoded:
    """A file of a modality as its value and media type. Raises a 422 problem for other content or beyond the limits."""
    try:
        return await context.decoders.decode(name, content)
    except Undecodable as error:
        raise Problem(422, context.redact(str(error))) from None


def decode_base64(text: str, name: str) -> bytes:
    """Base64 text (of either alphabet, with or without line breaks and padding), or a data: URL, as bytes.

    Raises a 422 problem.
    """
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    text = "".join(text.split()).rstrip("=").translate(_ALPHABET)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Problem(422, f"{name}: not base64; send a file's bytes in base64, or upload it as a form") from None


async def run_in_thread_if_large(size: int, function: Callable[..., Any], *values: Any) -> Any:
    """The result of a function of so many bytes: called directly for few, in a thread for many."""
    return function(*values) if size < _MANY else await asyncio.to_thread(function, *values)


def as_vector(values: list[float], settings: Settings) -> np.ndarray:
    """Numbers of a request as (d,) float32. Raises a 413 or 422 problem."""
    if len(values) > settings.max_width:
        raise Problem(413, f"vector of {len(values)} numbers; at most {settings.max_width}")
    with np.errstate(over="ignore"):
        vector = np.array(values, np.float32)
    if not np.isfinite(vector).all() or not vector.any():
        raise Problem(422, "vector: holds numbers beyond float32, or only zeros; send finite ones")
    return vector


def check_vector(vector: np.ndarray, run: Run, side: str) -> None:
    """Raise a 422 problem unless a side's head takes a vector."""
    head, name = run.head(side), run.names[side]
    if not head.takes_vectors:
        raise Problem(422, f"the {name} head takes frames, not one vector; send a file, or an id")
    if len(vector) != head.dim_in:
        raise Problem(422, f"vector of {len(vector)} numbers; the {name} side takes {head.dim_in}")


async def gather(tasks: list[Any]) -> list[Any]:
    """The results of several coroutines in order; the first error ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(task) for task in tasks]
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return [task.result() for task in running]


async def stored(workers: Workers, side: str | None, id: str) -> tuple[str, np.ndarray]:
    """The side and the vector (d,) of an item. Raises a 404 problem, or 400 when both sides have one of this id."""

    def look(at: str) -> np.ndarray | None:
        return workers.run.vector_of(at, id) if id in workers.run.places(at) else None

    # In the thread of each side, as rows move when items are added and removed.
    sides = [at for at in workers.sides if side in (None, at)]
    found = {
        at: vector
        for at in sides
        if (vector := await workers.sides[at].searching.do(lambda at=at: look(at))) is not None
    }
    if not found:
        where = f"on the {workers.run.names[side]} side of" if side else "in"
        raise Problem(404, f"no item '{id}' {where} run '{workers.name}'")
    if len(found) > 1:
        raise Problem(
            400, f"both sides of run '{workers.name}' have an item '{id}'; say which with from: left or right"
        )
    return next(iter(found.items()))
