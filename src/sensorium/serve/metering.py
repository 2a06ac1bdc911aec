"""Metrics and the access log: latency by route, requests in flight, a line of JSON for each request."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sensorium.serve.admission import Places, client_of
from sensorium.serve.log import Log
from sensorium.serve.mounting import own_path
from sensorium.serve.problems import MEDIA_TYPE, document

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RECENT = 2048  # latencies of a route that percentiles are taken from


class Meter:
    """Counts and latencies by route."""

    def __init__(self, places: Places) -> None:
        self.places, self.registry = places, CollectorRegistry()
        names = ["method", "route", "status"]
        self.requests = Counter("sensorium_requests", "Requests answered", names, registry=self.registry)
        self.seconds = Histogram(
            "sensorium_request_seconds", "Time to answer", ["route"], buckets=_BUCKETS, registry=self.registry
        )
        self.under_way = Gauge("sensorium_requests_under_way", "Requests under way", registry=self.registry)
        self.recent: dict[str, deque[float]] = {}
        self.under_way.set_function(lambda: len(places))
        self._children: dict[tuple[str, str, int], tuple[Any, Any, deque[float]]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        found = self._children.get((method, route, status))
        if found is None:
            found = self._children[method, route, status] = (
                self.requests.labels(method, route, str(status)),
                self.seconds.labels(route),
                self.recent.setdefault(route, deque(maxlen=_RECENT)),
            )
        found[0].inc()
        found[1].observe(seconds)
        found[2].append(seconds)

    def percentiles(self) -> dict[str, dict[str, float]]:
        """Latency in milliseconds of the last requests of every route."""
        latency = {}
        for route, seconds in self.recent.items():
            p50, p95, p99 = np.percentile(list(seconds), (50, 95, 99)) * 1000
            latency[route] = {"count": len(seconds), "p50": round(p50, 3), "p95": round(p95, 3), "p99": round(p99, 3)}
        return latency


class Metering:
    """ASGI around everything: counts, times and logs requests, and refuses those beyond the places there are."""

    def __init__(self, app: Any, meter: Meter, log: Log, places: Places) -> None:
        self.app, self.meter, self.log, self.places = app, meter, log, places

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Pass a request on and count its outcome."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, places, status = time.perf_counter(), self.places, 0
        place = None
        if own_path(scope) not in PROBES:
            place = places.enter(client_of(scope))
            if place is None:
                await self._refuse(send)
                return self.meter.count("-", "busy", 503, 0.0)
            scope[PLACE] = place

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            if place is not None:
                places.leave(place)
            seconds = time.perf_counter() - start
            status = status or CLOSED
            route = getattr(scope.get("route"), "path", None) or ("file" if status < 400 else "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.meter.count(method, route, status, seconds)
            if self.log.least < 2:
                self.log.line("info", "request", method=method, route=route, status=status, ms=round(1000 * seconds, 2))

    async def _refuse(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
        body = document(503, f"{len(self.places)} requests are under way, as many as this server takes from one "
                             "address or from all; try again")  # fmt: skip
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode()),
                   (b"retry-after", b"1")]  # fmt: skip
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})


#: Paths that are answered however busy the server is.
PROBES = frozenset(("/healthz", "/readyz"))
#: Where a scope holds the place of its request.
PLACE = "sensorium.place"
#: The status that is counted for a client that went before it was answered.
CLOSED = 499
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))
