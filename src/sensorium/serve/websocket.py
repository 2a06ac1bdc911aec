"""Uvicorn's WebSocket protocol with limits on memory and time.

Uvicorn bounds one message. Here the bytes of all messages that are not processed yet count in the budget of request
bodies, in total and for each client; a message must be complete in time; and a client that does not read is
disconnected, where closing would wait for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sensorium.serve.admission import Budget, client_of
from sensorium.serve.mounting import below
from sensorium.serve.settings import Settings

_SLACK = 1 << 18  # bytes of one piece from the network, which may hold parts of two messages
_AGAIN, _LARGE = 1013, 1009
_CONTROL = 131  # bytes of the longest ping
_SOUND = "/stream"


def protocol(settings: Settings, budget: Budget) -> type[asyncio.Protocol]:
    """The class of all sockets of one server, as uvicorn's argument ``ws``."""

    class Wire(WebSocketsSansIOProtocol):
        """One socket. Bytes count from their arrival until the application receives the next message."""

        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            self._coming = 0  # bytes of the message that is not complete yet
            self._waiting: deque[int] = deque()  # of each complete one that the application has yet to take
            self._taken = 0  # of the one that it has
            self._largest = settings.live.upload + _SLACK
            self._came = self.loop.time()  # when bytes came last, or could come again
            self._began = self._came  # when the first bytes of the incomplete message came, or could go on
            self._address = ""
            self._ending: asyncio.TimerHandle | None = None

        def stalled(self) -> bool:
            """Whether a message was begun and does not go on, or does not end in time."""
            if not self._coming or self.read_paused:
                return False
            now = self.loop.time()
            return now - self._came > settings.body_seconds or now - self._began > settings.body_total_seconds

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._address = client_of({"client": self.client})

        def data_received(self, data: bytes) -> None:
            self._came = self.loop.time()
            self._began = self._began if self._coming else self._came
            if not budget.take(len(data), self._address):
                self.fail(_AGAIN, "too many bytes are under way, from one address or in all; try again later")
                return
            self._coming += len(data)
            if self._coming > self._largest:
                self.fail(_LARGE, f"a message of over {self._largest - _SLACK} bytes")
                return
            super().data_received(data)

        def handle_connect(self, event: Any) -> None:
            super().handle_connect(event)
            self._forget(self._coming)
            path = below(event.path.partition("?")[0], settings.prefix)
            if path == _SOUND:  # up to twice that, the answer has the reason in words
                self._largest = 2 * settings.live.message + _SLACK

        def send_receive_event_to_app(self) -> None:
            before = self.queue.qsize()
            super().send_receive_event_to_app()
            if self.queue.qsize() > before:
                self._waiting.append(self._coming)
                self._coming = 0
            else:
                self._forget(self._coming)

        def handle_ping(self) -> None:
            super().handle_ping()
            self._forget(min(self._coming, _CONTROL))

        def handle_pong(self, event: Any) -> None:
            super().handle_pong(event)
            self._forget(min(self._coming, _CONTROL))

        async def receive(self) -> Any:
            budget.give(self._taken, self._address)
            self._taken = 0
            message = await super().receive()
            self._came = self._began = self.loop.time()
            if message["type"] == "websocket.receive":
                self._taken = self._waiting.popleft()
            return message

        def on_task_complete(self, task: asyncio.Task[None]) -> None:
            super().on_task_complete(task)
            if not self.disconnected:
                patience = self.close_timeout + 1.0 if self.close_sent else 0.0
                self._ending = self.loop.call_later(patience, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._ending is not None:
                self._ending.cancel()
            budget.give(self._coming + self._taken + sum(self._waiting), self._address)
            self._coming = self._taken = 0
            self._waiting = deque(0 for _ in self._waiting)
            super().connection_lost(exc)

        def _forget(self, size: int) -> None:
            budget.give(size, self._address)
            self._coming -= size

        def fail(self, code: int, reason: str) -> None:
            """Close, whatever the client still sends."""
            if self.transport.is_closing():
                return
            if self.handshake_complete and not self.close_sent:
                self.conn.fail(code, reason)
                self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
            self.transport.close()
            self._ending = self._ending or self.loop.call_later(self.close_timeout, self.transport.abort)

    return Wire
