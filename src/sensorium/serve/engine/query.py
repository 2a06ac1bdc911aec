"""What a search may be asked with: the documents of requests, and inputs turned into vectors."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from sensorium.numerics import unit
from sensorium.search.query import side_of
from sensorium.serve.engine.decode import Decoders, Undecodable
from sensorium.serve.engine.workers import Lanes
from sensorium.serve.problems import Problem
from sensorium.serve.settings import Settings

INPUTS = ("text", "image", "audio", "face", "id", "vector")
_MANY = 1 << 18  # bytes of a document or file that take longer to read than a thread to ask
FILES = ("image", "audio", "face")
Side = Literal["left", "right"]
#: What the routes of one item ask for besides its id.
RunQuery = Annotated[str | None, Query(description="name of the run; needed when several are served")]
SideQuery = Annotated[Side | None, Query(description="needed when both sides have an item of this id")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Name = Annotated[str, Field(max_length=500)]
Value = Annotated[str, Field(max_length=10_000)] | bool | Whole | Number
Operator = Literal["==", "!=", "<", "<=", ">", ">="]


class Input(BaseModel):
    """One input: exactly one of text, image, audio, face (base64 of a file), id or vector."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    text: str | None = Field(None, min_length=1, description="words, where a side takes text")
    image: str | None = Field(None, description="a picture file in base64")
    audio: str | None = Field(None, description="a sound file in base64")
    face: str | None = Field(None, description="a picture of a face in base64")
    id: Name | None = Field(None, description="an item of the run")
    vector: list[Number] | None = Field(None, min_length=1, description="a vector as the side's encoder gives it")
    from_: Side | None = Field(None, alias="from", description="the side the input belongs to, when not evident")


class Weighted(Input):
    """One input of a combined search. Each input counts at unit length, times its weight."""

    weight: Number = Field(1.0, ge=-1e6, le=1e6, description="may be negative, to move away from an input")


class SearchRequest(Input):
    """A search: one input, or several weighted ones under ``queries``."""

    run: Name | None = Field(None, description="name of the run; needed when several are served")
    queries: list[Weighted] | None = Field(None, min_length=1, description="inputs of a combined search")
    k: int = Field(10, ge=1, lt=2**31, description="how many to find")
    to: Side | None = Field(None, description="the side to search; by default the other one")
    where: dict[Name, Value | list[Value] | dict[Operator, Value]] | None = Field(
        None, description="column: value, [any of these], or {operator: value}"
    )
    corrected: bool = Field(True, description="apply the run's hubness correction, if it has one")
    space: Literal["head", "encoder"] = Field(
        "head", description="encoder: neighbours by the frozen encoder's own vectors, on the input's own side"
    )
    mmr: float | None = Field(None, ge=0, le=1, description="λ of maximal marginal relevance: 1 is relevance alone")
    pool: int | None = Field(None, ge=1, lt=2**31, description="candidates that mmr chooses from; by default 5 k")


class Hit(BaseModel):
    """One found item."""

    rank: int = Field(description="from 1")
    id: str
    side: Side
    score: float
    probability: float | None = Field(None, description="how likely the hit is right, where the run is calibrated")
    kind: Literal["image", "audio", "text", "none"] = Field(description="what the item is shown as")
    media: str | None = Field(description="where its picture or sound can be fetched")
    columns: dict[str, Any]


class SearchResponse(BaseModel):
    """What a search found, best first."""

    run: str
    direction: str
    to: Side
    corrected: bool = Field(description="whether a hubness correction was applied")
    space: Literal["head", "encoder"]
    no_match: bool | None = Field(description="whether the best hit is too weak to be believed; null when not known")
    took_ms: float
    hits: list[Hit]


@dataclass(frozen=True)
class Vector:
    """An input as numbers: raw (d_in,) from the encoder or query (d,) in the shared space; id if it is an item."""

    side: str
    weight: float
    raw: np.ndarray | None = None
    query: np.ndarray | None = None
    id: str | None = None


def given(question: Input, names: Sequence[str] = INPUTS) -> tuple[str, Any]:
    """The one input of a question. Raises a 400 problem for none or several."""
    found = [(name, value) for name in names if (value := getattr(question, name)) is not None]
    if len(found) != 1:
        got = ", ".join(name for name, _ in found) or "none"
        raise Problem(400, f"give exactly one of {', '.join(names)}; got {got}")
    return found[0]


def unpacked(text: str, name: str) -> bytes:
    """Base64 text, or a data: URL, as bytes. Raises a 422 problem."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(422, f"{name}: not base64; send a file's bytes in base64, or upload it as a form") from None


async def vector_of(
    name: str, value: Any, side: str | None, weight: float, lanes: Lanes, settings: Settings, decoders: Decoders
) -> Vector:
    """One input as numbers, encoded in a batch with others' where it must be."""
    run = lanes.run
    if side is not None and side not in lanes.sides:
        raise Problem(400, f"both sides of run '{lanes.name}' are one table; leave out from, or say left")
    if name == "id":
        side, query = await stored(lanes, side, value)
        return Vector(side, weight, query=query, id=value)
    if name == "vector":
        raw = as_vector(value, settings)
        side = side or side_of(run, name, raw)
        check_width(raw, run.head(side).dim_in, side)
        return Vector(side, weight, raw=raw)
    side = side or side_of(run, name, value)
    raw = await encoded(name, value, side, lanes, settings, decoders)
    if raw.ndim == 2:  # frames: a head that takes them makes one vector
        frames = await lanes.sides[side].encoding.do(lambda: run.project_one(side, raw))
        return Vector(side, weight, query=frames[0])
    return Vector(side, weight, raw=raw)


async def encoded(name: str, value: Any, side: str, lanes: Lanes, settings: Settings, decoders: Decoders) -> np.ndarray:
    """Text, or the bytes or base64 of a file, as the side's encoder gives it."""
    encoder = lanes.run.encoder(side)
    takes = getattr(encoder, "takes", "vectors")
    if takes != name:
        raise Problem(400, f"the {side} side of run '{lanes.name}' takes {takes}, not {name}")
    if name == "text":
        if len(value) > settings.max_text:
            raise Problem(413, f"text of {len(value)} characters; at most {settings.max_text}")
        return await lanes.encode(side, value)
    content = value if isinstance(value, bytes) else await aside(len(value), unpacked, value, name)
    try:
        array, _ = await decoders.decode(name, content)
    except Undecodable as error:
        raise Problem(422, str(error)) from None
    return await lanes.encode(side, array)


async def aside(size: int, function: Callable[..., Any], *values: Any) -> Any:
    """What a function makes of so many bytes: here when they are few, in a thread when others would have to wait."""
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


def check_width(vector: np.ndarray, width: int, side: str) -> None:
    """Raise a 422 problem unless a vector fits a side's head."""
    if len(vector) != width:
        raise Problem(422, f"vector of {len(vector)} numbers; the {side} side takes {width}")


async def combined(vectors: list[Vector], lanes: Lanes) -> np.ndarray:
    """The weighted sum of inputs, each at unit length in the shared space, at unit length (d,)."""
    total: Any = 0.0
    for vector in vectors:
        query = vector.query
        if query is None:
            query = (await lanes.sides[vector.side].encoding.do(lambda v=vector: lanes.run.project(v.side, v.raw)))[0]
        total = total + vector.weight * unit(query)
    length = float(np.linalg.norm(total))
    if not length > 1e-6:
        raise Problem(422, "the weighted inputs cancel each other out; change a weight")
    return (total / length).astype(np.float32)


async def gathered(tasks: list[Any]) -> list[Any]:
    """The results of several coroutines in order; the first error ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(task) for task in tasks]
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return [task.result() for task in running]


async def stored(lanes: Lanes, side: str | None, id: str) -> tuple[str, np.ndarray]:
    """The side and the vector (d,) of an item. Raises a 404 problem, or 400 when both sides have one of this id."""

    def look(at: str) -> np.ndarray | None:
        return lanes.run.vector_of(at, id) if id in lanes.run.places(at) else None

    # In the thread of each side, as rows move when items are added and removed.
    sides = [side] if side else list(lanes.sides)
    found = {
        at: vector for at in sides if (vector := await lanes.sides[at].lane.do(lambda at=at: look(at))) is not None
    }
    if not found:
        raise Problem(404, f"no item '{id}' {f'on the {side} side of' if side else 'in'} run '{lanes.name}'")
    if len(found) > 1:
        raise Problem(400, f"both sides of run '{lanes.name}' have an item '{id}'; say which with from: left or right")
    return next(iter(found.items()))
