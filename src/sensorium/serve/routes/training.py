"""Training in progress: the stage of a run, its history so far, and new events (server-sent events)."""

from __future__ import annotations

import asyncio
import json
import time
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, Field

from sensorium.search import making
from sensorium.search.folder import RunFolder
from sensorium.serve import files

_LOOK = 0.5  # seconds between two looks at the history; a fit writes no more often
_ALIVE = 10.0  # seconds after which an idle event stream sends a keep-alive
_FRESH = 15.0  # seconds for which a change in the folder is a sign of life
HISTORY = "history.jsonl"


def place(folder: Path) -> Path:
    """Where a run folder is built before it is swapped in."""
    return RunFolder(folder).building


def running(folder: Path) -> bool:
    """Whether someone is making (or remaking) this run right now, rather than having been interrupted."""
    building = place(folder)
    try:
        newest = max(path.stat().st_mtime for path in (building, *building.iterdir()))
    except (OSError, ValueError):
        return False
    if time.time() - newest < _FRESH:
        return True
    return RunFolder(folder).is_building


class Progress(BaseModel):
    """How far a run in the making is. done of total: what the present stage counts, where it does."""

    running: bool = Field(description="false: it was interrupted")
    stage: str | None = Field(None, description="load, embed, fit, evaluate or index")
    what: str | None = None
    done: int | None = None
    total: int | None = None
    seconds_left: float | None = Field(None, description="of the present stage, by its rate so far")
    at_most: bool = Field(False, description="seconds_left is what the time limit of the fit leaves")
    interrupted_at: str | None = Field(None, description="where an interrupted fit goes on")


def progress(folder: Path) -> Progress | None:
    """How far the run is that is being made, or was interrupted, in this place; None where there is none."""
    building = place(folder)
    if not building.is_dir():
        return None
    if not running(folder):
        whole = RunFolder(folder).is_run  # and of an interrupted remake nobody waits
        return None if whole else Progress(running=False, interrupted_at=RunFolder(folder).interrupted_at or None)
    state, now = making.read(building), stage(folder)
    limit = _limit(building) if now == "fit" else 0.0
    left = making.seconds_left(state)
    if limit and isinstance(began := state.get("began"), (int, float)):
        left = max(0.0, began + limit - time.time())
    counts = {key: state[key] for key in ("what", "done", "total") if key in state}
    return Progress(running=True, stage=now, seconds_left=left, at_most=bool(limit), **counts)


def _limit(building: Path) -> float:
    """Seconds that the recipe of a run in the making gives the fit; 0 without a limit."""
    try:
        plan = tomllib.loads(files.text(building, "recipe.toml"))
        objective = plan.get("objective", {})
        own = objective.get("seconds", 0) if objective.get("name") == "auto" else 0
        return float(plan.get("train", {}).get("seconds", 0) or own)
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, ValueError):
        return 0.0


def stage(folder: Path) -> str | None:
    """The step a run in the making is at: "load", "embed", "fit", "evaluate" or "index"; None when there is none."""
    building = place(folder)
    if not building.is_dir():
        return None
    said = making.read(building).get("stage")
    if isinstance(said, str):
        return said.removesuffix(" again")
    if (building / "index").is_dir():
        return "index"
    if (building / "left.safetensors").is_file():
        return "evaluate"
    return "fit" if (building / HISTORY).is_file() else "embed"


def history(folder: Path) -> list[dict[str, Any]]:
    """Every line of a folder's history, the header first; empty when there is none (a solved head has none)."""
    try:
        path = files.inside(folder, folder / HISTORY)
        text = "" if path is None else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break  # a file from elsewhere that ends in half a line
    return found


async def follow(folder: Path, stopping: Any = None) -> AsyncIterator[bytes]:
    """Server-sent events while a run is being made; ends when it is done, was stopped, or none is being made.

    "start" (the header), "epoch" (each event), "restart" (all again, as an earlier point was gone back to),
    "stage", and at last "end" with ``state`` "ready", "stopped" or "idle". stopping: an event that ends it sooner.
    """
    sent: list[dict[str, Any]] = []
    step, quiet, seen = None, 0.0, False
    while not (stopping is not None and stopping.is_set()):
        alive = await asyncio.to_thread(running, folder)
        if not alive:
            whole = (folder / "metrics.json").is_file()
            state = ("ready" if whole else "stopped") if seen else "idle"
            yield event("end", {"state": state})
            return
        seen = True
        now = await asyncio.to_thread(stage, folder)
        if now != step:
            step, quiet = now, 0.0
            yield event("stage", {"stage": now})
        lines = await asyncio.to_thread(history, place(folder))
        if lines[: len(sent)] != sent:
            sent = []
            yield event("restart", {})
        for line in lines[len(sent) :]:
            quiet = 0.0
            yield event("epoch" if sent else "start", line)
            sent.append(line)
        quiet += _LOOK
        if quiet >= _ALIVE:
            quiet = 0.0
            yield b": still there\n\n"
        await asyncio.sleep(_LOOK)


def event(kind: str, data: Any) -> bytes:
    """One server-sent event."""
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"
