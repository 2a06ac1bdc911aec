"""``WS /faces``: frames of one client in, faces out; the newest frame wins, and none pile up."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from http import HTTPStatus
from typing import Any

import orjson
from prometheus_client import Counter, Gauge, Histogram
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from sensorium.errors import SensoriumError
from sensorium.serve import sockets
from sensorium.serve.admission import Places
from sensorium.serve.guard import PROTOCOL
from sensorium.serve.problems import Problem, findings
from sensorium.systems.perception import messages, session
from sensorium.systems.perception.requests import Asked, VectorOrder
from sensorium.systems.perception.session import Service, Session

IDLE, OVER, MANY, SLOW, FAULT, BAD = 4408, 4410, 4429, 4499, 1011, 4400  # close codes
_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.12, 0.25, 0.5, 1, 2.5)
_TEXT = 10_000  # characters of a text message
_FIRST = 'say first what is wanted of the frames, as text: {"run": null, "k": 5}'


class Sockets:
    """All open sockets of faces, and what is counted of them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        settings, registry = service.context.settings, service.context.meter.registry
        self.places = Places(service.limits.streams, settings.client_share)
        gauge = Gauge("sensorium_faces_open", "Open sockets of live faces", registry=registry)
        gauge.set_function(lambda: len(self.places))
        self.frames = Counter("sensorium_faces_frames", "Frames by outcome", ["outcome"], registry=registry)
        self.seconds = Histogram(
            "sensorium_faces_frame_seconds", "From a frame's arrival to its answer", registry=registry, buckets=_BUCKETS
        )

    async def connect(self, websocket: WebSocket) -> None:
        """One socket from its first message to its last."""
        await websocket.accept(PROTOCOL if PROTOCOL in websocket.scope.get("subprotocols", ()) else None)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
            try:
                with sockets.place(self.places, websocket):
                    sockets.parameters(websocket, ())
                    await Connection(websocket, self).serve()
            except sockets.Full as full:
                await _end(websocket, MANY, Problem(429, str(full)))
            except SensoriumError as error:
                await _end(websocket, BAD, Problem(400, str(error)))


class Connection:
    """One socket. The receiver keeps only the newest frame; the answerer takes it when the one before is answered."""

    def __init__(self, websocket: WebSocket, sockets: Sockets) -> None:
        self.websocket, self.sockets, self.service = websocket, sockets, sockets.service
        self.limits = sockets.service.limits
        self.session: Session | None = None
        self._frame: tuple[bytes, float] | None = None  # the newest, and when it arrived
        self._orders: deque[str] = deque()
        self._dropped = 0  # since the answer before
        self._wake = asyncio.Event()
        self._end = time.monotonic() + self.limits.seconds

    async def serve(self) -> None:
        """Receive and answer until either side ends."""
        tasks = asyncio.create_task(self._receive()), asyncio.create_task(self._answer())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            if self.session is not None:
                await self.service.frames.call(self.session.close)
        for error in results:
            if isinstance(error, _Stop):
                await _end(self.websocket, error.code, Problem(error.status, error.detail))
                return
            if isinstance(error, Exception) and not isinstance(error, (WebSocketDisconnect, RuntimeError, OSError)):
                self.service.context.log.failure(error)
                await _end(self.websocket, FAULT, Problem(500, "this stream failed by a fault of the server"))
                return

    async def _receive(self) -> None:
        """Take messages as they come; a frame that waits gives way to a newer one."""
        while True:
            left = self._end - time.monotonic()
            try:
                message = await asyncio.wait_for(self.websocket.receive(), max(0.01, min(self.limits.idle, left)))
            except TimeoutError:
                if left <= self.limits.idle:
                    raise _Stop(OVER, 410, f"this stream is {self.limits.seconds:g} s old; open another") from None
                raise _Stop(IDLE, 408, f"no message for {self.limits.idle:g} s; open the stream again") from None
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            if data is None:
                self._orders.append(message.get("text") or "")
                if len(self._orders) > self.limits.orders:
                    raise _Stop(MANY, 429, f"{len(self._orders)} text messages wait to be answered; send fewer")
            else:
                if self._frame is not None:
                    self._dropped += 1
                    self.sockets.frames.labels("dropped").inc()
                self._frame = data, time.perf_counter()
            self._wake.set()

    async def _answer(self) -> None:
        """Answer text messages in order, and the newest frame, one at a time."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._orders:
                await self._send(await self._guarded(self._order(self._orders.popleft())))
            if self._frame is not None:
                (data, arrived), self._frame = self._frame, None
                await self._send(await self._guarded(self._faces(data, arrived), data))
                if self._frame is not None:
                    self._wake.set()

    async def _order(self, text: str) -> bytes:
        """The answer to a text message."""
        if len(text) > _TEXT:
            raise Problem(413, f"a text message of {len(text)} characters; at most {_TEXT}")
        try:
            known = orjson.loads(text)
        except ValueError:
            raise Problem(422, f"this is no JSON: {text[:40]!r}; frames are binary messages; {_FIRST}") from None
        if isinstance(known, dict) and "vector" in known:
            order = VectorOrder.model_validate(known)
            if self.session is None:
                raise Problem(409, _FIRST)
            return _json({"vector": self.session.vector(order.vector)})
        await self._open(Asked.model_validate(known))
        assert self.session is not None
        return _json({"ready": session.ready(self.session.chosen, self.service.context.redact)})

    async def _open(self, asked: Asked) -> None:
        """Begin anew with what is asked for; the faces and their ids go on where only the run or the counts change."""
        opened = Session(self.service, asked, await session.choose(self.service, asked))
        await opened.begin()
        before, self.session = self.session, opened
        if before is not None:
            before.close()
            if before.asked.smooth == asked.smooth:
                opened.follow(before)

    async def _faces(self, data: bytes, arrived: float) -> bytes:
        """The answer to a frame, by the version of its run that is served now."""
        frame = messages.parse(data, self.limits)
        if self.session is None:
            raise Problem(409, _FIRST)
        await self._follow_run(self.session)
        dropped, self._dropped = self._dropped, 0
        answer = await self.session.answer(frame, arrived, dropped)
        self.sockets.frames.labels("answered").inc()
        self.sockets.seconds.observe(time.perf_counter() - arrived)
        return answer

    async def _follow_run(self, before: Session) -> None:
        """Go on with a new version of the run, which a fit has put in the place of the one in use, and say so."""
        served = before.chosen.served
        if self.service.context.registry.get(served.name) is not served:
            await self._open(before.asked.model_copy(update={"run": served.name}))
            assert self.session is not None
            await self._send(_json({"ready": session.ready(self.session.chosen, self.service.context.redact)}))

    async def _guarded(self, work: Any, data: bytes | None = None) -> bytes:
        """The answer that ``work`` gives, or the problem that it meets; the socket lives on either way."""
        try:
            return await work
        except ValidationError as error:
            problem = Problem(422, findings(error))
        except Problem as error:
            problem = error
        except SensoriumError as error:
            problem = self.service.context.redact.problem(error)
        except (WebSocketDisconnect, _Stop):
            raise
        except Exception as error:  # a bug of ours: its traceback is for the log, and holds nothing of the picture
            self.service.context.log.failure(error)
            problem = Problem(500, "the server failed at this message; its log says why")
        if data is not None:
            self.sockets.frames.labels("problem").inc()
            return _json({"frame": messages.number_of(data), **_told(problem)})
        return _json(_told(problem))

    async def _send(self, text: bytes) -> None:
        try:
            async with asyncio.timeout(self.limits.slow):
                await self.websocket.send_text(text.decode())
        except TimeoutError:
            detail = f"nothing was read for {self.limits.slow:g} s; read the answers as they come"
            raise _Stop(SLOW, 408, detail) from None


class _Stop(Exception):
    """Why a socket is closed."""

    def __init__(self, code: int, status: int, detail: str) -> None:
        super().__init__(detail)
        self.code, self.status, self.detail = code, status, detail


def _told(problem: Problem) -> dict[str, Any]:
    title = HTTPStatus(problem.status).phrase
    return {"problem": {"title": title, "detail": problem.detail, "status": problem.status}}


def _json(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


async def _end(websocket: WebSocket, code: int, problem: Problem) -> None:
    """Say why, and close."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await websocket.send_text(_json(_told(problem)).decode())
            await websocket.close(code, HTTPStatus(problem.status).phrase)
