"""Whether the server lives, can search, and how it does: for probes, for Prometheus, and for people."""

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
from sensorium.serve.engine.decode import Decoders
from sensorium.serve.engine.registry import Shelf, Shown
from sensorium.serve.engine.workers import Lanes, Question
from sensorium.serve.metering import Meter
from sensorium.serve.problems import Problem, responses
from sensorium.serve.settings import Settings

_PATIENCE = 10.0  # seconds a probe waits for an answer
_WORDS = "ready"  # what a probe encodes, where a side takes text


class Alive(BaseModel):
    """The server lives."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Every opened run has just encoded and searched."""

    status: Literal["ready"] = "ready"
    runs: dict[str, float] = Field(description="milliseconds each run took")
    waiting: dict[str, str] = Field(default_factory=dict, description="runs that cannot be searched, and why")


class System(BaseModel):
    """How the server does."""

    version: str
    started: float = Field(description="Unix time")
    load: list[float] = Field(description="of the machine, over 1, 5 and 15 minutes")
    memory: int = Field(description="bytes of resident memory")
    under_way: int
    latency: dict[str, dict[str, float]] = Field(description="milliseconds by route, over the last requests")
    runs: list[dict[str, Any]]


def routes(shelf: Shelf, settings: Settings, decoders: Decoders, meter: Meter) -> APIRouter:
    """The routes of probes and of the system page."""
    router, started = APIRouter(tags=["health"]), time.time()
    meter.registry.register(_Sides(shelf))

    @router.get("/healthz", summary="Whether the server lives")
    async def healthz() -> Alive:
        return Alive()

    @router.get("/readyz", summary="Whether every run encodes and searches", responses=responses(503))
    async def readyz() -> Ready:
        took = {}
        for shown in shelf.ready:
            start = time.perf_counter()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await probe(shown)
            except (SensoriumError, Problem, TimeoutError) as error:
                raise Problem(503, f"run '{shown.name}' does not answer: {error or 'no answer in time'}") from None
            took[shown.name] = round(1000 * (time.perf_counter() - start), 2)
        waiting = {name: shelf.faults.get(name, shelf.state(name)) for name in shelf.names if name not in took}
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
        return Response(generate_latest(meter.registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get("/system", summary="How the server does")
    async def system() -> System:
        runs = []
        for name in shelf.names:
            ready = next((shown for shown in shelf.ready if shown.name == name), None)
            told = {"name": name, "state": shelf.state(name), "fault": shelf.faults.get(name)}
            runs.append(told if ready is None else {**told, **state(ready)})
        return System(
            version=__version__,
            started=started,
            load=[round(x, 2) for x in os.getloadavg()],
            memory=resident(),
            under_way=meter.active,
            latency=meter.percentiles(),
            runs=runs,
        )

    return router


async def probe(shown: Shown) -> None:
    """Encode and search one run in earnest."""
    lanes: Lanes = shown.lanes
    run = lanes.run
    side = next((s for s in run.sides if getattr(run.encoder(s), "takes", None) == "text"), run.sides[0])
    to = run.sides[-1] if side == run.sides[0] else run.sides[0]
    if getattr(run.encoder(side), "takes", None) == "text":
        # An encoder of class names knows no other words.
        raw = await lanes.encode(side, getattr(run.encoder(side), "classes", [_WORDS])[0])
    else:
        raw = np.ones(run.head(side).dim_in, np.float32)
    if raw.ndim == 1:
        await lanes.search(to, Question(k=1, raw=raw, side=side))


def state(shown: Shown) -> dict[str, Any]:
    """What is known of a run's indexes, live changes, batches and stores."""
    lanes, sides = shown.lanes, {}
    for side, kept in lanes.sides.items():
        live = lanes.run.journals[side]
        sides[side] = {
            "items": len(lanes.run.index(side)),
            "index": type(lanes.run.index(side)).__name__.lower(),
            "live_changes": len(live.latest),
            "journal_bytes": live.size,
            "waiting": len(kept.lane) + len(kept.encoding),
            "searches": kept.lane.answered,
            "search_batches": kept.lane.batches,
            "encodings": kept.encoding.answered,
            "encoding_batches": kept.encoding.batches,
            "store": lanes.has_raw(side),
            "media": kept.media is not None,
        }
    return {"epoch": shown.epoch, "recipe": lanes.run.recipe.hash, "sides": sides}


def resident() -> int:
    """Bytes of memory that this process holds."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class _Sides:
    """Prometheus gauges of every side, read when they are asked for."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def collect(self) -> list[Any]:
        """The gauges."""
        told = {
            "items": "Items that can be found",
            "waiting": "Questions waiting",
            "searches": "Searches answered",
            "search_batches": "Passes of the index",
            "encodings": "Items encoded",
            "encoding_batches": "Passes of the encoder",
            "journal_bytes": "Bytes of the journal of live changes",
        }
        found = {key: GaugeMetricFamily(f"sensorium_{key}", text, labels=["run", "side"]) for key, text in told.items()}
        ready = GaugeMetricFamily("sensorium_run_ready", "Whether the run can be searched", labels=["run"])
        opened = {shown.name: shown for shown in self.shelf.ready}
        for name in self.shelf.names:
            ready.add_metric([name], float(name in opened))
            if name in opened:
                for side, values in state(opened[name])["sides"].items():
                    for key, family in found.items():
                        family.add_metric([name, side], values[key])
        memory = GaugeMetricFamily("sensorium_memory_bytes", "Resident memory")
        memory.add_metric([], resident())
        return [*found.values(), ready, memory]
