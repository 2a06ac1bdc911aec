"""What runs beside the requests of an application: begun by the server, or by the first request below a mount."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any


class Lifespan:
    """Starts and ends what runs beside the requests.

    running: makes the context that is entered at the start and left at the end. An application that is mounted in
    another one gets no lifespan events (Starlette passes them to the outermost application only); then the first
    request enters the context, and the end of the event loop leaves it.
    """

    def __init__(self, running: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self.running = running
        self._loop: asyncio.AbstractEventLoop | None = None  # in which it runs
        self._starting: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._task: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def __call__(self, app: Any = None) -> AsyncIterator[None]:
        """The context of one run of the application, as Starlette's argument ``lifespan``."""
        async with self.running():
            self._loop = asyncio.get_running_loop()
            try:
                yield
            finally:
                self._loop = None

    async def start(self) -> None:
        """Enter the context, unless it has been entered in this event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._starting is None or self._starting[0] is not loop:
            self._starting = loop, loop.create_future()
            self._task = loop.create_task(self._keep(self._starting[1]))
        await asyncio.shield(self._starting[1])

    async def _keep(self, started: asyncio.Future[None]) -> None:
        """Hold the context until the loop ends, which cancels this task."""
        try:
            async with self():
                started.set_result(None)
                await asyncio.get_running_loop().create_future()
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            self._starting = None


class Started:
    """ASGI that answers no request before the lifespan has begun."""

    def __init__(self, app: Any, lifespan: Lifespan) -> None:
        self.app, self.lifespan = app, lifespan

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on."""
        if scope["type"] != "lifespan":
            await self.lifespan.start()
        await self.app(scope, receive, send)
