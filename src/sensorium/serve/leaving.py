"""Middleware of a worker that is to end: every answer asks the client to open its next connection elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sensorium.serve.engine.replica import Replica


class Leaving:
    """ASGI that adds ``Connection: close`` to answers once the worker leaves: no request is sent to a closed socket."""

    def __init__(self, app: Any, replica: Replica) -> None:
        self.app, self.replica = app, replica

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Any, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]
    ) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def closing(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and self.replica.leaving:
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        await self.app(scope, receive, closing)
