"""Routes and pages of the systems that are found: ``systems/<name>/routes.py``, ``page.js`` and ``page.css``."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import FileResponse

from sensorium import parts
from sensorium.serve.context import Context


@dataclass(frozen=True)
class About:
    """What ``systems/<name>/page.py`` may say of its view as ``PAGE``.

    title: in the navigation; by default the system's name. column: the view is for runs of one table with this column.
    """

    title: str = ""
    column: str | None = None


class SystemPage(BaseModel):
    """A view that a system adds to the page. script: path of a module with show(root, view) and perhaps hide()."""

    name: str
    title: str
    script: str
    column: str | None = None


@functools.cache
def scripts() -> dict[str, Path]:
    """The script, and the style sheet, of every system that brings one, by the path that it is served at."""
    found = {}
    for name in parts.folders("systems"):
        folder = Path(parts.package("systems", name).__file__ or "").parent
        for file in ("page.js", "page.css"):
            if (folder / file).is_file():
                found[f"/systems/{name}/{file}"] = folder / file
    return found


def pages() -> list[SystemPage]:
    """The views of all systems."""
    stated = {name: module.PAGE for name, module in parts.systems("page").items()}
    found = []
    for path in scripts():
        name = path.split("/")[2]
        about = stated.get(name, About())
        title = about.title or name.replace("_", " ").capitalize()
        if path.endswith(".js"):
            found.append(SystemPage(name=name, title=title, script=path, column=about.column))
    return found


def routes(context: Context) -> APIRouter:
    """The routes of all systems, and the one of their page scripts."""
    router = APIRouter()
    for module in parts.systems("routes").values():
        router.include_router(module.routes(context))
    for path, file in scripts().items():
        router.add_api_route(path, functools.partial(_script, file), include_in_schema=False)
    return router


async def _script(file: Path) -> FileResponse:
    kind = "text/css" if file.suffix == ".css" else "text/javascript"
    return FileResponse(file, media_type=kind, headers={"cache-control": "no-cache"})
