"""The page's own files, revalidated at every visit, so that no browser mixes modules of two versions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.staticfiles import StaticFiles

from sensorium.serve import problems

_ALWAYS_ASK = (b"cache-control", b"no-cache")  # an unchanged file is answered 304 by its etag


def files(folder: Path) -> Callable[..., Awaitable[None]]:
    """An ASGI application that serves a folder, its index.html for the bare path."""
    static = StaticFiles(directory=folder, html=True)

    async def serve(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            detail = f"no socket at {scope['path'][:100]}; see docs/live.md and docs/faces.md"
            return await problems.refuse_socket(send, 404, detail)

        async def with_header(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _ALWAYS_ASK]
            await send(message)

        await static(scope, receive, with_header)

    return serve
