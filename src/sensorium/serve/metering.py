"""What is counted and logged of every request: latency by route, requests under way, one line of JSON each."""

from __future__ import annotations

import sys
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import numpy as np
import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sensorium.serve.problems import MEDIA_TYPE, document
from sensorium.serve.settings import Settings

_LEVELS = {"debug": 0, "info": 1, "warning": 2, "off": 3}
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RECENT = 2048  # latencies of a route that percentiles are taken from


class Log:
    """Lines of JSON on the error stream. Neither tokens nor bodies ever get here."""

    def __init__(self, settings: Settings) -> None:
        self.least = _LEVELS[settings.log]

    def line(self, level: str, event: str, **told: Any) -> None:
        """Write one line, if its level is asked for."""
        if _LEVELS[level] >= self.least:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{int(time.time() * 1000) % 1000:03d}Z"
            text = orjson.dumps({"time": stamp, "level": level, "event": event, **told}, default=str)
            sys.stderr.write(text.decode() + "\n")

    def failure(self, error: BaseException) -> None:
        """Write a bug's traceback as one line."""
        text = "".join(traceback.format_exception(error))
        self.line("warning", "failure", error=type(error).__name__, traceback=text)


class Meter:
    """Counts and latencies by route."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = ["method", "route", "status"]
        self.requests = Counter("sensorium_requests", "Requests answered", names, registry=self.registry)
        self.seconds = Histogram(
            "sensorium_request_seconds", "Time to answer", ["route"], buckets=_BUCKETS, registry=self.registry
        )
        self.under_way = Gauge("sensorium_requests_under_way", "Requests under way", registry=self.registry)
        self.active = 0
        self.recent: dict[str, deque[float]] = {}
        self.under_way.set_function(lambda: self.active)
        self._children: dict[tuple[str, str, int], tuple[Any, Any, deque[float]]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Take in one answered request."""
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
        told = {}
        for route, seconds in self.recent.items():
            p50, p95, p99 = np.percentile(list(seconds), (50, 95, 99)) * 1000
            told[route] = {"count": len(seconds), "p50": round(p50, 3), "p95": round(p95, 3), "p99": round(p99, 3)}
        return told


class Metering:
    """ASGI around everything: counts, times and logs requests, and turns away what is too much."""

    def __init__(self, app: Any, meter: Meter, log: Log, settings: Settings) -> None:
        self.app, self.meter, self.log, self.busy = app, meter, log, settings.busy

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Pass a request on and take in how it went."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, meter, status = time.perf_counter(), self.meter, 0
        if meter.active >= self.busy:
            body = document(503, f"{meter.active} requests are under way, as many as this server takes; try again")
            headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode()),
                       (b"retry-after", b"1")]  # fmt: skip
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return meter.count("-", "busy", 503, 0.0)

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        meter.active += 1
        try:
            await self.app(scope, receive, watched)
        finally:
            meter.active -= 1
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", None) or ("file" if status < 400 else "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            meter.count(method, route, status, seconds)
            if self.log.least < 2:
                self.log.line("info", "request", method=method, route=route, status=status, ms=round(1000 * seconds, 2))


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))
