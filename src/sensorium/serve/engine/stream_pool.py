"""Dynamic batching of live streams: chunks that arrive while the model computes form its next batch."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np
import torch

from sensorium.numerics import threads
from sensorium.numerics.threads import keep_freed_memory
from sensorium.serve.settings import LiveLimits
from sensorium.stream.batch import Streams
from sensorium.stream.classifier import StreamingClassifier
from sensorium.stream.events import Events, Message

_log = logging.getLogger("sensorium.serve")


class Order(Enum):
    """Commands between two chunks of sound."""

    RESET = "reset"
    END = "end"


class Slot:
    """One stream of the pool.

    answer: called in the event loop with the messages of each turn. fail: called with the error, after
    which nothing more comes.
    """

    def __init__(self, rate: int, utterances: bool, events: Events, answer: Callable[[list[Message]], None],
                 fail: Callable[[Exception], None]) -> None:  # fmt: skip
        self.rate, self.utterances, self.events, self.answer, self.fail = rate, utterances, events, answer, fail
        self.key: int | None = None  # of its stream; the worker opens it
        self.inbox: deque[np.ndarray | Order] = deque()
        self.waiting = 0  # samples in the inbox; an order counts as some, too
        self.taken = asyncio.Event()  # some of them were taken


class StreamPool:
    """The streams of one version of one run. Use it from one event loop."""

    def __init__(self, classifier: StreamingClassifier, limits: LiveLimits) -> None:
        self.classifier, self.limits = classifier, limits
        self.slots: set[Slot] = set()
        self._streams: Streams = classifier.streams()
        self._ready: dict[Slot, None] = {}  # those whose inbox is not empty, in order of arrival
        self._closed: list[Slot] = []  # whose streams are to be closed by the worker
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._took, self._ended = 0.0, 0.0  # by the last turn, and when that was

    @property
    def behind(self) -> bool:
        """Whether the open streams are more than can be served in time; they come before new ones then."""
        return self._took > self.limits.behind and time.monotonic() - self._ended < _LATELY

    @property
    def bytes(self) -> int:
        """Memory that the states of all streams take."""
        return self._streams.bytes

    def open(self, rate: int, utterances: bool, answer: Callable[[list[Message]], None],
             fail: Callable[[Exception], None]) -> Slot:  # fmt: skip
        """A slot for a new stream of sound at ``rate`` Hz, optionally with each utterance classified by itself."""
        slot = Slot(rate, utterances, Events(self.classifier.labels, rate), answer, fail)
        self.slots.add(slot)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._serve())
        return slot

    def close(self, slot: Slot) -> None:
        """Give a slot back; closing twice is no error."""
        if slot in self.slots:
            self.slots.remove(slot)
            self._ready.pop(slot, None)
            self._closed.append(slot)  # the worker may be using its stream
            self._arrived.set()

    def put(self, slot: Slot, item: np.ndarray | Order) -> None:
        """Samples, or an order between them."""
        slot.inbox.append(item)
        slot.waiting += _size(slot, item)
        self._ready[slot] = None
        self._arrived.set()

    async def _serve(self) -> None:
        """Turn after turn, as long as a stream is open."""
        loop, limits = asyncio.get_running_loop(), self.limits
        # One thread without intra-operation threads: the other cores serve the sockets.
        keep_freed_memory()  # a turn of many streams takes half the time
        with threads.started(1, "streams", torch) as worker:
            while self.slots:
                await self._arrived.wait()
                # Each turn costs something by itself: where many wait, fewer and larger ones serve them sooner.
                await asyncio.sleep(max(limits.gather, min(limits.gather_most, _PATIENCE * len(self.slots))))
                self._arrived.clear()
                turns = [(slot, self._turn(slot)) for slot in [*self._ready]]
                self._ready = {slot: None for slot in self._ready if slot.inbox}
                if self._ready:
                    self._arrived.set()
                left = [slot.key for slot in self._closed if slot.key is not None]
                self._closed = []
                start = time.monotonic()
                try:
                    answers = await loop.run_in_executor(worker, self._compute, turns, left)
                except Exception as error:  # a fault of ours must not silence the other streams
                    _log.exception("a turn of live streams failed")
                    self._streams, self._closed = self.classifier.streams(), []
                    for slot in [*self.slots]:
                        slot.key = None
                        slot.fail(error)
                    continue
                self._ended = time.monotonic()
                self._took = self._ended - start
                for slot, messages in answers:
                    if slot in self.slots:
                        slot.answer(messages)
        self._streams, self._closed = self.classifier.streams(), []

    def _turn(self, slot: Slot) -> list[np.ndarray | Order]:
        """What one stream has computed in this turn: at most its share, up to its next order.

        So one stream's orders, each of which costs about as much as opening it, never make the others wait.
        """
        items: list[np.ndarray | Order] = []
        taken, most = 0, self.limits.turn * slot.rate
        while slot.inbox and taken < most and not (items and isinstance(items[-1], Order)):
            items.append(slot.inbox.popleft())
            taken += _size(slot, items[-1])
        slot.waiting -= taken
        slot.taken.set()
        return items

    def _compute(
        self, turns: Sequence[tuple[Slot, list[np.ndarray | Order]]], left: Sequence[int]
    ) -> list[tuple[Slot, list[Message]]]:
        """In the worker: sound up to the next order of every stream at once, until nothing is left."""
        for key in left:
            self._streams.close(key)
        queues = [(slot, deque(items)) for slot, items in turns]
        if not self.limits.together:
            return [answer for queue in queues for answer in self._rounds([queue])]
        return self._rounds(queues)

    def _rounds(self, queues: list[tuple[Slot, deque[np.ndarray | Order]]]) -> list[tuple[Slot, list[Message]]]:
        messages: dict[Slot, list[Message]] = {slot: [] for slot, _ in queues}
        streams = self._streams
        while queues:
            chunks: dict[int, np.ndarray] = {}
            orders: dict[Slot, Order] = {}
            for slot, queue in queues:
                parts = []
                while queue and isinstance(queue[0], np.ndarray):
                    parts.append(queue.popleft())
                if queue:
                    orders[slot] = queue.popleft()  # type: ignore[assignment]
                if slot.key is None:
                    slot.key = streams.open(slot.rate, slot.utterances)
                chunks[slot.key] = parts[0] if len(parts) == 1 else np.concatenate(parts or [_NOTHING])
            ended = [slot.key for slot, order in orders.items() if order is Order.END]
            found = streams.push(chunks, ended)  # type: ignore[arg-type]
            for slot, _ in queues:
                slot.events.samples += len(chunks[slot.key])  # type: ignore[index]
                messages[slot] += slot.events.push(found[slot.key])  # type: ignore[index]
            for slot, order in orders.items():
                if order is Order.END:
                    messages[slot] += slot.events.end()
                    slot.key = None  # what follows is another recording
                else:
                    streams.reset(slot.key)  # type: ignore[arg-type]
                    messages[slot].append({"type": "reset"})
                slot.events.reset()
            queues = [(slot, queue) for slot, queue in queues if queue]
        return [(slot, found) for slot, found in messages.items() if found]


def _size(slot: Slot, item: np.ndarray | Order) -> int:
    """The samples that something in an inbox counts as."""
    return len(item) if isinstance(item, np.ndarray) else round(_ORDER * slot.rate)


_ORDER = 0.1  # seconds of sound that an order counts as
_NOTHING = np.zeros(0, np.float32)
_LATELY = 2.0  # seconds for which a slow turn is remembered
_PATIENCE = 1e-4  # seconds of waiting for each stream that is open
