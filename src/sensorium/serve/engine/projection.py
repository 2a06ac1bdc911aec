"""Maps of a run's vectors: computed once, in a process of its own where that takes long, and cached beside the run."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xxhash
from pydantic import BaseModel

from sensorium import io
from sensorium.errors import DiskFull
from sensorium.serve.engine import binary, layout, own_process, row_version
from sensorium.serve.engine.registry import ServedRun
from sensorium.serve.problems import Problem
from sensorium.table import Table

Method = Literal["tsne", "pca", "umap", "pacmap"]
POINTS = 30_000  # of a map that is not PCA, by default: seconds for t-SNE, about a minute for UMAP and PaCMAP
MOST_POINTS = 200_000
_MOST_WAITING = 4  # maps being computed or queued
_LATER = {"retry-after": "30"}
_CACHED_IN_MEMORY = 4  # maps cached where the disk takes none
_FORMAT = 2  # of a map's header; those of an earlier one are made anew


class Working(BaseModel):
    """A map that is still being computed; request it again."""

    state: Literal["working"] = "working"
    method: str
    seconds: float


@dataclass(frozen=True)
class Space:
    """Input of a map: ids, columns and vectors (n, d) of each side at one moment."""

    tables: Mapping[str, Table]
    vectors: Mapping[str, np.ndarray]


async def space_of(served: ServedRun) -> Space:
    """The items of a run as they are now; each side is taken in its own thread, where it may change."""
    found = {}
    for side, worker in served.workers.sides.items():
        index = served.run.index(side)
        found[side] = await worker.searching.do(lambda index=index: (index.table, index.vectors()))
    return Space({side: one[0] for side, one in found.items()}, {side: one[1] for side, one in found.items()})


class Maps:
    """Maps by their key: on disk beside the run, in memory where that fails, or being computed in a process."""

    def __init__(self) -> None:
        self._memory: dict[str, bytes] = {}
        self._tasks: dict[str, tuple[asyncio.Task[bytes], float]] = {}
        self._one = asyncio.Semaphore(1)

    async def of(self, served: ServedRun, method: str, n: int) -> bytes | Working:
        """As :meth:`get`. Raises a problem also where the method is not installed."""
        if not layout.installed(method):
            raise Problem(501, f"{layout.METHODS[method][1]} is not installed; type: {layout.INSTALL}")
        return await self.get(served, method, n)

    async def get(self, served: ServedRun, method: str, n: int) -> bytes | Working:
        """A map, or for how long it has been computed so far. Raises a problem when that failed."""
        space = await space_of(served)
        n = min(n, sum(map(len, space.vectors.values())))
        key = await asyncio.to_thread(key_of, space, method, n)
        body = await asyncio.to_thread(self._known, served, key)
        if body is not None:
            return body
        if method == "pca":
            body = await asyncio.to_thread(_pca, space)
            await asyncio.to_thread(self._keep, served, method, key, body)
            return body
        if key not in self._tasks:
            for old in [old for old, (one, _) in self._tasks.items() if one.done()]:
                del self._tasks[old]  # no client came back for it; its map is cached
            if len(self._tasks) >= _MOST_WAITING:
                raise Problem(503, f"{len(self._tasks)} maps are queued already; request it again later", _LATER)
            self._tasks[key] = (asyncio.create_task(self._work(served, space, method, n, key)), time.monotonic())
        task, began = self._tasks[key]
        await asyncio.wait([task], timeout=0.2)
        if not task.done():
            return Working(method=method, seconds=round(time.monotonic() - began, 1))
        self._tasks.pop(key, None)
        return task.result()

    async def _work(self, served: ServedRun, space: Space, method: str, n: int, key: str) -> bytes:
        async with self._one:
            body = await _slow(space, method, n)
        await asyncio.to_thread(self._keep, served, method, key, body)
        return body

    def _known(self, served: ServedRun, key: str) -> bytes | None:
        if key in self._memory:
            return self._memory[key]
        try:
            body = (folder_of(served) / f"{key}.map").read_bytes()
            binary.unpack(body)
        except (OSError, ValueError, KeyError):
            return None
        return body

    def _keep(self, served: ServedRun, method: str, key: str, body: bytes) -> None:
        folder = folder_of(served)
        try:
            io.write(folder / f"{key}.map", body)
            for old in folder.glob(f"{method}-*.map"):
                if old.name != f"{key}.map":
                    old.unlink(missing_ok=True)
        except (OSError, DiskFull):  # a run on a read-only disk is mapped all the same
            self._memory[key] = body
            while len(self._memory) > _CACHED_IN_MEMORY:
                self._memory.pop(next(iter(self._memory)))


def folder_of(served: ServedRun) -> Path:
    """The folder of a run's cached maps, beside the run folder, as that is replaced as a whole by a new fit."""
    return served.folder.with_name(f".{served.folder.name}.maps")


def key_of(space: Space, method: str, n: int) -> str:
    """Name of a map: the method, and a hash of ids and vectors (of some rows) so that another run has another."""
    digest = xxhash.xxh3_64(f"{_FORMAT} {method} {n if method != 'pca' else 0}".encode())
    for side, table in space.tables.items():
        ids, vectors = table.ids, space.vectors[side]
        digest.update(f"{side} {len(ids)} {ids.dtype}".encode())
        digest.update(np.ascontiguousarray(ids).view(np.uint8))
        digest.update(np.ascontiguousarray(vectors[:: max(1, len(ids) // 1000)]))
    return f"{method}-{digest.hexdigest()}"


def _pca(space: Space) -> bytes:
    start = time.perf_counter()
    vectors = list(space.vectors.values())
    if not all(map(len, vectors)):
        raise Problem(409, "this run has a side without items; there is nothing to map")
    laid, shares = layout.pca(vectors)
    rows = [np.arange(len(one), dtype=np.uint32) for one in laid]
    return _body(space, "pca", np.concatenate(laid), rows, start, {"explained": shares})


async def _slow(space: Space, method: str, n: int) -> bytes:
    """Project at most n points in a process of its own, which ends with the request's task or the server."""
    start = time.perf_counter()
    sizes = [len(one) for one in space.vectors.values()]
    share = min(1.0, n / max(1, sum(sizes)))
    random = np.random.default_rng(0)
    rows = [np.sort(random.choice(size, round(size * share), replace=False)).astype(np.uint32) for size in sizes]
    if sum(map(len, rows)) < 10:
        raise Problem(409, f"{sum(map(len, rows))} points are too few for {method}; take pca")
    with tempfile.TemporaryDirectory(prefix="sensorium-map-") as place:
        source, target = Path(place) / "in.npy", Path(place) / "out.npy"
        vectors = [one[chosen] for one, chosen in zip(space.vectors.values(), rows, strict=True)]
        await asyncio.to_thread(np.save, source, np.concatenate(vectors), allow_pickle=False)
        if reason := await own_process.run("sensorium.serve.engine.layout", method, str(source), str(target)):
            raise Problem(500, f"{method} failed: {reason}; take pca")
        xy = await asyncio.to_thread(np.load, target, allow_pickle=False)
    return _body(space, method, xy, rows, start, {})


def _body(
    space: Space, method: str, xy: np.ndarray, rows: list[np.ndarray], start: float, more: dict[str, Any]
) -> bytes:
    """The answer: points of the left side, then of the right, within about −1 … 1."""
    middle = np.median(xy, 0)
    reach = float(np.quantile(np.abs(xy - middle), 0.999)) or 1.0
    sides, at = [], 0
    for (side, table), chosen in zip(space.tables.items(), rows, strict=True):
        named = row_version.of(table.ids)
        sides.append({"name": side, "start": at, "points": len(chosen), "items": len(table), "generation": named})
        at += len(chosen)
    header = {"method": method, "sides": sides, "seconds": round(time.perf_counter() - start, 2), **more}
    return binary.pack(header, {"xy": ((xy - middle) / reach).astype(np.float32), "rows": np.concatenate(rows)})
