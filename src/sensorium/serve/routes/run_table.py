"""The table of runs: what each was made of, its main result beside the best baseline, and which can be compared."""

from __future__ import annotations

import asyncio
import os
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from sensorium.evaluate.comparable import Evaluated, why_not
from sensorium.evaluate.statistics import FEW
from sensorium.search import evaluations
from sensorium.serve import files
from sensorium.serve.context import Context
from sensorium.serve.engine.registry import Registry
from sensorium.serve.problems import responses
from sensorium.serve.routes import training
from sensorium.table import json_value

_ENSEMBLE = "ensemble"  # among the baselines, and no closed form


class Measured(BaseModel):
    """A number with its 95 % interval."""

    measure: str
    direction: str = ""
    value: float | None
    low: float | None = None
    high: float | None = None
    few_groups: bool = Field(False, description="the interval rests on few groups and is too narrow")
    groups: int | None = None


class Beside(BaseModel):
    """The best baseline: its value of the main measure, and how much better the run is, paired by query."""

    name: str
    value: float | None
    difference: Measured = Field(description="of the measure it names, over all directions")


class RunRow(BaseModel):
    """A run as a row of the table. why_not: why it cannot be compared; null where it can."""

    name: str
    state: str
    detail: str | None = None
    making: training.Progress | None = None
    data: str | None = None
    encoders: list[str] = Field(default_factory=list)
    heads: list[str] = Field(default_factory=list)
    objective: str | None = None
    main: Measured | None = None
    baseline: Beside | None = None
    sides: dict[str, str] = Field(default_factory=dict)
    leaky: bool = False
    made: str | None = Field(None, description="when it was last evaluated, UTC")
    bytes: int | None = Field(None, description="size of the folder, without the embeddings beside it")
    curves: bool = Field(False, description="whether it has training curves")
    why_not: str | None = None


class RunTable(BaseModel):
    """Every run that is served."""

    rows: list[RunRow]


def row(registry: Registry, name: str) -> RunRow:
    """A run's row, but for whether it can be compared."""
    folder, state = registry.folders[name], registry.state(name)
    about = {"name": name, "state": state, "detail": registry.fault(name), "making": training.progress(folder)}
    if state != "ready":
        return RunRow(**about, **_recipe(training.place(folder) if state == "building" else folder))
    served = registry.get(name)
    if "row" not in served.cache:
        served.cache["row"] = _of_ready(folder, json_value(served.run.metrics))
    return RunRow(**about, **served.cache["row"], bytes=_size(folder))


def _of_ready(folder: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What stays the same for one version of a run."""
    main = _main(metrics)
    return {
        **_recipe(folder),
        "main": main,
        "baseline": _baseline(metrics, main),
        "sides": metrics.get("sides") or {},
        "leaky": bool((metrics.get("leaks") or {}).get("leaky")),
        "made": _made(folder),
        "curves": (folder / training.HISTORY).is_file(),
    }


def _recipe(folder: Path) -> dict[str, Any]:
    """Names of the data and the parts, as the recipe has them; a file is named without its folder."""
    try:
        plan = tomllib.loads(files.text(folder, "recipe.toml"))
    except tomllib.TOMLDecodeError:
        return {}

    def part(section: Any, key: str) -> str | None:
        found = section.get(key) if isinstance(section, Mapping) else None
        found = found.get("name") if isinstance(found, Mapping) else found
        return None if found is None else str(found)

    data, name = plan.get("data"), part(plan, "data")
    file = part(data, "file") or part(data, "root")
    sides = [plan.get(side) for side in ("left", "right") if isinstance(plan.get(side), Mapping)]
    return {
        "data": f"{name}: {Path(file).name}" if name and file else name,
        "encoders": [part(side, "encoder") or "vectors" for side in sides],
        "heads": [one for side in sides if (one := part(side, "head"))],
        "objective": part(plan, "objective"),
    }


def _main(metrics: Mapping[str, Any]) -> Measured | None:
    """The measure that decides: of the protocol, else WA of a class table, else mean reciprocal rank."""
    results = metrics.get("results") or []
    wanted = [_decides(metrics), "WA", "MRR"]
    for measure in filter(None, wanted):
        for one in results:
            if one.get("measure") == measure:
                return _measured(one)
    return _measured(results[0]) if results else None


def _decides(metrics: Mapping[str, Any]) -> str | None:
    for one in (metrics.get("baselines") or {}).values():
        for key in one.get("protocol_advantage") or ():
            if key not in ("low", "high", "p"):
                return str(key)
    return None


def _measured(one: Mapping[str, Any]) -> Measured:
    groups = one.get("n_groups")
    return Measured(
        measure=one["measure"],
        direction=one.get("direction", ""),
        value=one["value"],
        low=one.get("low"),
        high=one.get("high"),
        few_groups=one.get("few_groups", groups is not None and groups < FEW),
        groups=groups,
    )


def _baseline(metrics: Mapping[str, Any], main: Measured | None) -> Beside | None:
    """The closed form (or the encoders alone) that comes nearest, by the measure that the verdict is given by."""
    measure = _decides(metrics)
    key = "protocol_advantage" if measure else "advantage"
    measure = measure or "MRR"
    beside = {
        name: one[key]
        for name, one in (metrics.get("baselines") or {}).items()
        if name != _ENSEMBLE and measure in (one.get(key) or {})
    }
    if not beside or main is None:
        return None
    best = min(beside, key=lambda name: beside[name][measure])
    value = next((one["value"] for one in metrics["baselines"][best].get("results") or ()
                  if (one["measure"], one["direction"]) == (main.measure, main.direction)), None)  # fmt: skip
    found = beside[best]
    difference = Measured(measure=measure, value=found[measure], low=found.get("low"), high=found.get("high"),
                          few_groups=main.few_groups, groups=main.groups)  # fmt: skip
    return Beside(name=best, value=value, difference=difference)


def _made(folder: Path) -> str | None:
    """When the run was last evaluated, by its log; when its metrics were written, where it has none."""
    try:
        times = [str(one["time"]) for one in evaluations.read(folder) if one.get("time")]
        stamp = datetime.fromtimestamp((folder / "metrics.json").stat().st_mtime, UTC)
    except OSError:
        return None
    return times[-1] if times else stamp.isoformat(timespec="seconds").replace("+00:00", "Z")


def _size(folder: Path) -> int:
    """Bytes of the files below a folder; links are not followed."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except OSError:
                continue
    return total


def _evaluated(registry: Registry, name: str) -> Evaluated:
    """What a served run was evaluated on, read once for each version of it."""
    if (state := registry.state(name)) != "ready":
        return Evaluated(fault="It is not ready yet." if state == "building" else "It cannot be opened.")
    served = registry.get(name)
    if "evaluated" not in served.cache:
        served.cache["evaluated"] = Evaluated.of(served.folder)
    return served.cache["evaluated"]


def reasons(registry: Registry, beside: str | None) -> dict[str, str | None]:
    """Why each run cannot be compared with the run ``beside``, or with any other; None where it can."""
    known = {name: _evaluated(registry, name) for name in registry.names}
    if beside is not None:
        return {name: None if name == beside else why_not(known[beside], one) for name, one in known.items()}
    found: dict[str, str | None] = {}
    for name, one in known.items():
        others = [other for other in known if other != name]
        alone = "No other run here has the same test queries." if others else "It is the only run here."
        found[name] = one.fault or (None if any(why_not(one, known[other]) is None for other in others) else alone)
    return found


def table(registry: Registry, beside: str | None = None) -> RunTable:
    """Every run as a row."""
    why = reasons(registry, beside)
    return RunTable(rows=[row(registry, name).model_copy(update={"why_not": why[name]}) for name in registry.names])


def routes(context: Context) -> APIRouter:
    """The route ``/table``."""
    router, registry = APIRouter(tags=["runs"]), context.registry

    @router.get("/table", responses=responses(404))
    async def table_of_runs(beside: str | None = None) -> RunTable:
        """Every run: parts, main result, best baseline, date, size; and which can be compared with ``beside``."""
        if beside is not None and beside not in registry.folders:
            registry.get(beside)  # says which there are
        return await asyncio.to_thread(table, registry, beside)

    return router
