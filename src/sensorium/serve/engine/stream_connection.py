"""One socket of live sound: bytes to samples, messages to the client, each within its limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from typing import Any

import numpy as np
import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from sensorium.errors import BadData
from sensorium.modalities.audio import magic
from sensorium.serve.engine.stream_pool import Order, StreamPool
from sensorium.serve.settings import LiveLimits
from sensorium.stream.batch import STEP
from sensorium.stream.session import check_samples

FORMATS = {"s16": "<i2", "f32": "<f4"}
BAD, IDLE, OVER, LARGE, MANY, SLOW, FAULT = 4400, 4408, 4410, 4413, 4429, 4499, 1011  # close codes
_ORDERS = {f'{{"type":"{order.value}"}}': order for order in Order}
_LEAST = 320  # bytes that a message counts for at least: a very short one costs as much as 10 ms of sound
_FULL = np.float32(1 / 32768)
_TEXT = 4096  # characters of an order
_HEAD = 12  # bytes that identify a sound file, except MP3 and AAC without a tag


class Connection:
    """One socket: bytes to samples, answers to messages, each within its limits."""

    def __init__(
        self,
        websocket: WebSocket,
        pool: StreamPool,
        run: str,
        rate: int,
        kind: str,
        utterances: bool,
        limits: LiveLimits,
    ) -> None:
        self.websocket, self.pool, self.limits = websocket, pool, limits
        self.run, self.rate, self.kind, self.utterances = run, rate, kind, utterances
        self.dtype = np.dtype(FORMATS[kind])
        self.odd = b""  # the beginning of a sample whose end has yet to come
        self.head: bytes | None = b""  # the first bytes of a recording, until they are known to be samples
        self.began = self.received = time.monotonic()
        self.sending: float | None = None  # since when one message has been on its way
        self._budget, self._counted = limits.burst, self.began  # seconds of sound that may come at once
        self._out: deque[dict[str, Any]] = deque()
        self._frames = 0  # messages of type frames in it
        self._wake = asyncio.Event()
        self._last: Stop | None = None
        self.slot = pool.open(rate, utterances, self.answer, self._failed)

    async def serve(self) -> None:
        """Receive and answer until either side ends."""
        sender = asyncio.create_task(self._send())
        receiver = asyncio.create_task(self._receive())
        self._tasks = (sender, receiver)
        self.answer([{"type": "ready", "run": self.run, "labels": self.pool.classifier.labels, "rate": self.rate,
                      "format": self.kind, "utterances": self.utterances, "step": STEP}])  # fmt: skip
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            if receiver.done() and self._last is not None and not sender.done():
                # The error is still to be sent, to a reader that reads.
                await asyncio.wait([sender], timeout=self.limits.slow)
        finally:
            self.pool.close(self.slot)
            for task in self._tasks:
                task.cancel()
            for fault in await asyncio.gather(*self._tasks, return_exceptions=True):
                if isinstance(fault, Exception):  # a bug of ours, to be logged
                    raise fault

    def answer(self, messages: list[dict[str, Any]]) -> None:
        """Queue messages; for a slow reader, older frames are dropped and counted in ``skipped``."""
        if self._last is not None:  # an error is the last word
            return
        for message in messages:
            if message["type"] == "frames":
                message["skipped"] = 0
                self._frames += 1
            self._out.append(message)
        if self._frames > self.limits.backlog:
            self._coalesce()
        if len(self._out) > 4 * self.limits.backlog:
            self.stop(Stop(SLOW, "TooSlow", f"{len(self._out)} answers wait to be read; read them as they come"))
        self._wake.set()

    def _coalesce(self) -> None:
        frames = [message for message in self._out if message["type"] == "frames"]
        newest = frames.pop()
        newest["skipped"] = sum(len(message["probabilities"]) + message["skipped"] for message in frames)
        self._out = deque(message for message in self._out if message is newest or message["type"] != "frames")
        self._frames = 1

    def stop(self, stop: Stop) -> None:
        """Send the error after what is already queued, and close."""
        if self._last is None:
            self._last = stop
            self._out.append({"type": "error", "title": stop.title, "detail": stop.detail})
            self._wake.set()

    def keep(self, now: float) -> None:
        """Housekeeping, a few times a second."""
        limits = self.limits
        if self.sending is not None and now - self.sending > limits.slow:
            for task in self._tasks:  # nothing more can be sent to it
                task.cancel()
        elif now - self.received > limits.idle:
            self.stop(Stop(IDLE, "Idle", f"no message for {limits.idle:g} s; open the stream again when you speak"))
        elif now - self.began > limits.seconds:
            self.stop(Stop(OVER, "Over", f"this stream is {limits.seconds:g} s old; open another"))

    def _failed(self, error: Exception) -> None:
        self.stop(Stop(FAULT, "Fault", "this stream failed by a fault of the server; open it again"))

    async def _send(self) -> None:
        """Send messages in order; after an error, close."""
        send = self.websocket.send
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._out:
                    message = self._out.popleft()
                    self._frames -= message["type"] == "frames"
                    self.sending = time.monotonic()
                    await send({"type": "websocket.send", "text": orjson.dumps(message).decode()})
                    self.sending = None
                if self._last is not None:
                    self.sending = time.monotonic()
                    await self.websocket.close(self._last.code, self._last.title)
                    return

    async def _receive(self) -> None:
        """Receive messages, as fast as the limits allow."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while self._last is None:
                message = await self.websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                self.received = time.monotonic()
                try:
                    data = message.get("bytes")
                    if data is None:
                        self._order(message.get("text") or "")
                    else:
                        self._sound(data)
                except Stop as stop:
                    self.stop(stop)
                    return
                await self._pace(len(data or b""))

    def _sound(self, data: bytes) -> None:
        """A chunk of any number of bytes: half a sample is buffered until its other half comes."""
        if len(data) > self.limits.message:
            raise Stop(LARGE, "TooLarge", f"a message of {len(data)} bytes; at most {self.limits.message} are taken")
        if self.head is not None:
            self._check_head(data)
            if self.head is not None and len(self.head) < _HEAD:  # too few bytes to tell a file by
                self.odd += data
                return
        self._samples(self.odd + data if self.odd else data)

    def _samples(self, data: bytes) -> None:
        """Samples to the pool; the bytes of an incomplete one are buffered."""
        odd = len(data) % self.dtype.itemsize
        self.odd, data = (data[-odd:], data[:-odd]) if odd else (b"", data)
        samples = np.frombuffer(data, self.dtype)
        try:
            # Integers are sound whatever they are.
            samples = samples * _FULL if self.kind == "s16" else check_samples(samples)
        except BadData as error:
            raise Stop(BAD, "BadData", str(error)) from None
        if len(samples):
            self.pool.put(self.slot, samples)

    def _check_head(self, data: bytes) -> None:
        """Raise Stop where a recording begins as a sound file does, and not as samples."""
        assert self.head is not None
        self.head += data[: magic.NEEDED - len(self.head)]
        if name := magic.container(self.head):
            raise Stop(BAD, "BadData", f"this is a sound file ({name}), and samples are expected: decode it first, "
                        f"such as with: ffmpeg -i FILE -f s16le -ac 1 -ar {self.rate} -")  # fmt: skip
        if len(self.head) >= magic.NEEDED:
            self.head = None

    def _order(self, text: str) -> None:
        order = _ORDERS.get(text)
        if order is None:
            try:
                message = json.loads(text[: _TEXT + 1])
                order = Order(message["type"])
                if len(message) > 1:  # a rate, say: it is part of the address
                    raise ValueError
            except (ValueError, KeyError, TypeError, RecursionError):
                expected = 'expected {"type":"end"} or {"type":"reset"}, and sound as binary messages'
                raise Stop(BAD, "BadMessage", f"text {text[:40]!r}; {expected}") from None
        if self.head is not None and len(self.head) < _HEAD:
            self._samples(self.odd)  # all that came
        self.odd = self.head = b""
        self.pool.put(self.slot, order)

    async def _pace(self, size: int) -> None:
        """Wait while this sender is too far ahead: flow control of its own connection then slows it down."""
        limits, now = self.limits, time.monotonic()
        self._budget = min(limits.burst, self._budget + (now - self._counted) * limits.speed)
        self._counted = now
        self._budget -= max(size, _LEAST) / (self.dtype.itemsize * self.rate)
        if self._budget < 0:
            await asyncio.sleep(min(-self._budget / limits.speed, 5.0))
        while self.slot.waiting > limits.ahead * self.rate and self._last is None:
            self.slot.taken.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.slot.taken.wait(), 1.0)
            self.received = time.monotonic()


class Stop(Exception):
    """Why a socket is closed: code, title, and what to do."""

    def __init__(self, code: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.title, self.detail = code, title, detail
