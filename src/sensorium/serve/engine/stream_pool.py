"""All live streams of one run, stepped as one batch: what arrives while the model computes is its next batch."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import numpy as np
import torch

from sensorium.numerics import threads
from sensorium.numerics.threads import keep_freed_memory
from sensorium.serve.limits import Limits
from sensorium.stream.batch import Streams
from sensorium.stream.session import Ear, Voice

_log = logging.getLogger("sensorium.serve")


class Order(Enum):
    """What a client may ask for between two chunks of sound."""

    RESET = "reset"
    END = "end"


class Seat:
    """One stream's place among the others.

    answer: called in the event loop with the messages of each turn. fail: called with what went wrong,
    after which nothing more comes.
    """

    def __init__(self, rate: int, utterances: bool, ear: Ear, answer: Callable[[list[dict[str, Any]]], None],
                 fail: Callable[[Exception], None]) -> None:  # fmt: skip
        self.rate, self.utterances, self.ear, self.answer, self.fail = rate, utterances, ear, answer, fail
        self.key: int | None = None  # of its stream; the worker opens it
        self.inbox: deque[np.ndarray | Order] = deque()
        self.waiting = 0  # samples in the inbox; an order counts as some, too
        self.taken = asyncio.Event()  # some of them were taken


class Voices:
    """The streams of one version of one run. Use it from one event loop."""

    def __init__(self, voice: Voice, limits: Limits) -> None:
        self.voice, self.limits = voice, limits
        self.seats: set[Seat] = set()
        self._streams: Streams = voice.streams()
        self._ready: dict[Seat, None] = {}  # those whose inbox holds something, in order of arrival
        self._gone: list[Seat] = []  # whose streams are to be forgotten
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._took, self._ended = 0.0, 0.0  # by the last turn, and when that was

    @property
    def behind(self) -> bool:
        """Whether the streams that are open are more than can be served in time; they come first then."""
        return self._took > self.limits.behind and time.monotonic() - self._ended < _LATELY

    @property
    def bytes(self) -> int:
        """Memory that the states of all streams take."""
        return self._streams.bytes

    def join(self, rate: int, utterances: bool, answer: Callable[[list[dict[str, Any]]], None],
             fail: Callable[[Exception], None]) -> Seat:  # fmt: skip
        """A place for a new stream of sound at ``rate`` Hz, perhaps with each utterance read by itself."""
        seat = Seat(rate, utterances, Ear(self.voice.labels, rate), answer, fail)
        self.seats.add(seat)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._serve())
        return seat

    def leave(self, seat: Seat) -> None:
        """Give a place back; leaving twice is no error."""
        if seat in self.seats:
            self.seats.remove(seat)
            self._ready.pop(seat, None)
            self._gone.append(seat)  # the worker may be using its stream
            self._arrived.set()

    def give(self, seat: Seat, item: np.ndarray | Order) -> None:
        """Samples, or an order between them."""
        seat.inbox.append(item)
        seat.waiting += _size(seat, item)
        self._ready[seat] = None
        self._arrived.set()

    async def _serve(self) -> None:
        """Turn after turn, as long as anyone is here."""
        loop, limits = asyncio.get_running_loop(), self.limits
        # Alone in its thread: the other cores have the sockets, and threads of one operation would wait for each other.
        keep_freed_memory()  # a turn of many streams takes half the time
        with threads.started(1, "voices", torch) as worker:
            while self.seats:
                await self._arrived.wait()
                # Each turn costs something by itself: where many wait, fewer and larger ones serve them sooner.
                await asyncio.sleep(max(limits.gather, min(limits.gather_most, _PATIENCE * len(self.seats))))
                self._arrived.clear()
                turns = [(seat, self._turn(seat)) for seat in [*self._ready]]
                self._ready = {seat: None for seat in self._ready if seat.inbox}
                if self._ready:
                    self._arrived.set()
                left = [seat.key for seat in self._gone if seat.key is not None]
                self._gone = []
                start = time.monotonic()
                try:
                    answers = await loop.run_in_executor(worker, self._compute, turns, left)
                except Exception as error:  # a fault of ours must not silence the other streams
                    _log.exception("a turn of live streams failed")
                    self._streams, self._gone = self.voice.streams(), []
                    for seat in [*self.seats]:
                        seat.key = None
                        seat.fail(error)
                    continue
                self._ended = time.monotonic()
                self._took = self._ended - start
                for seat, messages in answers:
                    if seat in self.seats:
                        seat.answer(messages)
        self._streams, self._gone = self.voice.streams(), []

    def _turn(self, seat: Seat) -> list[np.ndarray | Order]:
        """What one stream has computed in this turn: no more than its share, up to its next order.

        So one stream's orders, each of which costs about as much as opening it, never make the others wait.
        """
        items: list[np.ndarray | Order] = []
        taken, most = 0, self.limits.turn * seat.rate
        while seat.inbox and taken < most and not (items and isinstance(items[-1], Order)):
            items.append(seat.inbox.popleft())
            taken += _size(seat, items[-1])
        seat.waiting -= taken
        seat.taken.set()
        return items

    def _compute(
        self, turns: Sequence[tuple[Seat, list[np.ndarray | Order]]], left: Sequence[int]
    ) -> list[tuple[Seat, list[dict[str, Any]]]]:
        """In the worker: sound up to the next order of every stream at once, until nothing is left."""
        for key in left:
            self._streams.close(key)
        queues = [(seat, deque(items)) for seat, items in turns]
        if not self.limits.together:
            return [answer for queue in queues for answer in self._rounds([queue])]
        return self._rounds(queues)

    def _rounds(self, queues: list[tuple[Seat, deque[np.ndarray | Order]]]) -> list[tuple[Seat, list[dict[str, Any]]]]:
        told: dict[Seat, list[dict[str, Any]]] = {seat: [] for seat, _ in queues}
        streams = self._streams
        while queues:
            chunks: dict[int, np.ndarray] = {}
            orders: dict[Seat, Order] = {}
            for seat, queue in queues:
                parts = []
                while queue and isinstance(queue[0], np.ndarray):
                    parts.append(queue.popleft())
                if queue:
                    orders[seat] = queue.popleft()  # type: ignore[assignment]
                if seat.key is None:
                    seat.key = streams.open(seat.rate, seat.utterances)
                chunks[seat.key] = parts[0] if len(parts) == 1 else np.concatenate(parts or [_NOTHING])
            ended = [seat.key for seat, order in orders.items() if order is Order.END]
            found = streams.push(chunks, ended)  # type: ignore[arg-type]
            for seat, _ in queues:
                seat.ear.samples += len(chunks[seat.key])  # type: ignore[index]
                told[seat] += seat.ear.hear(found[seat.key])  # type: ignore[index]
            for seat, order in orders.items():
                if order is Order.END:
                    told[seat] += seat.ear.end()
                    seat.key = None  # what follows is another recording
                else:
                    streams.reset(seat.key)  # type: ignore[arg-type]
                    told[seat].append({"type": "reset"})
                seat.ear.reset()
            queues = [(seat, queue) for seat, queue in queues if queue]
        return [(seat, messages) for seat, messages in told.items() if messages]


def _size(seat: Seat, item: np.ndarray | Order) -> int:
    """The samples that something in an inbox counts as."""
    return len(item) if isinstance(item, np.ndarray) else round(_ORDER * seat.rate)


_ORDER = 0.1  # seconds of sound that an order counts as
_NOTHING = np.zeros(0, np.float32)
_LATELY = 2.0  # seconds for which a slow turn is remembered
_PATIENCE = 1e-4  # seconds of waiting for each stream that is open
