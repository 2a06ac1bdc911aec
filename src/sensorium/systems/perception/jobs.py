"""Jobs: pictures asked for on a server, made one at a time in order, followed by events, kept in memory for a while.

A job is forgotten ``keep`` seconds after its end. One that nobody follows or asks about for ``abandoned`` seconds is
cancelled, so that a page that was closed does not hold the others up; a page that comes back in time finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import orjson

from sensorium.serve.problems import Problem
from sensorium.systems.perception.generation import Cancelled
from sensorium.systems.perception.generation_limits import GenerationLimits

State = Literal["queued", "loading", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
_ALIVE = 10.0  # seconds after which an event stream without events sends a comment
_LOOK = 1.0  # seconds between two looks at what was abandoned or is to be forgotten


class Event(NamedTuple):
    """One event of a job. id: counts from 1."""

    id: int
    kind: str
    data: bytes

    def sent(self) -> bytes:
        """As a server-sent event."""
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (self.id, self.kind.encode(), self.data)


@dataclass(eq=False)
class Job:
    """One picture that was asked for. check: called with the model's vectors of the probes before it is made."""

    options: Mapping[str, Any]
    z: np.ndarray
    client: str
    check: Callable[[np.ndarray], Awaitable[Any]]
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    state: State = "queued"
    position: int = 0  # in the queue, from 1; 0: it is not in it
    png: bytes | None = None
    about: Mapping[str, Any] | None = None
    problem: Mapping[str, Any] | None = None
    steps: tuple[int, int] = (0, 0)  # done, of how many
    began: float = field(default_factory=time.monotonic)
    seen: float = field(default_factory=time.monotonic)
    ended: float | None = None
    followers: int = 0
    events: list[Event] = field(default_factory=list)
    _count: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, kind: str, **data: Any) -> None:
        """Add an event; of steps, only the last is kept for those who come later."""
        self._count += 1
        if kind == "step":
            self.events = [one for one in self.events if one.kind != "step"]
        self.events.append(Event(self._count, kind, orjson.dumps(data)))
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def follow(self, after: int, stopping: asyncio.Event) -> AsyncIterator[bytes]:
        """Server-sent events with ids above ``after``, up to the end of the job or of the server."""
        self.followers += 1
        try:
            yield b"retry: 1000\n\n"
            while True:
                news = self._news
                for event in [one for one in self.events if one.id > after]:
                    after = event.id
                    yield event.sent()
                if self.state in ENDED or stopping.is_set():
                    return
                if not await _either(news, stopping, _ALIVE):
                    yield b": still there\n\n"
        finally:
            self.followers -= 1
            self.seen = time.monotonic()


class Maker(Protocol):
    """What makes the pictures: see :class:`~sensorium.systems.perception.generation_worker.Worker`."""

    running: bool

    async def start(self) -> np.ndarray:
        """Load the model."""

    async def make(self, options: Mapping[str, Any], z: np.ndarray, on_step: Any) -> tuple[bytes, dict[str, Any]]:
        """One picture."""

    def cancel(self) -> None:
        """End the present picture."""

    async def close(self) -> None:
        """End it all."""


class Jobs:
    """The jobs of one server. problem: the document of an error that ended a job. ended: called after each end."""

    def __init__(
        self,
        maker: Maker,
        limits: GenerationLimits,
        problem: Callable[[Exception], Mapping[str, Any]],
        ended: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self.maker, self.limits, self.problem, self.ended = maker, limits, problem, ended
        self.jobs: dict[str, Job] = {}  # oldest first
        self.running: Job | None = None
        self._there = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._used = time.monotonic()

    @property
    def waiting(self) -> list[Job]:
        """The queue."""
        return [job for job in self.jobs.values() if job.state == "queued"]

    def add(self, job: Job) -> Job:
        """Put a job into the queue. Raises a 503 problem when it, or the share of one address, is full."""
        waiting = self.waiting
        own = sum(one.client == job.client and one.ended is None for one in self.jobs.values())
        if len(waiting) >= self.limits.queue:
            raise Problem(503, f"{len(waiting)} pictures wait already, as many as this server takes; try again", _LATER)
        if own >= self.limits.client_queue:
            raise Problem(503, f"{own} pictures of your address wait or are being made; cancel one, or wait", _LATER)
        self.jobs[job.id] = job
        self._positions()
        if not job.events:
            job.tell("queued", position=job.position)
        self._there.set()
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._watch())]
        return job

    def get(self, id: str) -> Job:
        """A job by its id. Raises a 404 problem for an unknown or forgotten one."""
        job = self.jobs.get(id)
        if job is None:
            raise Problem(404, f"no picture of this id; a picture is forgotten after {self.limits.keep:g} s")
        job.seen = time.monotonic()
        return job

    def cancel(self, job: Job, why: str = "it was cancelled") -> None:
        """End a job that waits or is being made; one that has ended stays as it is."""
        if job.state in ENDED:
            return
        was = job.state
        self._end(job, "cancelled", detail=why)
        if was == "running":
            self.maker.cancel()
        self._positions()

    def remove(self, job: Job) -> None:
        """Cancel a job and forget it, with its picture."""
        self.cancel(job)
        self.jobs.pop(job.id, None)

    async def close(self) -> None:
        """End everything."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.maker.close()

    def _end(self, job: Job, state: State, **data: Any) -> None:
        job.state, job.position, job.ended = state, 0, time.monotonic()
        job.tell(state, **data)
        self.ended(job)

    def _positions(self) -> None:
        for at, job in enumerate(self.waiting, 1):
            if job.position != at:
                job.position = at
                job.tell("queued", position=at)

    async def _work(self) -> None:
        while True:
            waiting = self.waiting
            if not waiting:
                self._there.clear()
                await self._there.wait()
                continue
            self.running = waiting[0]
            try:
                await self._one(self.running)
            finally:
                self.running, self._used = None, time.monotonic()

    async def _one(self, job: Job) -> None:
        job.state, job.position = "running" if self.maker.running else "loading", 0
        self._positions()
        job.tell("started", loading=job.state == "loading")
        try:
            pooled = await self.maker.start()
            if job.state in ENDED:
                return
            await job.check(pooled)
            if job.state in ENDED:
                return
            job.state = "running"

            def step(head: Mapping[str, Any], preview: bytes) -> None:
                job.steps = head["step"], head["steps"]
                if job.state == "running":
                    job.tell("step", step=head["step"], steps=head["steps"], preview=_data_url(preview))

            png, about = await self.maker.make(job.options, job.z, step)
            if job.state == "running":
                job.png, job.about = png, about
                self._end(job, "done", picture=f"/generations/{job.id}.png", settings=about)
        except Cancelled:
            self.cancel(job)
        except Exception as error:
            if job.state not in ENDED:
                job.problem = self.problem(error)
                self._end(job, "failed", problem=job.problem)

    async def _watch(self) -> None:
        """Cancel what nobody asks about, forget what was kept long enough, and end a model that is not used."""
        while True:
            await asyncio.sleep(min(_LOOK, self.limits.abandoned / 4, self.limits.keep / 4))
            now = time.monotonic()
            for job in [*self.jobs.values()]:
                if job.ended is None and not job.followers and now - job.seen > self.limits.abandoned:
                    self.cancel(job, f"nobody asked about it for {self.limits.abandoned:g} s")
            kept = [job for job in self.jobs.values() if job.ended is not None]
            for at, job in enumerate(reversed(kept)):
                if at >= self.limits.keep_most or (job.ended is not None and now - job.ended > self.limits.keep):
                    del self.jobs[job.id]
            if self.running is None and self.maker.running and now - self._used > self.limits.idle:
                await self.maker.close()


_LATER = {"retry-after": "10"}


def _data_url(preview: bytes) -> str | None:
    import base64

    return f"data:image/webp;base64,{base64.b64encode(preview).decode()}" if preview else None


async def _either(news: asyncio.Event, stopping: asyncio.Event, patience: float) -> bool:
    """Wait for the first of two events; False when neither came in time."""
    waits = [asyncio.ensure_future(one.wait()) for one in (news, stopping)]
    try:
        done, _ = await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for one in waits:
            one.cancel()
