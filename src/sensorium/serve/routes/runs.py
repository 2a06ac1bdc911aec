"""What there is to look at: the runs, their numbers, plots and cards, their training as it happens, comparisons."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field

from sensorium.errors import SensoriumError
from sensorium.evaluate import compare
from sensorium.search.run import Run
from sensorium.serve.engine import row_version
from sensorium.serve.engine.registry import Shelf, Shown
from sensorium.serve.problems import Problem, of_sensorium, responses
from sensorium.serve.routes import training
from sensorium.serve.settings import Settings
from sensorium.table import Table

_VALUES = 50  # distinct values of a column up to which they are listed, to choose from
_PLOTS = {".png": "image/png", ".svg": "image/svg+xml"}


class Column(BaseModel):
    """A metadata column: its values, most frequent first, when there are few."""

    name: str
    type: Literal["text", "number"]
    values: list[str | float | int | bool] = Field(default_factory=list)


class Side(BaseModel):
    """One side of a run: what its encoder takes, what its items are shown as, how many there are."""

    takes: str
    encoder: str | None = Field(description="name of what encodes them; null where they came as vectors")
    kind: Literal["image", "audio", "text", "none"]
    items: int
    columns: list[Column]
    raw: bool = Field(description="whether space=encoder can be searched")


class RunTold(BaseModel):
    """A run in the list of runs."""

    name: str
    state: Literal["ready", "building", "broken"]
    detail: str | None = None
    recipe: str = ""
    remaking: bool = Field(False, description="a new version is being made right now")
    sides: dict[str, Side] = Field(default_factory=dict)
    one_table: bool = False
    streams: bool = Field(False, description="sound can be read live, see /stream")
    corrected: list[str] = Field(default_factory=list, description="directions with a hubness correction")
    calibrated: list[str] = Field(default_factory=list, description="directions whose scores become probabilities")
    results: list[dict[str, Any]] = Field(default_factory=list)


class Runs(BaseModel):
    """Every run that is served."""

    runs: list[RunTold]


class RunPage(BaseModel):
    """Everything about one run."""

    name: str
    state: Literal["ready", "building", "broken"]
    recipe: str = Field(description="TOML")
    card: str = Field(description="Markdown")
    metrics: dict[str, Any] | None
    plots: list[str]
    building: bool
    stage: str | None = Field(description="embed, fit, evaluate or index, while it is being made")


class History(BaseModel):
    """What a fit told: its settings, then an event an epoch."""

    header: dict[str, Any]
    events: list[dict[str, Any]]
    running: bool


class Sample(BaseModel):
    """Some items of a side, to begin from."""

    items: list[dict[str, Any]]


def column_of(name: str, values: np.ndarray) -> Column:
    """A column as it is told."""
    kind = "number" if values.dtype.kind in "iufb" else "text"
    if not len(values):
        return Column(name=name, type=kind)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) > _VALUES or (distinct.dtype.kind == "f" and not np.isfinite(distinct).all()):
        return Column(name=name, type=kind)
    return Column(name=name, type=kind, values=distinct[np.argsort(-counts, kind="stable")].tolist())


async def told(shelf: Shelf, name: str) -> RunTold:
    """A run in the list of runs."""
    state, folder, fault = shelf.state(name), shelf.folders[name], shelf.faults.get(name)
    remaking = await asyncio.to_thread(training.running, folder)
    if state != "ready":
        return RunTold(name=name, state=state, detail=fault, remaking=remaking)
    shown = shelf.get(name)
    run = shown.run
    return RunTold(
        name=name,
        state="ready",
        detail=fault,
        recipe=run.recipe.name,
        remaking=remaking,
        sides={side: await _side(shown, side, table) for side, table in (await tables(shown)).items()},
        one_table=len(run.sides) == 1,
        streams=await asyncio.to_thread(lambda: run.streams),
        corrected=sorted(run.corrections),
        calibrated=sorted(direction for direction, one in run.trust.items() if one.get("probability")),
        results=plain(run.metrics.get("results", [])),
    )


async def tables(shown: Shown) -> dict[str, Table]:
    """Ids and columns of every side as they are now; each is taken in its own thread, where it may change."""
    return {
        side: await lane.lane.do(lambda s=side: shown.run.index(s).table) for side, lane in shown.lanes.sides.items()
    }


async def _side(shown: Shown, side: str, table: Table) -> Side:
    known = shown.kept.get(f"columns {side}")
    if known is None or known[0] is not table:
        columns = await asyncio.to_thread(lambda: [column_of(*one) for one in table.columns.items()])
        known = shown.kept[f"columns {side}"] = (table, columns)
    encoder = shown.run.encoder(side)
    return Side(
        takes="vectors" if encoder is None else encoder.takes,
        encoder=shown.run.recipe.part_name(f"{side}.encoder"),
        kind=shown.lanes.kinds[side],
        items=len(table),
        columns=known[1],
        raw=shown.lanes.has_raw(side),
    )


def plain(value: Any) -> Any:
    """The same without NaN and infinity, for which JSON has no word: None stands there."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def page(shelf: Shelf, name: str) -> RunPage:
    """Everything about one run, from its folder or, while it is made for the first time, from where it is built."""
    folder, state = shelf.folders[name], shelf.state(name)
    alive = training.running(folder)
    where = training.place(folder) if state == "building" else folder
    return RunPage(
        name=name,
        state=state,
        recipe=_text(where / "recipe.toml"),
        card=_text(where / "README.md"),
        metrics=plain(shelf.get(name).run.metrics) if state == "ready" else None,
        plots=[path.name for path in plots(where)],
        building=alive,
        stage=training.stage(folder) if alive else None,
    )


def plots(folder: Path) -> list[Path]:
    """The pictures of a run, by name."""
    return sorted(path for path in (folder / "plots").glob("*") if path.suffix in _PLOTS and path.is_file())


async def some(shown: Shown, side: str, rows: Sequence[int], told: str | None = None) -> list[dict[str, Any]]:
    """The items at some rows of a side, as they are shown.

    told: the generation that the rows are of. Raises a 404 problem for a row that is not there, and 410 for
    rows that are no longer those.
    """
    side_of(shown.run, side)

    def look() -> list[dict[str, Any]]:
        table = shown.run.index(side).table
        if told is not None:
            row_version.check(shown, side, table, told)
        size = len(table)
        outside = [row for row in rows if row >= size]
        if outside:
            raise Problem(404, f"no row {outside[0]}; the {side} side has {size} items")
        return [shown.lanes.item(side, row) for row in rows]

    return await shown.lanes.sides[side].lane.do(look)


def side_of(run: Run, side: str) -> str:
    """A side that the run has. Raises a 404 problem."""
    if side not in run.sides:
        raise Problem(404, f"no side '{side}'; this run has {' and '.join(run.sides)}")
    return side


def routes(shelf: Shelf, settings: Settings) -> APIRouter:
    """The routes under ``/runs`` and ``/compare``, but for the map."""
    router = APIRouter(tags=["runs"])

    def known(run: str) -> str:
        if run not in shelf.folders:
            shelf.get(run)  # says which there are
        return run

    @router.get("/runs")
    async def list_runs() -> Runs:
        """Every run that is served, what it takes and what its numbers are."""
        return Runs(runs=[await told(shelf, name) for name in shelf.names])

    @router.get("/runs/{run}", responses=responses(404))
    async def one_run(run: str) -> RunPage:
        """A run's recipe, card, numbers and the names of its plots."""
        return await asyncio.to_thread(page, shelf, known(run))

    @router.get("/runs/{run}/plots/{name}", responses=responses(404), response_class=FileResponse)
    async def plot(run: str, name: str) -> FileResponse:
        """A picture of a run."""
        found = {path.name: path for path in plots(shelf.folders[known(run)])}
        if name not in found:
            raise Problem(404, f"no plot '{name[:100]}'; this run has {', '.join(found) or 'none'}")
        return FileResponse(found[name], media_type=_PLOTS[found[name].suffix])

    @router.get("/runs/{run}/history", responses=responses(404))
    async def history(run: str) -> History:
        """What the fit told: of the run being made, where there is one, else of the finished one."""
        folder = shelf.folders[known(run)]
        alive = training.running(folder)
        lines = training.history(training.place(folder)) if alive else []
        lines = plain(lines or training.history(folder))
        return History(header=lines[0] if lines else {}, events=lines[1:], running=alive)

    @router.get("/runs/{run}/events", responses=responses(404), response_class=StreamingResponse)
    async def live(run: str, request: Request) -> StreamingResponse:
        """Server-sent events while the run is being made: stage, start, epoch, restart, end."""
        stopping = getattr(request.app.state, "stopping", None)
        stream = training.follow(shelf.folders[known(run)], stopping)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})

    @router.get("/runs/{run}/sample", responses=responses(400, 404, 503))
    async def some_items(
        run: str,
        side: Literal["left", "right"] = "left",
        n: Annotated[int, Query(ge=1, le=200)] = 24,
        seed: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    ) -> Sample:
        """Items drawn at random, to begin a search from."""
        shown = shelf.get(known(run))
        size = len((await tables(shown))[side_of(shown.run, side)])
        rows = np.random.default_rng(seed).choice(size, min(n, size), replace=False)
        return Sample(items=await some(shown, side, rows.tolist()))

    @router.get("/compare", responses=responses(404, 409, 422))
    async def comparison(a: str, b: str, split: Literal["test", "validation"] = "test") -> dict[str, Any]:
        """What run b has over run a, query by query: differences, intervals and p-values by paired bootstrap."""
        folders = [shelf.folders[known(name)] for name in (a, b)]
        try:
            rows = await asyncio.to_thread(compare.compare_runs, *folders, split=split)
        except SensoriumError as error:  # where the folders lie is nobody's business
            problem, text = of_sensorium(error), str(error)
            for name, folder in zip((a, b), folders, strict=True):
                text = text.replace(str(folder), name)
            raise Problem(problem.status, text) from None
        return {"a": a, "b": b, "rows": plain(rows)}

    return router


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
