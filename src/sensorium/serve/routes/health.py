"""Health: liveness and readiness probes, Prometheus metrics, and the system page."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Response
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from pydantic import BaseModel, Field

from sensorium import __version__
from sensorium.errors import SensoriumError
from sensorium.search.query import Input, Options, resolve
from sensorium.serve.context import Context
from sensorium.serve.engine.registry import Registry, ServedRun
from sensorium.serve.engine.workers import SearchTask
from sensorium.serve.problems import Problem, responses

_PATIENCE = 10.0  # seconds a probe waits for an answer
_WORDS = "ready"  # what a probe encodes, where a side takes text


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
    worker: int | None = Field(None, description="number of the worker that answers, of several")
    workers: dict[int, float] | None = Field(None, description="seconds since each worker's last sign of life")


class Ready(BaseModel):
    """Every opened run has just encoded and searched."""

    status: Literal["ready"] = "ready"
    runs: dict[str, float] = Field(description="milliseconds each run took")
    waiting: dict[str, str] = Field(default_factory=dict, description="runs that cannot be searched, with the reason")


class System(BaseModel):
    """The state of the server."""

    version: str
    started: float = Field(description="Unix time")
    load: list[float] = Field(description="of the machine, over 1, 5 and 15 minutes")
    memory: int = Field(description="bytes of resident memory")
    under_way: int
    latency: dict[str, dict[str, float]] = Field(description="milliseconds by route, over the last requests")
    runs: list[dict[str, Any]]


def routes(context: Context) -> APIRouter:
    """The routes of probes and of the system page."""
    router, started = APIRouter(tags=["health"]), time.time()
    registry, meter = context.registry, context.meter
    meter.registry.register(_Sides(registry))

    @router.get("/healthz", summary="Whether the process answers", response_model_exclude_none=True)
    async def healthz() -> Alive:
        here = context.replica
        return Alive() if here is None else Alive(worker=here.number, workers=here.alive())

    @router.get("/readyz", summary="Whether every run encodes and searches", responses=responses(503))
    async def readyz() -> Ready:
        took = {}
        for served in registry.ready:
            start = time.perf_counter()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await probe(served)
            except TimeoutError:
                raise Problem(503, f"run '{served.name}' did not answer within {_PATIENCE:g} s") from None
            except (SensoriumError, Problem) as error:
                raise Problem(503, f"run '{served.name}' does not answer: {error}") from None
            except Exception as error:
                context.log.failure(error)
                raise Problem(503, f"run '{served.name}' fails with {type(error).__name__}; the log says why") from None
            took[served.name] = round(1000 * (time.perf_counter() - start), 2)
        waiting = {name: registry.fault(name) or registry.state(name) for name in registry.names if name not in took}
        if not took:
            raise Problem(503, "no run can be searched: " + "; ".join(f"{n}: {why}" for n, why in waiting.items()))
        return Ready(runs=took, waiting=waiting)

    @router.get(
        "/metrics",
        summary="Counts and latencies, for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        def own() -> str:
            return generate_latest(meter.registry).decode()

        text = own() if context.replica is None else context.replica.metrics(own)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get("/system", summary="The state of the server")
    async def system() -> System:
        runs = []
        for name in registry.names:
            ready = next((served for served in registry.ready if served.name == name), None)
            entry = {"name": name, "state": registry.state(name), "fault": registry.fault(name)}
            runs.append(entry if ready is None else {**entry, **state(ready)})
        return System(
            version=__version__,
            started=started,
            load=[round(x, 2) for x in os.getloadavg()],
            memory=resident(),
            under_way=len(meter.places),
            latency=meter.percentiles(),
            runs=runs,
        )

    return router


async def probe(served: ServedRun) -> None:
    """Encode and search one run once."""
    workers = served.workers
    run = workers.run
    side = next((s for s in run.sides if workers.takes(s) == "text"), run.sides[0])
    to = run.sides[-1] if side == run.sides[0] else run.sides[0]
    if workers.takes(side) == "text":
        # An encoder of class names takes no other words.
        raw = await workers.encode(side, run.encoder(side).example or _WORDS)
    else:
        raw = np.ones(run.head(side).dim_in, np.float32)
    if raw.ndim == 1:
        query = resolve(run, [Input(side)], Options(k=1, to=to))
        await workers.search(SearchTask(query, raw=raw, side=side))


def state(served: ServedRun) -> dict[str, Any]:
    """The state of a run's indexes, live changes, batches and stores."""
    workers, sides, moved = served.workers, {}, served.run.migrations.by_side
    for side, mine in workers.sides.items():
        live = workers.run.journals[side]
        sides[side] = {
            "items": len(workers.run.index(side)),
            "index": type(workers.run.index(side)).__name__.lower(),
            "live_changes": len(live.latest),
            "journal_bytes": live.size,
            "waiting": len(mine.searching) + len(mine.encoding),
            "searches": mine.searching.answered,
            "search_batches": mine.searching.batches,
            "encodings": mine.encoding.answered,
            "encoding_batches": mine.encoding.batches,
            "store": workers.has_raw(side),
            "media": mine.media is not None,
            "encoder": workers.run.recipe.part_name(f"{side}.encoder"),
            "migration": None if (one := moved.get(side)) is None else one.summary(),
        }
    return {"epoch": served.epoch, "recipe": workers.run.recipe.hash, "sides": sides}


def resident() -> int:
    """Bytes of memory that this process holds."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class _Sides:
    """Prometheus gauges of every side, read at each scrape."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def collect(self) -> list[Any]:
        """The gauges."""
        texts = {
            "items": "Items that can be searched",
            "waiting": "Requests waiting",
            "searches": "Searches answered",
            "search_batches": "Passes of the index",
            "encodings": "Items encoded",
            "encoding_batches": "Passes of the encoder",
            "journal_bytes": "Bytes of the journal of live changes",
        }
        found = {
            key: GaugeMetricFamily(f"sensorium_{key}", text, labels=["run", "side"]) for key, text in texts.items()
        }
        ready = GaugeMetricFamily("sensorium_run_ready", "Whether the run can be searched", labels=["run"])
        opened = {served.name: served for served in self.registry.ready}
        for name in self.registry.names:
            ready.add_metric([name], float(name in opened))
            if name in opened:
                for side, values in state(opened[name])["sides"].items():
                    for key, family in found.items():
                        family.add_metric([name, side], values[key])
        memory = GaugeMetricFamily("sensorium_memory_bytes", "Resident memory")
        memory.add_metric([], resident())
        return [*found.values(), ready, memory]
