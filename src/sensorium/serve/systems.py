"""Routes and page scripts of the systems that are found: ``systems/<name>/routes.py`` and ``page.js``."""

from __future__ import annotations

import functools
from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import FileResponse

from sensorium import parts
from sensorium.serve.context import Context


class SystemPage(BaseModel):
    """A view that a system adds to the page. script: path of a module with show(root, view) and perhaps hide()."""

    name: str
    title: str
    script: str


@functools.cache
def scripts() -> dict[str, Path]:
    """The script of every system that brings one, by the path that it is served at."""
    found = {}
    for name in parts.folders("systems"):
        folder = Path(parts.package("systems", name).__file__ or "").parent
        if (folder / "page.js").is_file():
            found[f"/systems/{name}/page.js"] = folder / "page.js"
    return found


def pages() -> list[SystemPage]:
    """The views of all systems."""
    names = [(path.split("/")[2], path) for path in scripts()]
    return [SystemPage(name=name, title=name.replace("_", " ").capitalize(), script=path) for name, path in names]


def routes(context: Context) -> APIRouter:
    """The routes of all systems, and the one of their page scripts."""
    router = APIRouter()
    for module in parts.systems("routes").values():
        router.include_router(module.routes(context))
    for path, file in scripts().items():
        router.add_api_route(path, functools.partial(_script, file), include_in_schema=False)
    return router


async def _script(file: Path) -> FileResponse:
    return FileResponse(file, media_type="text/javascript", headers={"cache-control": "no-cache"})
