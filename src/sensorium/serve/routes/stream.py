"""``WS /stream``: live sound in, labels and segments out; docs/live.md has every message."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

from fastapi import APIRouter
from prometheus_client import Gauge
from starlette.websockets import WebSocket, WebSocketDisconnect

from sensorium.errors import BadData, SensoriumError
from sensorium.modalities.audio import files
from sensorium.serve import sockets
from sensorium.serve.admission import Places
from sensorium.serve.context import Context
from sensorium.serve.engine.registry import Registry, ServedRun
from sensorium.serve.engine.stream_connection import BAD, FORMATS, MANY, Connection, Stop
from sensorium.serve.engine.stream_pool import StreamPool
from sensorium.serve.guard import PROTOCOL
from sensorium.serve.problems import Problem
from sensorium.serve.settings import LiveLimits

PARAMETERS = ("run", "rate", "format", "utterances")
_SWITCH = {"0": False, "false": False, "1": True, "true": True}


def routes(context: Context) -> APIRouter:
    """The route of live sound."""
    router, live = APIRouter(), LiveSockets(context.registry, context.settings.live, context.settings.client_share)
    gauge = Gauge("sensorium_streams_open", "Open sockets of live sound", registry=context.meter.registry)
    gauge.set_function(lambda: len(live.open))
    router.add_api_websocket_route("/stream", live.connect)
    return router


class LiveSockets:
    """All open sockets of live sound; closes those that are idle, do not read or are open for too long."""

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
                    raise Stop(MANY, "Busy", "this server is behind with the streams it has; try again later")
                await self._serve(Connection(websocket, pool, served.name, rate, kind, utterances, self.limits))
        except sockets.Full as full:
            await _refuse(websocket, Stop(MANY, "Busy", str(full)))
        except Stop as stop:
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
        """The run, rate and format of a socket's address, and whether it classifies whole utterances. Raises Stop."""
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
            raise Stop(BAD, "BadData", str(error)) from None
        try:
            return self.registry.get(query.get("run")), int(text), kind, _SWITCH[apart]
        except Problem as problem:
            raise Stop(4000 + problem.status, "NoRun", problem.detail) from None

    async def _keep(self) -> None:
        """Close sockets that are idle, do not read, or are open for too long."""
        while self.open:
            await asyncio.sleep(0.25)
            for connection in [*self.open]:
                connection.keep(time.monotonic())


async def pool_of(served: ServedRun, limits: LiveLimits) -> StreamPool:
    """The pool that all connections of this version of a run share. Raises Stop for a run that cannot stream."""
    if "streams" not in served.cache:
        try:
            classifier = await asyncio.to_thread(lambda: served.run.classifier)
        except SensoriumError as error:
            raise Stop(BAD, type(error).__name__, str(error)) from None
        served.cache.setdefault("streams", StreamPool(classifier, limits))
    return served.cache["streams"]


async def _refuse(websocket: WebSocket, stop: Stop) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
        await websocket.send_text(json.dumps({"type": "error", "title": stop.title, "detail": stop.detail}))
        await websocket.close(stop.code, stop.title)
