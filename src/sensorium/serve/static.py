"""The page's own files, see :mod:`sensorium.serve.packed`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.staticfiles import StaticFiles

from sensorium.serve import packed, problems
from sensorium.serve.mounting import Mount, own_path

_LINK = re.compile(r'\b(href|src)="(?![#/]|\w+:)')  # of the first page to a file beside it


def files(folder: Path, mount: Mount) -> Callable[..., Awaitable[None]]:
    """An ASGI application that serves a folder, its index.html for the bare path.

    mount: below a path prefix the links of index.html begin with it, so that they lead to the same files whether the
    address ends with a slash or not.
    """
    static = StaticFiles(directory=folder, html=True)
    first = (folder / "index.html").read_text("utf-8")
    names = {f"/{file.name}": file for file in folder.iterdir() if file.suffix in packed.TYPES}

    async def serve(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            detail = f"no socket at {scope['path'][:100]}; see docs/live.md and docs/faces.md"
            return await problems.refuse_socket(send, 404, detail)

        path = own_path(scope)
        if scope["method"] in ("GET", "HEAD"):
            headers = Headers(scope=scope)
            if path in ("/", "/index.html"):
                page = _LINK.sub(rf'\1="{mount.prefix}/', first) if mount.prefix else first
                return await packed.response(page, ".html", headers)(scope, receive, send)
            file = names.get(path)
            if file is not None:
                answer = await asyncio.to_thread(packed.file_response, file, headers)
                return await answer(scope, receive, send)
        await static(scope, receive, send)  # says what there is not

    return serve
