"""The embedding space in two dimensions: coordinates of both sides, true pairs, columns to colour by."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import xxhash
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from sensorium import io
from sensorium.errors import DiskFull
from sensorium.pairs import SPLITS
from sensorium.serve import layout, packed, partners
from sensorium.serve.problems import Problem, responses
from sensorium.serve.runs import Sample, side_of, some, tables
from sensorium.serve.settings import Settings
from sensorium.serve.shelf import Shelf, Shown
from sensorium.table import Table

SLOW_POINTS = 30_000  # points that UMAP and PaCMAP are given unless told otherwise: about a minute
MOST_SLOW_POINTS = 200_000
NAMED = 11  # categories with a colour of their own; the rest are "other", coded 255
OTHER = 255
MOST_ROWS = 200  # items told of by one request
_KEPT_IN_MEMORY = 4  # maps kept where the disk takes none


class Working(BaseModel):
    """A map that is still being laid out; ask again."""

    state: Literal["working"] = "working"
    method: str
    seconds: float


class Method(BaseModel):
    """A way to lay the map out, and what to type where it is not installed."""

    name: str
    title: str
    installed: bool
    install: str | None


class Methods(BaseModel):
    """The ways there are."""

    methods: list[Method]


@dataclass(frozen=True)
class Space:
    """What there is to be mapped: ids and columns, and vectors (n, d), of each side at one moment."""

    tables: Mapping[str, Table]
    vectors: Mapping[str, np.ndarray]


async def space_of(shown: Shown) -> Space:
    """The items of a run as they are now; each side is taken in its own thread, where it may change."""
    found = {}
    for side, lane in shown.lanes.sides.items():
        index = shown.run.index(side)
        found[side] = await lane.lane.do(lambda index=index: (index.table, index.vectors()))
    return Space({side: one[0] for side, one in found.items()}, {side: one[1] for side, one in found.items()})


class Maps:
    """Maps by their key: on disk beside the run, in memory where that fails, or being laid out in a process."""

    def __init__(self) -> None:
        self._memory: dict[str, bytes] = {}
        self._tasks: dict[str, tuple[asyncio.Task[bytes], float]] = {}
        self._one = asyncio.Semaphore(1)

    async def get(self, shown: Shown, method: str, n: int) -> bytes | Working:
        """A map, or for how long it has been worked on. Raises a problem when the work failed."""
        space = await space_of(shown)
        key = await asyncio.to_thread(key_of, space, method, n)
        body = await asyncio.to_thread(self._known, shown, key)
        if body is not None:
            return body
        if method == "pca":
            body = await asyncio.to_thread(_pca, space)
            await asyncio.to_thread(self._keep, shown, method, key, body)
            return body
        if key not in self._tasks:
            self._tasks[key] = (asyncio.create_task(self._work(shown, space, method, n, key)), time.monotonic())
        task, began = self._tasks[key]
        await asyncio.wait([task], timeout=0.2)
        if not task.done():
            return Working(method=method, seconds=round(time.monotonic() - began, 1))
        del self._tasks[key]
        return task.result()

    async def _work(self, shown: Shown, space: Space, method: str, n: int, key: str) -> bytes:
        async with self._one:
            body = await _slow(space, method, n)
        await asyncio.to_thread(self._keep, shown, method, key, body)
        return body

    def _known(self, shown: Shown, key: str) -> bytes | None:
        if key in self._memory:
            return self._memory[key]
        try:
            body = (folder_of(shown) / f"{key}.map").read_bytes()
            packed.unpack(body)
        except (OSError, ValueError, KeyError):
            return None
        return body

    def _keep(self, shown: Shown, method: str, key: str, body: bytes) -> None:
        folder = folder_of(shown)
        try:
            io.write(folder / f"{key}.map", body)
            for old in folder.glob(f"{method}-*.map"):
                if old.name != f"{key}.map":
                    old.unlink(missing_ok=True)
        except (OSError, DiskFull):  # a run on a read-only disk is mapped all the same
            self._memory[key] = body
            while len(self._memory) > _KEPT_IN_MEMORY:
                self._memory.pop(next(iter(self._memory)))


def folder_of(shown: Shown) -> Path:
    """Where the maps of a run are kept: beside its folder, which is exchanged whole when it is made anew."""
    return shown.folder.with_name(f".{shown.folder.name}.maps")


def key_of(space: Space, method: str, n: int) -> str:
    """Name of a map: the method, and a hash of ids and vectors (of some rows) so that another run has another."""
    digest = xxhash.xxh3_64(f"{method} {n if method != 'pca' else 0}".encode())
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
    """Lay out at most n points in a process of its own, which ends with the request's task or the server."""
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
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sensorium.serve.layout", method, str(source), str(target),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if process.returncode != 0:
            last = errors.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it was stopped"]
            raise Problem(500, f"{method} failed: {last[0][:300]}; take pca")
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
        sides.append({"name": side, "start": at, "points": len(chosen), "items": len(table)})
        at += len(chosen)
    header = {"method": method, "sides": sides, "seconds": round(time.perf_counter() - start, 2), **more}
    return packed.pack(header, {"xy": ((xy - middle) / reach).astype(np.float32), "rows": np.concatenate(rows)})


def column(values: np.ndarray) -> bytes:
    """A column (n,) to colour by: float32 numbers with their range, or codes of the most frequent categories."""
    distinct, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if values.dtype.kind in "iuf" and len(distinct) > NAMED:
        x = values.astype(np.float32)
        finite = x[np.isfinite(x)]
        low, high = np.quantile(finite, [0.01, 0.99]).tolist() if len(finite) else (0.0, 1.0)
        return packed.pack({"type": "number", "low": low, "high": high}, {"values": x})
    order = np.argsort(-counts, kind="stable")
    code = np.full(len(distinct), OTHER, np.uint8)
    code[order[:NAMED]] = np.arange(min(NAMED, len(order)))
    named = [{"name": str(distinct[i]), "count": int(counts[i])} for i in order[:NAMED]]
    header = {
        "type": "category",
        "values": named,
        "others": int(counts[order[NAMED:]].sum()),
        "distinct": len(distinct),
    }
    return packed.pack(header, {"codes": code[codes]})


def split_column(known: partners.Partners, ids: Mapping[str, Table], side: str) -> np.ndarray:
    """For each item of a side the split its pairs belong to, "" where it has none."""
    both = [table.ids for table in ids.values()]
    left, right, split = known.rows(both[0], both[-1])
    found = np.full(len(ids[side]), len(SPLITS), np.uint8)
    if side == "left":
        found[left] = split
    if side == "right" or len(both) == 1:
        found[right] = split
    return np.array([*SPLITS, ""])[found]


def routes(shelf: Shelf, settings: Settings) -> APIRouter:
    """The routes under ``/runs/{run}/map``."""
    router = APIRouter(prefix="/runs/{run}/map", tags=["map"])
    maps = Maps()

    @router.get("", responses={200: {"content": {packed.MEDIA_TYPE: {}}}, 202: {"model": Working},
                               **responses(404, 409, 500, 501, 503)}, response_class=Response)  # fmt: skip
    async def coordinates(
        run: str,
        method: Literal["pca", "umap", "pacmap"] = "pca",
        n: Annotated[int, Query(ge=10, le=MOST_SLOW_POINTS)] = SLOW_POINTS,
    ) -> Response:
        """Coordinates of both sides: arrays xy (points, 2) and rows (points,), or 202 while they are worked on.

        n: points at most, of both sides together; PCA always takes all.
        """
        shown = shelf.get(run)
        if not layout.installed(method):
            raise Problem(501, f"{layout.METHODS[method][1]} is not installed; type: {install(method)}")
        found = await maps.get(shown, method, n)
        if isinstance(found, Working):
            return Response(found.model_dump_json(), 202, {"retry-after": "1"}, "application/json")
        return Response(found, media_type=packed.MEDIA_TYPE)

    @router.get("/methods", responses=responses(404, 503))
    async def methods(run: str) -> Methods:
        """The ways to lay the map out that there are here."""
        shelf.get(run)
        there = [(name, title, layout.installed(name)) for name, (_, title) in layout.METHODS.items()]
        return Methods(methods=[Method(name=name, title=title, installed=ok, install=None if ok else install(name))
                                for name, title, ok in there])  # fmt: skip

    @router.get("/pairs", responses={200: {"content": {packed.MEDIA_TYPE: {}}}, **responses(404, 503)},
                response_class=Response)  # fmt: skip
    async def pairs(run: str) -> Response:
        """True pairs as rows: arrays left (p,), right (p,) and split (p,), codes into the header's splits."""
        shown = shelf.get(run)
        known = await asyncio.to_thread(partners.of, shown)
        both = [table.ids for table in (await tables(shown)).values()]
        left, right, split = await asyncio.to_thread(known.rows, both[0], both[-1])
        header = {"splits": [*SPLITS, ""], "why": known.why}
        arrays = {"left": left.astype(np.uint32), "right": right.astype(np.uint32), "split": split.astype(np.uint8)}
        return Response(packed.pack(header, arrays), media_type=packed.MEDIA_TYPE)

    @router.get("/column", responses={200: {"content": {packed.MEDIA_TYPE: {}}}, **responses(404, 503)},
                response_class=Response)  # fmt: skip
    async def one_column(run: str, name: str, side: Literal["left", "right"] = "left") -> Response:
        """A metadata column of every item of a side: array values (numbers) or codes (categories).

        The name ``split`` stands for the split an item was in, unless a column has that name.
        """
        shown = shelf.get(run)
        side_of(shown.run, side)
        there = await tables(shown)
        columns = there[side].columns
        if name in columns:
            values = columns[name]
        elif name == "split":
            known = await asyncio.to_thread(partners.of, shown)
            values = await asyncio.to_thread(split_column, known, there, side)
        else:
            raise Problem(404, f"no column '{name[:100]}'; the {side} side has {', '.join([*columns, 'split'])}")
        return Response(await asyncio.to_thread(column, values), media_type=packed.MEDIA_TYPE)

    @router.get("/points", responses=responses(400, 404, 503))
    async def points(run: str, rows: str, side: Literal["left", "right"] = "left") -> Sample:
        """The items at some rows of a side, in that order: rows=3,1,4."""
        wanted = rows.split(",")
        if len(wanted) > MOST_ROWS or not all(one.isascii() and one.isdigit() and len(one) < 12 for one in wanted):
            raise Problem(400, f"rows must be at most {MOST_ROWS} row numbers, such as rows=3,1,4")
        return Sample(items=await some(shelf.get(run), side, [int(one) for one in wanted]))

    return router


def install(method: str) -> str:
    """What to type so that a method can run."""
    return f"pip install 'sensorium[{layout.EXTRA}]'"
