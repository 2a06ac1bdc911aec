"""The application: the guard around all routes, the page, and the runs opened and watched meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from sensorium import __version__
from sensorium.serve import live, map, original, problems, runs
from sensorium.serve.guard import OPEN, Guard
from sensorium.serve.settings import Settings
from sensorium.serve.shelf import Shelf

WEB = Path(__file__).parent / "web"
#: Every part of the server that has routes of its own.
ROUTES: tuple[Callable[[Shelf, Settings], Any], ...] = (runs.routes, map.routes, live.routes, original.routes)


def create_app(runs: Sequence[str | Path], settings: Settings | None = None) -> FastAPI:
    """An ASGI application that serves run folders.

    runs: folders of finished runs, or of runs that are being made. Raises BadRecipe for settings
    that would open the server to others without a token.
    """
    settings = (settings or Settings()).check()
    shelf = Shelf(runs)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(shelf.refresh)
        watching = asyncio.create_task(_watch(shelf, settings.reload_seconds))
        yield
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching

    app = FastAPI(
        title="Sensorium",
        version=__version__,
        description="Search over run folders: by words, sounds, pictures, items and vectors.",
        docs_url=None,  # its page comes from another host
        redoc_url=None,
        lifespan=lifespan,
        middleware=[Middleware(Guard, settings=settings, is_open=_is_open)],
    )
    app.state.shelf, app.state.settings = shelf, settings
    problems.install(app)
    for routes in ROUTES:
        app.include_router(routes(shelf, settings))
    app.mount("/", StaticFiles(directory=WEB, html=True), name="web")
    return app


def _is_open(path: str) -> bool:
    """Whether a path may be fetched without the token: the page's own files hold nothing of the runs."""
    return path == "/" or path in OPEN or (path.count("..") == 0 and (WEB / path.lstrip("/")).is_file())


async def _watch(shelf: Shelf, seconds: float) -> None:
    """Look at the run folders again and again."""
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(shelf.refresh)
