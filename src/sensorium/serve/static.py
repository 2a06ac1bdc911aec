"""The page's own files, revalidated at every visit, so that no browser mixes modules of two versions."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from sensorium.serve import problems
from sensorium.serve.mounting import Mount, own_path

_ALWAYS_ASK = (b"cache-control", b"no-cache")  # an unchanged file is answered 304 by its etag


_LINK = re.compile(r'\b(href|src)="(?![#/]|\w+:)')  # of the first page to a file beside it


def files(folder: Path, mount: Mount) -> Callable[..., Awaitable[None]]:
    """An ASGI application that serves a folder, its index.html for the bare path.

    mount: below a path prefix the links of index.html begin with it, so that they lead to the same files whether the
    address ends with a slash or not.
    """
    static = StaticFiles(directory=folder, html=True)
    first = (folder / "index.html").read_text("utf-8")

    async def serve(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            detail = f"no socket at {scope['path'][:100]}; see docs/live.md and docs/faces.md"
            return await problems.refuse_socket(send, 404, detail)

        if mount.prefix and own_path(scope) == "/" and scope["method"] in ("GET", "HEAD"):
            page = Response(_LINK.sub(rf'\1="{mount.prefix}/', first), media_type="text/html")
            page.headers["cache-control"] = "no-cache"
            return await page(scope, receive, send)

        async def with_header(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _ALWAYS_ASK]
            await send(message)

        await static(scope, receive, with_header)

    return serve
