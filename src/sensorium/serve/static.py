"""The page: its built files, and its source files for ``/?debug``. See :mod:`sensorium.serve.built`."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.staticfiles import StaticFiles

from sensorium.serve import packed, problems
from sensorium.serve.built import Once
from sensorium.serve.mounting import Mount, own_path

_LINK = re.compile(r'\b(href|src)="(?![#/]|\w+:)')  # of the first page to a file beside it
_BUILT = re.compile(r"/[\w-]+-[0-9a-f]{16}\.(js|css)")


def is_built(path: str) -> bool:
    """Whether a path is called as the built files are, which hold nothing of the runs."""
    return _BUILT.fullmatch(path) is not None


def files(folder: Path, mount: Mount, built: Once) -> Callable[..., Awaitable[None]]:
    """An ASGI application that serves a folder, its index.html for the bare path.

    mount: below a path prefix the links of index.html begin with it, so that they lead to the same files whether the
    address ends with a slash or not. built: the page, which is built at the first request for it.
    """
    static = StaticFiles(directory=folder, html=True)
    source = (folder / "index.html").read_text("utf-8")
    names = {f"/{file.name}": file for file in folder.iterdir() if file.suffix in packed.TYPES}

    @functools.lru_cache(maxsize=8)
    def first(text: str, prefix: str) -> packed.Packed:
        return packed.pack(_LINK.sub(rf'\1="{prefix}/', text) if prefix else text, ".html")

    async def serve(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            detail = f"no socket at {scope['path'][:100]}; see docs/live.md and docs/faces.md"
            return await problems.refuse_socket(send, 404, detail)

        path = own_path(scope)
        if scope["method"] in ("GET", "HEAD"):
            headers, answer = Headers(scope=scope), None
            if path in ("/", "/index.html"):
                debug = "debug" in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
                page = None if debug else await asyncio.to_thread(built)
                answer = packed.response(first(source if page is None else page.index, mount.prefix), headers)
            elif path in names:
                answer = await asyncio.to_thread(packed.file_response, names[path], headers)
            elif path.endswith((".js", ".css")):
                page = await asyncio.to_thread(built)
                if page is not None and path in page.files:
                    answer = packed.response(page.files[path], headers, packed.KEPT)
            if answer is not None:
                return await answer(scope, receive, send)
        await static(scope, receive, send)  # says what there is not

    return serve
