"""The application: the guard around all routes, the page, and the runs opened and watched meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import Gauge
from starlette.middleware import Middleware

from sensorium import __version__
from sensorium.errors import SensoriumError
from sensorium.serve import openapi, problems, static
from sensorium.serve.budget import Budget
from sensorium.serve.engine.decode import Decoders
from sensorium.serve.engine.registry import Shelf, Shown
from sensorium.serve.guard import OPEN, Guard
from sensorium.serve.metering import Log, Meter, Metering
from sensorium.serve.routes import encode, health, items, map, media, search, stream
from sensorium.serve.routes import runs as run_pages
from sensorium.serve.settings import Settings
from sensorium.systems.speech_emotion import socket

WEB = Path(__file__).parent / "web"


def create_app(runs: Sequence[str | Path], settings: Settings | None = None) -> FastAPI:
    """An ASGI application that serves run folders.

    runs: folders of finished runs, or of runs that are being made. Raises BadRecipe for settings
    that would open the server to others without a token.
    """
    settings = (settings or Settings()).check()
    shelf, decoders, meter, log = Shelf(runs, settings), Decoders(settings), Meter(), Log(settings)
    budget = Budget(settings.max_bodies)
    held = Gauge("sensorium_bytes_under_way", "Bytes of bodies and messages under way", registry=meter.registry)
    held.set_function(lambda: budget.used)

    searching = search.endpoint(shelf, settings, decoders, log)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await _refresh(shelf, log)
        watching = asyncio.create_task(_watch(shelf, settings.reload_seconds, log))
        yield
        app.state.stopping.set()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await decoders.close()
        await asyncio.to_thread(shelf.close)

    app = FastAPI(
        title="Sensorium",
        version=__version__,
        description="Search over run folders: by words, sounds, pictures, items and vectors.",
        docs_url=None,  # its page comes from another host
        redoc_url=None,
        lifespan=lifespan,
        middleware=[
            Middleware(Metering, meter=meter, log=log, settings=settings),
            Middleware(Guard, settings=settings, log=log, is_open=_is_open, budget=budget),
            Middleware(search.Shortcut, path="/search", function=searching),
        ],
    )
    app.state.shelf, app.state.settings, app.state.stopping = shelf, settings, asyncio.Event()
    app.state.budget = budget
    problems.install(app)
    for router in (
        search.routes(searching),
        items.routes(shelf, settings, decoders),
        media.routes(shelf, settings),
        encode.routes(shelf, settings, decoders),
        health.routes(shelf, settings, decoders, meter),
        run_pages.routes(shelf, settings),
        map.routes(shelf, settings),
        stream.routes(shelf, settings, meter),
        socket.routes(shelf, settings, decoders, budget),
    ):
        app.include_router(router)
    app.mount("/", static.files(WEB), name="web")
    app.openapi = lambda: openapi.document(app, settings.token is not None)  # type: ignore[method-assign]
    return app


def _is_open(path: str) -> bool:
    """Whether a path may be fetched without the token: the page's own files hold nothing of the runs."""
    return path == "/" or path in OPEN or (".." not in path and (WEB / path.lstrip("/")).is_file())


async def _watch(shelf: Shelf, seconds: float, log: Log) -> None:
    """Look at the run folders again and again."""
    while True:
        await asyncio.sleep(seconds)
        await _refresh(shelf, log)


async def _warm(shown: Shown, log: Log) -> None:
    """Load what the first request would have to wait for."""
    try:
        await health.probe(shown)
    except (SensoriumError, problems.Problem) as error:
        log.line("warning", "not ready", run=shown.name, fault=str(error))


async def _refresh(shelf: Shelf, log: Log) -> None:
    """Open what is new on the disk, and say so."""
    before = dict(shelf.faults)
    changed = await asyncio.to_thread(shelf.refresh)
    if changed:
        gc.unfreeze()  # the versions before may go now
        gc.collect()
        gc.freeze()  # what the runs hold stays; collecting garbage need not look at it each time
    for name in changed:
        shown = shelf.get(name)
        log.line("info", "opened", run=name, epoch=shown.epoch)
        shown.kept["warming"] = asyncio.create_task(_warm(shown, log))
    for name, fault in shelf.faults.items():
        if before.get(name) != fault:
            log.line("warning", "not opened", run=name, fault=fault, served=shelf.state(name) == "ready")
