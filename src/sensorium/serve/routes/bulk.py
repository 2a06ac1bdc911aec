"""Many items in one request: a stream of JSON lines, added in durable batches while it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError

from sensorium.errors import BadData, Mismatch, SensoriumError
from sensorium.search.journal import Change
from sensorium.serve.context import Context
from sensorium.serve.engine import additions
from sensorium.serve.engine.workers import Workers
from sensorium.serve.guard import STREAMS, release
from sensorium.serve.problems import Problem, findings

MEDIA_TYPES = tuple(kind.decode() for kind in STREAMS)
_LINES = 256  # of one batch: it is encoded and written together
_BYTES = 4 << 20  # of the lines of one batch, from which it is not filled further
_ERRORS = 100  # that an answer lists
_BLANK = b" \t\r\xef\xbb\xbf"
_CLOSE = {"connection": "close"}


class LineError(BaseModel):
    """A line whose item was not added."""

    line: int = Field(description="from 1")
    id: str | None = Field(description="the item's id, where the line has one")
    status: int = Field(description="the status that the item alone would have been answered with")
    detail: str


class BulkAdded(BaseModel):
    """What became of a stream of items."""

    added: int = Field(0, description="items that are on the disk now; those that took another's place included")
    replaced: int = Field(0, description="of them, items that took another's place")
    failed: int = Field(0, description="lines whose item was not added")
    errors: list[LineError] = Field(default_factory=list, description=f"the first {_ERRORS} of them")
    items: dict[str, int] = Field(default_factory=dict, description="how many items each side has that got one")


class _Named(NamedTuple):
    """What is kept of an item once it is encoded; its own document may be large."""

    id: str
    run: str | None
    side: str
    replace: bool


@dataclass
class _Line:
    """One line of a stream; workers and change once its item is read and encoded."""

    number: int
    content: bytes
    new: Any = None
    workers: Workers | None = None
    change: Change | None = None


@dataclass
class _Bulk:
    """One request, and what became of its lines so far."""

    context: Context
    atomic: bool
    answer: BulkAdded = field(default_factory=BulkAdded)

    def fail(self, line: _Line, error: Problem | SensoriumError) -> None:
        """Record that a line's item was not added. Raises the problem where all items or none are to be added."""
        problem = error if isinstance(error, Problem) else self.context.redact.problem(error)
        detail, id = self.context.redact(problem.detail), None if line.new is None else line.new.id
        if self.atomic:
            named = "" if id is None else f" (id '{id}')"
            raise Problem(problem.status, f"line {line.number}{named}: {detail}; none of the items was added", _CLOSE)
        self.answer.failed += 1
        if len(self.answer.errors) < _ERRORS:
            self.answer.errors.append(LineError(line=line.number, id=id, status=problem.status, detail=detail))


async def add(request: Request, context: Context, atomic: bool) -> JSONResponse:
    """Add the items of a stream of JSON lines; returns counts, and the errors of lines.

    atomic: all items, which are of one side, in a single append at the end of the stream, or none. Otherwise each
    batch is durable once it is added, and a line with an error leaves out its own item only.
    Raises a 422 problem where no item was added, and 507 or 503 where no more can be; earlier batches stay.
    """
    bulk, held, room = _Bulk(context, atomic), [], context.settings.max_bodies // 2
    async for batch, size in _batches(request, context.settings.max_body):
        await _prepare(batch, bulk)
        ready = [line for line in batch if line.change is not None]
        if atomic:
            held += ready
            room -= _size(ready)
            _check_held(held[:1] + ready, room, context.settings.max_bodies // 2)
        else:
            await _commit(ready, bulk)
        release(request.scope, size)
    await _commit(held, bulk)
    answer = bulk.answer
    if answer.failed and not answer.added:
        first = answer.errors[0]
        raise Problem(422, f"none of the {answer.failed} items was added; line {first.line}: {first.detail}")
    return JSONResponse(answer.model_dump(), HTTPStatus.MULTI_STATUS if answer.failed else HTTPStatus.OK)


async def _batches(request: Request, most: int) -> AsyncIterator[tuple[list[_Line], int]]:
    """The lines of a body, blank ones left out, in batches, each with how many bytes of the body it took.

    Raises a 413 problem for a line of more than ``most`` bytes.
    """
    rest, number, size = bytearray(), 0, 0
    batch: list[_Line] = []
    async for piece in _pieces(request):
        rest += piece
        whole: list[bytearray] = []
        if not piece or b"\n" in piece:
            whole = rest.split(b"\n")
            rest = whole.pop() if piece else bytearray()
        if max(map(len, (*whole, rest))) > most:
            raise Problem(413, f"line {number + len(whole) + 1} or one before it has more than {most} bytes", _CLOSE)
        for content in whole:
            number += 1
            size += len(content) + 1
            if content.strip(_BLANK):
                batch.append(_Line(number, bytes(content.strip(_BLANK))))
            if len(batch) >= _LINES or size >= _BYTES:
                yield batch, size
                batch, size = [], 0
    yield batch, size


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The pieces of a body, and an empty one at its end."""
    async for piece in request.stream():
        if piece:
            yield piece
    yield b""


async def _prepare(batch: list[_Line], bulk: _Bulk) -> None:
    """Read and encode the items of lines; those that cannot be are recorded as failed."""
    context = bulk.context
    errors = await asyncio.to_thread(_read, batch, context.documents.item)
    read = [line for line, error in zip(batch, errors, strict=True) if error is None]
    changes = await asyncio.gather(*(_encode(line, context) for line in read), return_exceptions=True)
    made = dict(zip([line.number for line in read], changes, strict=True))
    for line, error in zip(batch, errors, strict=True):
        change = error or made[line.number]
        if isinstance(change, Problem | SensoriumError):
            bulk.fail(line, change)
        elif isinstance(change, BaseException):
            raise change
        else:
            line.change = change


def _read(batch: list[_Line], model: Any) -> list[Problem | None]:
    """Read each line as an item; returns what is wrong with it, or None."""
    found: list[Problem | None] = []
    for line in batch:
        try:
            line.new = model.model_validate_json(line.content)
            found.append(None)
        except ValidationError as error:
            found.append(Problem(422, findings(error)))
    return found


async def _encode(line: _Line, context: Context) -> Change:
    new = line.new
    line.workers = context.registry.get(new.run).workers
    change = await additions.change_of(new, line.workers, context)
    line.new, line.content = _Named(new.id, new.run, new.side, new.replace), b""
    return change


def _size(lines: list[_Line]) -> int:
    """Bytes of vectors and media of encoded lines."""
    changes = [line.change for line in lines if line.change is not None]
    return sum(len(change.media) + (0 if change.vector is None else change.vector.nbytes) for change in changes)


def _check_held(lines: list[_Line], room: int, most: int) -> None:
    """Raise a 413 problem where an atomic request has no room left of ``most`` bytes, 400 for items of two sides."""
    if room < 0:
        detail = f"more than {most} bytes of vectors and media in one atomic request; send it in pieces, or not atomic"
        raise Problem(413, detail, _CLOSE)
    if len({(line.new.run, line.new.side) for line in lines}) > 1:
        raise Problem(400, "an atomic request adds to one side of one run; send one request for each", _CLOSE)


async def _commit(lines: list[_Line], bulk: _Bulk) -> None:
    """Make the changes of lines durable, the lines of each side in one append."""
    sides: dict[tuple[int, str], list[_Line]] = {}
    for line in lines:
        sides.setdefault((id(line.workers), line.new.side), []).append(line)
    for (_, side), some in sides.items():
        workers = some[0].workers
        assert workers is not None
        try:
            await workers.sides[side].searching.do(lambda at=(workers, side), some=some: _put(*at, some, bulk))
        except SensoriumError as error:
            problem = bulk.context.redact.problem(error)
            said = f"{problem.detail}; {bulk.answer.added} items of the lines before {some[0].number} were added"
            raise Problem(problem.status, said, _CLOSE) from None


def _put(workers: Workers, side: str, lines: Sequence[_Line], bulk: _Bulk) -> None:
    """One append of the lines that can be added. In the thread of the side's index."""
    settings, answer = bulk.context.settings, bulk.answer
    additions.catch_up(workers, side)
    good: list[tuple[_Line, Change, bool]] = []
    ids: set[str] = set()
    for line in lines:
        assert line.change is not None
        try:
            there = additions.check(workers, side, line.change, line.new.replace, ids)
        except Problem as error:
            bulk.fail(line, error)
        else:
            good.append((line, line.change, there))
            ids.add(line.change.id)
    if not good:
        return
    try:
        count = additions.put(workers, side, [change for _, change, _ in good], settings)
    except (BadData, Mismatch) as error:  # of one of them
        if bulk.atomic:
            raise BadData(f"{error}; none of the items was added") from None
        count = 0
        for line, change, there in good:
            try:
                count = additions.put(workers, side, [change], settings)
                answer.added, answer.replaced = answer.added + 1, answer.replaced + there
            except (BadData, Mismatch) as alone:
                bulk.fail(line, alone)
    else:
        answer.added, answer.replaced = answer.added + len(good), answer.replaced + sum(there for *_, there in good)
    answer.items[side] = count or answer.items.get(side, 0)
