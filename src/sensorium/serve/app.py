"""The application: guard and metering around all routes, the page, and runs that are watched for new versions."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import Gauge, generate_latest
from starlette.middleware import Middleware

from sensorium import __version__
from sensorium.errors import BadRecipe, SensoriumError
from sensorium.serve import openapi, problems, static, systems
from sensorium.serve.admission import Budget, Places
from sensorium.serve.built import Once
from sensorium.serve.context import Context
from sensorium.serve.engine import additions
from sensorium.serve.engine.decode import Decoders
from sensorium.serve.engine.registry import Registry, ServedRun
from sensorium.serve.engine.replica import Replica
from sensorium.serve.engine.requests import documents
from sensorium.serve.guard import OPEN, Guard
from sensorium.serve.head import Head
from sensorium.serve.leaving import Leaving
from sensorium.serve.lifespan import Lifespan, Started
from sensorium.serve.log import Log
from sensorium.serve.metering import Meter, Metering
from sensorium.serve.mounting import Mount, Mounted
from sensorium.serve.routes import doctor, encode, health, items, labels, map, media, pseudo_images, search, stream
from sensorium.serve.routes import runs as run_pages
from sensorium.serve.settings import Settings

_SOCKETS = ("stream", "faces", "ws")
WEB = Path(__file__).parent / "web"


def create_app(runs: Sequence[str | Path], settings: Settings | None = None) -> FastAPI:
    """An ASGI application that serves run folders.

    runs: folders of finished runs, or of runs that are being made. Raises BadRecipe for settings
    that would open the server to others without a token.
    """
    settings = (settings or Settings()).check()
    log, places = Log(settings), Places(settings.busy, settings.client_share)
    budget = Budget(settings.max_bodies, settings.client_bytes)
    mount = Mount(settings.prefix)
    registry, meter = Registry(runs, settings, log, mount), Meter(places)
    replica, page = Replica.here(), Once(WEB, systems.scripts())
    context = Context(registry, settings, Decoders(settings), meter, log, budget, documents(), mount, replica)
    under_way = Gauge("sensorium_bytes_under_way", "Bytes of bodies and messages under way", registry=meter.registry)
    under_way.set_function(lambda: budget.used)
    searching = search.endpoint(context)

    @contextlib.asynccontextmanager
    async def running() -> AsyncIterator[None]:
        await _refresh(context)
        watching, building = asyncio.create_task(_watch(context)), asyncio.create_task(_build(page, log))
        try:
            yield
        finally:
            app.state.stopping.set()
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            await building
            await context.decoders.close()
            await asyncio.to_thread(registry.close)
            gc.unfreeze()

    lifespan = Lifespan(running)
    app = FastAPI(
        title="Sensorium",
        version=__version__,
        description="Search over run folders: by words, sounds, pictures, items and vectors.",
        docs_url=None,  # its page comes from another host
        redoc_url=None,
        servers=[{"url": settings.public_url}] if settings.public_url else None,
        root_path_in_servers=settings.public_url is None,
        lifespan=lifespan,
        middleware=[
            Middleware(Started, lifespan=lifespan),
            Middleware(Mounted, settings=settings, mount=mount),
            Middleware(Metering, meter=meter, log=log, places=places),
            Middleware(Guard, settings=settings, log=log, is_open=_is_open, budget=budget, places=places),
            Middleware(search.Shortcut, path="/search", function=searching, redact=context.redact),
            Middleware(Head),
            *([] if replica is None else [Middleware(Leaving, replica=replica)]),
        ],
    )
    app.state.context, app.state.stopping = context, asyncio.Event()
    problems.install(app, context.redact)
    app.include_router(search.routes(context, searching))
    for module in (items, media, pseudo_images, encode, health, run_pages, map, doctor, stream, systems):
        app.include_router(module.routes(context))
    if settings.label:
        app.include_router(labels.routes(context))
    app.mount("/", static.files(WEB, mount, page), name="web")
    app.openapi = lambda: openapi.document(app, context)  # type: ignore[method-assign]
    _check_prefix(app, settings.prefix)
    return app


def _check_prefix(app: FastAPI, prefix: str) -> None:
    """Raises BadRecipe for a prefix with which a path does not say whether a proxy has stripped the prefix."""
    if not prefix:
        return
    first = prefix.split("/")[1]
    own = {"openapi.json", "systems", *_SOCKETS, *(path.split("/")[1] for path in app.openapi()["paths"])}
    if first in own or (WEB / first).exists():
        raise BadRecipe(
            f"--public-url ends with {prefix}, and /{first} is an address of this server itself, so the two cannot "
            "be told apart; give the proxy another path, such as /sensorium"
        )


def _is_open(path: str) -> bool:
    """Whether a path may be fetched without the token: the page's own files hold nothing of the runs."""
    return path == "/" or path in OPEN or systems.is_open(path) or _is_page_file(path)


def _is_page_file(path: str) -> bool:
    return static.is_built(path) or (".." not in path and "\0" not in path and (WEB / path.lstrip("/")).is_file())


async def _build(page: Once, log: Log) -> None:
    """Make the page ready before somebody asks for it."""
    await asyncio.to_thread(page)
    if page.fault:
        log.line("warning", "page sent from its source files", fault=page.fault)


async def _watch(context: Context) -> None:
    """Look for new versions of the run folders, and for changes that other processes made, again and again."""
    while True:
        await asyncio.sleep(context.settings.reload_seconds)
        if context.replica is not None:
            context.replica.tell(generate_latest(context.meter.registry).decode())
        await _refresh(context)
        await _follow(context)


async def _follow(context: Context) -> None:
    """Apply the items that other processes, such as ``sensorium add``, added to served runs or removed."""
    for served in context.registry.ready:
        for side, mine in served.workers.sides.items():
            if served.run.journals[side].is_behind:
                try:
                    await mine.searching.do(partial(additions.catch_up, served.workers, side))
                except (SensoriumError, OSError) as error:
                    context.log.line("warning", "changes not read", run=served.name, fault=context.redact(str(error)))


async def _warm(served: ServedRun, log: Log) -> None:
    """Load what the first request would have to wait for."""
    try:
        await health.probe(served)
    except (SensoriumError, problems.Problem) as error:
        log.line("warning", "not ready", run=served.name, fault=str(error))
    except Exception as error:
        log.failure(error)


async def _refresh(context: Context) -> None:
    """Open what is new on the disk, and log it."""
    registry, log = context.registry, context.log
    before = dict(registry.faults)
    changed = await asyncio.to_thread(registry.refresh)
    if changed:
        gc.unfreeze()  # objects of the versions before may be freed now
        gc.collect()
        gc.freeze()  # those of the runs stay; collecting garbage need not look at them each time
    for name in changed:
        served = registry.get(name)
        log.line("info", "opened", run=name, epoch=served.epoch)
        served.cache["warming"] = asyncio.create_task(_warm(served, log))
    for name, fault in registry.faults.items():
        if before.get(name) != fault and registry.state(name) != "building":
            log.line("warning", "not opened", run=name, fault=fault, served=registry.state(name) == "ready")
