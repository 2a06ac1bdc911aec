"""Routes and pages of the systems that are found: ``systems/<name>/routes.py``, ``page.js`` and what it imports."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from sensorium import parts
from sensorium.serve import packed
from sensorium.serve.context import Context

_ENDINGS = (".js", ".css")  # of the files of a page


@dataclass(frozen=True)
class About:
    """What ``systems/<name>/page.py`` may say of its view as ``PAGE``.

    title: in the navigation; by default the system's name. name: in the address; by default the system's name, too.
    column: the view is for runs of one table with this column. kinds: it is for runs of which one side takes the first
    kind, such as text, and the other side is shown as the second, such as audio. side: it is there where any served run
    has a side that takes this kind, or has this name, such as face. open: beginnings of paths that are fetched without
    the token, as scripts are: of files that hold nothing of the runs.
    """

    title: str = ""
    column: str | None = None
    name: str = ""
    kinds: tuple[str, str] | None = None
    side: str | None = None
    open: tuple[str, ...] = ()


class SystemPage(BaseModel):
    """A view that a system adds to the page. script: path of a module with show(root, view) and perhaps hide()."""

    name: str
    title: str
    script: str
    column: str | None = None
    kinds: tuple[str, str] | None = Field(None, description="what one side takes, and the other is shown as")
    side: str | None = Field(None, description="what a side of any served run takes, or is called")


@functools.cache
def scripts() -> dict[str, Path]:
    """The scripts and style sheets of every system that brings a page, by the path that each is served at."""
    found = {}
    for name in parts.folders("systems"):
        folder = Path(parts.package("systems", name).__file__ or "").parent
        if (folder / "page.js").is_file():
            files = sorted(file for file in folder.iterdir() if file.suffix in _ENDINGS)
            found |= {f"/systems/{name}/{file.name}": file for file in files}
    return found


def pages() -> list[SystemPage]:
    """The views of all systems."""
    stated = {name: module.PAGE for name, module in parts.systems("page").items()}
    found = []
    for path in scripts():
        name = path.split("/")[2]
        about = stated.get(name, About())
        title = about.title or name.replace("_", " ").capitalize()
        if path.endswith("/page.js"):
            more = {"column": about.column, "kinds": about.kinds, "side": about.side}
            found.append(SystemPage(name=about.name or name, title=title, script=path, **more))
    return found


@functools.cache
def _open() -> tuple[str, ...]:
    return tuple(start for module in parts.systems("page").values() for start in module.PAGE.open)


def is_open(path: str) -> bool:
    """Whether a path is one of a page's own files, which may be fetched without the token."""
    return path in scripts() or (path.startswith(_open()) and ".." not in path)


def routes(context: Context) -> APIRouter:
    """The routes of all systems, and the one of their page scripts."""
    router = APIRouter()
    for module in parts.systems("routes").values():
        router.include_router(module.routes(context))
    for path, file in scripts().items():
        router.add_api_route(path, functools.partial(_script, file), include_in_schema=False)
    return router


def _script(file: Path, request: Request) -> Response:
    return packed.file_response(file, request.headers)
