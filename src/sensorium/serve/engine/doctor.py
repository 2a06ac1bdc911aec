"""Findings of the data doctor about served runs: computed in a process of their own, and cached beside the run."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from sensorium import io
from sensorium.errors import DiskFull, ReadOnly, SensoriumError
from sensorium.serve.engine import own_process
from sensorium.serve.engine.registry import ServedRun
from sensorium.serve.problems import Problem

_MOST_WAITING = 4  # runs that are examined or queued
_FORMAT = 1  # of the findings; those of another one are computed anew
_FILE = "findings.json"


class Examining(BaseModel):
    """The data are still being examined; request the findings again."""

    state: Literal["working"] = "working"
    seconds: float = Field(description="since it was asked for")


class Doctors:
    """Findings by run: on disk beside the run, in memory where that fails, or being computed."""

    def __init__(self) -> None:
        self._memory: dict[str, dict[str, Any]] = {}
        self._tasks: dict[str, tuple[asyncio.Task[dict[str, Any]], float]] = {}
        self._one = asyncio.Semaphore(1)

    async def get(self, served: ServedRun) -> dict[str, Any] | Examining:
        """The findings about a run as it is now, or for how long they have been computed. Raises a problem."""
        made = await asyncio.to_thread(io.checksum, served.folder / "metrics.json")
        found = self._memory.get(made) or await asyncio.to_thread(_known, served.folder, made)
        if found is not None:
            return found
        if made not in self._tasks:
            for old in [old for old, (one, _) in self._tasks.items() if one.done()]:
                del self._tasks[old]
            if len(self._tasks) >= _MOST_WAITING:
                raise Problem(503, f"{len(self._tasks)} runs are being examined; request it again later",
                              {"retry-after": "30"})  # fmt: skip
            self._tasks[made] = (asyncio.create_task(self._work(served.folder, made)), time.monotonic())
        task, began = self._tasks[made]
        await asyncio.wait([task], timeout=0.2)
        if not task.done():
            return Examining(seconds=round(time.monotonic() - began, 1))
        self._tasks.pop(made, None)
        return task.result()

    async def _work(self, folder: Path, made: str) -> dict[str, Any]:
        async with self._one:
            found = await _examined(folder)
        try:
            await asyncio.to_thread(io.write_json, folder_of(folder) / _FILE, found)
        except (OSError, DiskFull, ReadOnly):  # a run on a read-only disk is examined all the same
            self._memory = {made: found}
        return found


def folder_of(run: Path) -> Path:
    """The folder of a run's findings, beside the run folder, as that is replaced as a whole by a new fit."""
    return run.with_name(f".{run.name}.doctor")


def _known(run: Path, made: str) -> dict[str, Any] | None:
    try:
        found = io.read_json(folder_of(run) / _FILE, "delete it")
    except (OSError, SensoriumError):
        return None
    there = isinstance(found, dict) and (found.get("format"), found.get("made")) == (_FORMAT, made)
    return found if there else None


async def _examined(run: Path) -> dict[str, Any]:
    """The findings, computed in a process that ends with the request's task or the server."""
    with tempfile.TemporaryDirectory(prefix="sensorium-doctor-") as place:
        target = Path(place) / _FILE
        if reason := await own_process.run("sensorium.experiments.doctor", str(run), str(target)):
            raise Problem(409, f"the data of this run cannot be examined: {reason}")
        return await asyncio.to_thread(io.read_json, target, "examine the run again")
