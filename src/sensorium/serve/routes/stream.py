"""``WS /stream``: live sound in, labels and segments out; docs/live.md has every message."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter
from prometheus_client import Gauge
from starlette.websockets import WebSocket, WebSocketDisconnect

from sensorium.errors import BadData, SensoriumError
from sensorium.modalities.audio import files, magic
from sensorium.serve import sockets
from sensorium.serve.admission import Places
from sensorium.serve.context import Context
from sensorium.serve.engine.registry import Registry, ServedRun
from sensorium.serve.engine.stream_pool import Order, StreamPool
from sensorium.serve.guard import PROTOCOL
from sensorium.serve.problems import Problem
from sensorium.serve.settings import LiveLimits
from sensorium.stream.batch import STEP
from sensorium.stream.session import check_samples

PARAMETERS = ("run", "rate", "format", "utterances")
FORMATS = {"s16": "<i2", "f32": "<f4"}
_ORDERS = {f'{{"type":"{order.value}"}}': order for order in Order}
_SWITCH = {"0": False, "false": False, "1": True, "true": True}
_LEAST = 320  # bytes that a message counts for at least: a very short one costs as much as 10 ms of sound
_FULL = np.float32(1 / 32768)
_TEXT = 4096  # characters of an order
_HEAD = 12  # bytes that identify a sound file, except MP3 and AAC without a tag
_BAD, _IDLE, _OVER, _LARGE, _MANY, _SLOW, _FAULT = 4400, 4408, 4410, 4413, 4429, 4499, 1011


def routes(context: Context) -> APIRouter:
    """The route of live sound."""
    router, live = APIRouter(), Live(context.registry, context.settings.live, context.settings.client_share)
    gauge = Gauge("sensorium_streams_open", "Open sockets of live sound", registry=context.meter.registry)
    gauge.set_function(lambda: len(live.open))
    router.add_api_websocket_route("/stream", live.connect)
    return router


class Live:
    """All open sockets of live sound, and their housekeeping."""

    def __init__(self, registry: Registry, limits: LiveLimits, share: float = 1.0) -> None:
        self.registry, self.limits, self.places = registry, limits, Places(limits.streams, share)
        self.open: set[Connection] = set()
        self._keeping: asyncio.Task[None] | None = None

    async def connect(self, websocket: WebSocket) -> None:
        """One socket from its first message to its last."""
        await websocket.accept(PROTOCOL if PROTOCOL in websocket.scope.get("subprotocols", ()) else None)
        try:
            with sockets.place(self.places, websocket):
                served, rate, kind, utterances = self._parse(websocket)
                pool = await pool_of(served, self.limits)
                if pool.behind:
                    raise _Stop(_MANY, "Busy", "this server is behind with the streams it has; try again later")
                await self._serve(Connection(websocket, pool, served.name, rate, kind, utterances, self.limits))
        except sockets.Full as full:
            await _refuse(websocket, _Stop(_MANY, "Busy", str(full)))
        except _Stop as stop:
            await _refuse(websocket, stop)

    async def _serve(self, connection: Connection) -> None:
        self.open.add(connection)
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.get_running_loop().create_task(self._keep())
        try:
            await connection.serve()
        finally:
            self.open.discard(connection)

    def _parse(self, websocket: WebSocket) -> tuple[ServedRun, int, str, bool]:
        """The run, rate and format that a socket's address asks for, and whether by utterances. Raises _Stop."""
        try:
            query = sockets.parameters(websocket, PARAMETERS)
            kind, text = query.get("format", "s16"), query.get("rate", str(files.RATE))
            if kind not in FORMATS:
                raise BadData(f"format '{kind[:40]}'; expected {' or '.join(FORMATS)}")
            if not (text.isascii() and text.isdigit() and len(text) < 10):
                raise BadData(f"rate '{text[:40]}'; expected a whole number of Hz, such as 48000")
            files.check_rate(int(text))
            apart = query.get("utterances", "0")
            if apart not in _SWITCH:
                raise BadData(f"utterances '{apart[:40]}'; expected 0 or 1")
        except BadData as error:
            raise _Stop(_BAD, "BadData", str(error)) from None
        try:
            return self.registry.get(query.get("run")), int(text), kind, _SWITCH[apart]
        except Problem as problem:
            raise _Stop(4000 + problem.status, "NoRun", problem.detail) from None

    async def _keep(self) -> None:
        """Close sockets that are idle, do not read, or are open for too long."""
        while self.open:
            await asyncio.sleep(0.25)
            for connection in [*self.open]:
                connection.keep(time.monotonic())


async def pool_of(served: ServedRun, limits: LiveLimits) -> StreamPool:
    """The pool that all connections of this version of a run share. Raises _Stop for a run that cannot stream."""
    if "streams" not in served.cache:
        try:
            classifier = await asyncio.to_thread(lambda: served.run.classifier)
        except SensoriumError as error:
            raise _Stop(_BAD, type(error).__name__, str(error)) from None
        served.cache.setdefault("streams", StreamPool(classifier, limits))
    return served.cache["streams"]


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
        self._last: _Stop | None = None
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
            self.stop(_Stop(_SLOW, "TooSlow", f"{len(self._out)} answers wait to be read; read them as they come"))
        self._wake.set()

    def _coalesce(self) -> None:
        frames = [message for message in self._out if message["type"] == "frames"]
        newest = frames.pop()
        newest["skipped"] = sum(len(message["probabilities"]) + message["skipped"] for message in frames)
        self._out = deque(message for message in self._out if message is newest or message["type"] != "frames")
        self._frames = 1

    def stop(self, stop: _Stop) -> None:
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
            self.stop(_Stop(_IDLE, "Idle", f"no message for {limits.idle:g} s; open the stream again when you speak"))
        elif now - self.began > limits.seconds:
            self.stop(_Stop(_OVER, "Over", f"this stream is {limits.seconds:g} s old; open another"))

    def _failed(self, error: Exception) -> None:
        self.stop(_Stop(_FAULT, "Fault", "this stream failed by a fault of the server; open it again"))

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
                except _Stop as stop:
                    self.stop(stop)
                    return
                await self._pace(len(data or b""))

    def _sound(self, data: bytes) -> None:
        """A chunk of any number of bytes: half a sample is buffered until its other half comes."""
        if len(data) > self.limits.message:
            raise _Stop(_LARGE, "TooLarge", f"a message of {len(data)} bytes; at most {self.limits.message} are taken")
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
            raise _Stop(_BAD, "BadData", str(error)) from None
        if len(samples):
            self.pool.put(self.slot, samples)

    def _check_head(self, data: bytes) -> None:
        """Raise _Stop where a recording begins as a sound file does, and not as samples."""
        assert self.head is not None
        self.head += data[: magic.NEEDED - len(self.head)]
        if name := magic.container(self.head):
            raise _Stop(_BAD, "BadData", f"this is a sound file ({name}), and samples are expected: decode it first, "
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
                raise _Stop(_BAD, "BadMessage", f"text {text[:40]!r}; {expected}") from None
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


class _Stop(Exception):
    """Why a socket is closed: code, title, and what to do."""

    def __init__(self, code: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.title, self.detail = code, title, detail


async def _refuse(websocket: WebSocket, stop: _Stop) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
        await websocket.send_text(json.dumps({"type": "error", "title": stop.title, "detail": stop.detail}))
        await websocket.close(stop.code, stop.title)
