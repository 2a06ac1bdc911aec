"""WebSockets as uvicorn speaks them, within what this server's memory and patience bear.

Uvicorn bounds one message; here all that is on its way in counts among the bodies of all requests, and a client that
takes nothing is cut off in the end, where closing would wait for it to read what was sent before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sensorium.serve.admission import Budget
from sensorium.serve.settings import Settings

_SLACK = 1 << 18  # bytes of one piece from the network, which may hold parts of two messages
_AGAIN, _LARGE = 1013, 1009
_CONTROL = 131  # bytes of the longest ping
_SOUND = "/stream"


def protocol(settings: Settings, budget: Budget) -> type[asyncio.Protocol]:
    """The class of all sockets of one server, to be given to uvicorn."""

    class Wire(WebSocketsSansIOProtocol):
        """One socket. Bytes count from when they come until the application asks for the next message."""

        def __init__(self, *told: Any, **more: Any) -> None:
            super().__init__(*told, **more)
            self._coming = 0  # bytes of the message that is not whole yet
            self._waiting: deque[int] = deque()  # of each whole one that the application has yet to take
            self._taken = 0  # of the one that it has
            self._largest = settings.live.upload + _SLACK
            self._came = self.loop.time()  # when bytes came last, or could come again
            self._ending: asyncio.TimerHandle | None = None

        def stalled(self) -> bool:
            """Whether a message was begun and does not go on."""
            waits = self._coming and not self.read_paused
            return bool(waits) and self.loop.time() - self._came > settings.body_seconds

        def data_received(self, data: bytes) -> None:
            self._came = self.loop.time()
            if not budget.take(len(data)):
                self.fail(_AGAIN, "the server has as much under way as it takes; try again later")
                return
            self._coming += len(data)
            if self._coming > self._largest:
                self.fail(_LARGE, f"a message of over {self._largest - _SLACK} bytes")
                return
            super().data_received(data)

        def handle_connect(self, event: Any) -> None:
            super().handle_connect(event)
            self._forget(self._coming)
            if event.path.partition("?")[0] == _SOUND:  # up to twice what is taken, it is told why in words
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
            budget.give(self._taken)
            self._taken = 0
            message = await super().receive()
            self._came = self.loop.time()
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
            budget.give(self._coming + self._taken + sum(self._waiting))
            self._coming = self._taken = 0
            self._waiting = deque(0 for _ in self._waiting)
            super().connection_lost(exc)

        def _forget(self, size: int) -> None:
            budget.give(size)
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
