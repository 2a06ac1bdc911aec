"""HEAD requests: answered as GET is, without the body."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]


class Head:
    """ASGI that runs a HEAD request as GET, sends the head of its answer, and stops the rest."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Callable[[Scope], Awaitable[None]]) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self.app(scope, receive, send)
        inner, sent = {**scope, "method": "GET"}, asyncio.Event()

        async def head_only(message: Scope) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                sent.set()
            # What follows is the body, which is not sent.

        work = asyncio.ensure_future(self.app(inner, receive, head_only))
        done = asyncio.ensure_future(sent.wait())
        try:
            await asyncio.wait((work, done), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]  # by which requests are counted
            for task in (work, done):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await done
        if sent.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await work
        else:
            work.result()  # raises what went wrong before there was an answer
