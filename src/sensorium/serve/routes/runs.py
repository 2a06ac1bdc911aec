"""Runs: their metrics, plots and cards, training in progress, and comparisons."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field

from sensorium.errors import SensoriumError
from sensorium.evaluate import compare
from sensorium.numerics import affect
from sensorium.search.run import Run
from sensorium.serve import files
from sensorium.serve.context import Context
from sensorium.serve.engine import presentation, row_version
from sensorium.serve.engine.registry import Registry, ServedRun
from sensorium.serve.problems import Problem, responses
from sensorium.serve.routes import run_charts, run_table, training
from sensorium.serve.routes.media import SANDBOX
from sensorium.serve.systems import SystemPage, pages
from sensorium.table import Table, json_value
from sensorium.table.columns import kind_of, missing, value_of

_UNKNOWN = object()
_VALUES = 50  # distinct values of a column up to which they are listed, to choose from
_PLOTS = {".png": "image/png", ".svg": "image/svg+xml"}


class Column(BaseModel):
    """A metadata column: its values, most frequent first, when there are few."""

    name: str
    type: Literal["text", "number"]
    values: list[str | float | int | bool] = Field(default_factory=list)
    several: bool = Field(False, description="whether an item has a list of values")
    distinct: int = Field(0, description="how many values there are")


class Side(BaseModel):
    """One side of a run: the kind its encoder takes, how its items are shown, and their number."""

    name: str = Field(description="what the data call it, such as caption; left or right where they do not")
    takes: str
    encoder: str | None = Field(description="name of the encoder; null where the items came as vectors")
    kind: Literal["image", "audio", "text", "none"]
    items: int
    columns: list[Column]
    raw: bool = Field(description="whether space=encoder can be searched")
    display: str | None = Field(None, description="the column that names its items; null where ids do")


class Headline(BaseModel):
    """How often the first answer is right on the test split, its 95% interval, and how often by chance."""

    direction: str
    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    n_queries: int | None = None
    few_groups: bool = Field(False, description="whether the interval rests on few groups")


class Emotion(BaseModel):
    """A class that is an emotion: its own name, the name that is known for it, and its place (-1 to 1)."""

    label: str
    emotion: str
    valence: float
    arousal: float


class RunSummary(BaseModel):
    """A run in the list of runs."""

    name: str
    state: Literal["ready", "building", "broken"]
    detail: str | None = None
    notices: list[str] = Field(default_factory=list, description="what to know of it, such as a migration under way")
    recipe: str = ""
    remaking: bool = Field(False, description="a new version is being made right now")
    sides: dict[str, Side] = Field(default_factory=dict)
    one_table: bool = False
    streams: bool = Field(False, description="live sound can be classified, see /stream")
    emotions: list[Emotion] | None = Field(None, description="the classes of live sound, where they are emotions")
    corrected: list[str] = Field(default_factory=list, description="directions with a hubness correction")
    calibrated: list[str] = Field(default_factory=list, description="directions whose scores become probabilities")
    results: list[dict[str, Any]] = Field(default_factory=list)
    title: str = Field("", description="what the recipe calls the run, for people")
    examples: list[str] = Field(default_factory=list, description="texts that the recipe offers as first searches")
    classes: Literal["left", "right"] | None = Field(
        None, description="the side that is a class table: probabilities of its items add up to 1"
    )
    headline: Headline | None = None
    loading: bool = Field(False, description="encoders are still being loaded: the first search waits for them")


class Runs(BaseModel):
    """Every run that is served, and the views that systems add to the page."""

    runs: list[RunSummary]
    pages: list[SystemPage] = Field(default_factory=list)
    labelling: bool = Field(False, description="hits can be labelled, see /labels")


class RunPage(BaseModel):
    """Everything about one run."""

    name: str
    state: Literal["ready", "building", "broken"]
    detail: str | None = Field(None, description="why its newest version cannot be searched")
    recipe: str = Field(description="TOML")
    card: str = Field(description="Markdown")
    metrics: dict[str, Any] | None
    plots: list[str]
    building: bool
    stage: str | None = Field(description="load, embed, fit, evaluate or index, while it is being made")
    making: training.Progress | None = Field(None, description="how far it is, while it is being made")


class History(BaseModel):
    """The history of a fit: its settings, then an event an epoch."""

    header: dict[str, Any]
    events: list[dict[str, Any]]
    running: bool


class Sample(BaseModel):
    """Some items of a side."""

    items: list[dict[str, Any]]


class Suggestion(BaseModel):
    """An item whose text holds the words."""

    id: str
    side: Literal["left", "right"]
    text: str = Field(description="its display text")


class Suggestions(BaseModel):
    """Items that some words lead to, those that begin with them first."""

    items: list[Suggestion]


def column_of(name: str, values: np.ndarray) -> Column:
    """A column with its type and, where there are few, its values; of lists, what they hold."""
    kind = kind_of(values)
    type_ = "number" if kind in ("integer", "number", "boolean") else "text"
    there = values[~missing(values)]
    counts = Counter(itertools.chain.from_iterable(there) if kind == "list" else map(value_of, there))
    few = len(counts) <= _VALUES and all(np.isfinite(one) for one in counts if isinstance(one, float))
    listed = [json_value(one) for one, _ in counts.most_common()] if few else []
    return Column(name=name, type=type_, values=listed, several=kind == "list", distinct=len(counts))


async def summary(registry: Registry, name: str) -> RunSummary:
    """A run in the list of runs."""
    state, folder, fault = registry.state(name), registry.folders[name], registry.fault(name)
    remaking = await asyncio.to_thread(training.running, folder)
    if state != "ready":
        return RunSummary(name=name, state=state, detail=fault, remaking=remaking)
    served = registry.get(name)
    run, known = served.run, await tables(served)
    streams = await asyncio.to_thread(lambda: run.streams)
    page_options, warming = presentation.options(run), served.cache.get("warming")
    headline = served.cache.get("headline", _UNKNOWN)
    if headline is _UNKNOWN:
        headline = served.cache["headline"] = await asyncio.to_thread(presentation.headline, served)
    return RunSummary(
        name=name,
        state="ready",
        detail=fault,
        notices=run.migrations.notices(run.names),
        recipe=run.recipe.name,
        remaking=remaking,
        sides={side: await _side(served, side, table) for side, table in known.items()},
        one_table=len(run.sides) == 1,
        streams=streams,
        emotions=emotions([str(id) for id in known["right"].ids]) if streams else None,
        corrected=sorted(run.corrections),
        calibrated=sorted(direction for direction, one in run.trust.items() if one.get("probability")),
        results=json_value(run.metrics.get("results", [])),
        title=page_options.title,
        examples=list(page_options.examples),
        classes=presentation.class_side(run),
        headline=json_value(headline),
        loading=warming is not None and not warming.done(),
    )


def emotions(labels: list[str]) -> list[Emotion] | None:
    """Where classes of these names stand on valence and arousal; None where they are not emotions."""
    if not affect.are_emotions(labels):
        return None
    words = {label: affect.canonical(label) for label in labels}
    return [Emotion(label=label, emotion=word, valence=affect.RATINGS[word][0], arousal=affect.RATINGS[word][1])
            for label, word in words.items()]  # fmt: skip


async def tables(served: ServedRun) -> dict[str, Table]:
    """Ids and columns of every side as they are now; each is taken in its own thread, where it may change."""
    return {
        side: await worker.searching.do(lambda s=side: served.run.index(s).table)
        for side, worker in served.workers.sides.items()
    }


async def _side(served: ServedRun, side: str, table: Table) -> Side:
    known = served.cache.get(f"columns {side}")
    if known is None or known[0] is not table:
        columns = await asyncio.to_thread(lambda: [column_of(*one) for one in table.columns.items()])
        known = served.cache[f"columns {side}"] = (table, columns)
    encoder = served.run.encoder(side)
    return Side(
        name=served.run.names[side],
        takes="vectors" if encoder is None else encoder.takes,
        encoder=served.run.recipe.part_name(f"{side}.encoder"),
        kind=served.workers.kinds[side],
        items=len(table),
        columns=known[1],
        raw=served.workers.has_raw(side),
        display=presentation.display_column(table, presentation.options(served.run).column_of(side)),
    )


def page(registry: Registry, name: str) -> RunPage:
    """Everything about one run, from its folder or, while it is made for the first time, from where it is built."""
    folder, state = registry.folders[name], registry.state(name)
    alive = training.running(folder)
    where = training.place(folder) if state == "building" else folder
    return RunPage(
        name=name,
        state=state,
        detail=registry.fault(name),
        recipe=files.text(where, "recipe.toml"),
        card=files.text(where, "README.md"),
        metrics=json_value(registry.get(name).run.metrics) if state == "ready" else None,
        plots=[path.name for path in plots(where)],
        building=alive,
        stage=training.stage(folder) if alive else None,
        making=training.progress(folder),
    )


def plots(folder: Path) -> list[Path]:
    """The plots of a run, by name; no link that leads outside the run."""
    found = (path for path in (folder / "plots").glob("*") if path.suffix in _PLOTS)
    return sorted(path for path in found if files.inside(folder, path) is not None)


async def some(served: ServedRun, side: str, rows: Sequence[int], version: str | None = None) -> list[dict[str, Any]]:
    """The items at some rows of a side.

    version: the row version that the rows are of. Raises a 404 problem for a row that is not there, and 410 for
    rows of a version that is stale.
    """
    side_of(served.run, side)

    def look() -> list[dict[str, Any]]:
        table = served.run.index(side).table
        if version is not None:
            row_version.check(served, side, table, version)
        size = len(table)
        outside = [row for row in rows if row >= size]
        if outside:
            raise Problem(404, f"no row {outside[0]}; the {served.run.names[side]} side has {size} items")
        return [served.workers.item(side, row) for row in rows]

    return await served.workers.sides[side].searching.do(look)


def side_of(run: Run, side: str) -> str:
    """A side that the run has. Raises a 404 problem."""
    if side not in run.sides:
        raise Problem(404, f"no side '{side}'; this run has {' and '.join(run.sides)}")
    return side


def routes(context: Context) -> APIRouter:
    """The routes under ``/runs``, ``/table`` and ``/compare``, but for the map."""
    router, registry = APIRouter(tags=["runs"]), context.registry
    for module in (run_table, run_charts):
        router.include_router(module.routes(context))

    def known(run: str) -> str:
        if run not in registry.folders:
            registry.get(run)  # says which there are
        return run

    @router.get("/runs")
    async def list_runs() -> Runs:
        """Every run that is served, what it takes and what its numbers are."""
        return Runs(
            runs=[await summary(registry, name) for name in registry.names],
            pages=pages(),
            labelling=context.settings.label,
        )

    @router.get("/runs/{run}", responses=responses(404))
    async def one_run(run: str) -> RunPage:
        """A run's recipe, card, numbers and the names of its plots."""
        return await asyncio.to_thread(page, registry, known(run))

    @router.get("/runs/{run}/plots/{name}", responses=responses(404), response_class=FileResponse)
    async def plot(run: str, name: str) -> FileResponse:
        """A plot of a run."""
        found = {path.name: path for path in plots(registry.folders[known(run)])}
        if name not in found:
            raise Problem(404, f"no plot '{name[:100]}'; this run has {', '.join(found) or 'none'}")
        return FileResponse(found[name], media_type=_PLOTS[found[name].suffix], headers=SANDBOX)

    @router.get("/runs/{run}/progress", responses=responses(404))
    async def progress(run: str) -> training.Progress | None:
        """How far a run in the making is: stage, count, time left; null when it is not being made."""
        return await asyncio.to_thread(training.progress, registry.folders[known(run)])

    @router.get("/runs/{run}/history", responses=responses(404))
    async def history(run: str) -> History:
        """The history of the fit: of the run being made, where there is one, else of the finished one."""
        folder = registry.folders[known(run)]
        alive = training.running(folder)
        lines = training.history(training.place(folder)) if alive else []
        lines = json_value(lines or training.history(folder))
        return History(header=lines[0] if lines else {}, events=lines[1:], running=alive)

    @router.get("/runs/{run}/events", responses=responses(404), response_class=StreamingResponse)
    async def live(run: str, request: Request) -> StreamingResponse:
        """Server-sent events while the run is being made: stage, start, epoch, restart, end."""
        stopping = getattr(request.app.state, "stopping", None)
        stream = training.follow(registry.folders[known(run)], stopping)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})

    @router.get("/runs/{run}/sample", responses=responses(400, 404, 503))
    async def some_items(
        run: str,
        side: Literal["left", "right"] = "left",
        n: Annotated[int, Query(ge=1, le=200)] = 24,
        seed: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    ) -> Sample:
        """Items drawn at random."""
        served = registry.get(known(run))
        size = len((await tables(served))[side_of(served.run, side)])
        rows = np.random.default_rng(seed).choice(size, min(n, size), replace=False)
        return Sample(items=await some(served, side, rows.tolist()))

    @router.get("/runs/{run}/suggest", responses=responses(400, 404, 503))
    async def suggest(
        run: str,
        q: Annotated[str, Query(min_length=1, max_length=200)],
        side: Literal["left", "right"] | None = None,
        n: Annotated[int, Query(ge=1, le=50)] = 8,
    ) -> Suggestions:
        """Items whose display text, or id, holds every word of q: for type-ahead."""
        served = registry.get(known(run))
        there = await tables(served)
        sides = list(there) if side is None else [side_of(served.run, side)]
        found = await asyncio.to_thread(presentation.suggestions, served, there, q, sides, n)
        return Suggestions(items=[Suggestion(**one) for one in found])

    @router.get("/compare", responses=responses(404, 409, 422))
    async def comparison(a: str, b: str, split: Literal["test", "validation"] = "test") -> dict[str, Any]:
        """Run b against run a, query by query: differences, intervals and p-values by paired bootstrap."""
        folders = [registry.folders[known(name)] for name in (a, b)]
        versions = tuple(compare.version(folder) for folder in folders)
        kept = registry.get(a).cache.setdefault("compared", {}) if registry.state(a) == "ready" else {}
        if (b, split, versions) not in kept:
            try:
                rows = await asyncio.to_thread(compare.compare_runs, *folders, split=split)
            except SensoriumError as error:
                raise context.redact.problem(error) from None
            kept[b, split, versions] = json_value(rows)
        return {"a": a, "b": b, "rows": kept[b, split, versions]}

    return router
