"""Locations of a run's data: relative paths of its recipe, recorded so that the run works from any folder.

A recipe keeps paths as they were typed, so that equal recipes stay equal. ``paths.json`` in the run holds, by key of
[data], the absolute path that each relative one stood for; an earlier run without it reads paths as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium import io
from sensorium.errors import Corrupt
from sensorium.recipe import Recipe

FILE = "paths.json"
_FOLDERS = ("root", "folder", "dir", "path")  # keys whose plain word may name a folder


def write(values: Mapping[str, Any], folder: Path) -> None:
    """Record the relative paths among the values of [data] that are there now; no file where there are none.

    Paths that an earlier evaluation of the same run recorded stay.
    """
    before = _read(folder)
    found = {key: at for key, value in values.items() if (at := _absolute(key, value)) is not None}
    if before or found:
        io.write_json(folder / FILE, {**before, **found})


def data(plan: Recipe, folder: Path) -> Any:
    """The data set of a run's recipe, with relative paths that are not here taken from the record."""
    typed = plan.values["data"]
    recorded = {key: at for key, at in _read(folder).items() if _absolute(key, typed.get(key)) is None}
    return Recipe(plan.name, {**plan.values, "data": {**typed, **recorded}}).part("data")


def _read(folder: Path) -> dict[str, str]:
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    found = io.read_json(path, "delete it, and type the paths anew")
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Corrupt(f"{path} holds no paths; delete it, and type the paths anew")
    return found


def _absolute(key: str, value: Any) -> str | None:
    """A relative path, or ``path:key`` within a file, as an absolute one; None where it names nothing that is here."""
    if key == "name" or not isinstance(value, str) or not value or Path(value).expanduser().is_absolute():
        return None
    for text, rest in ((value, ""), (value.rpartition(":")[0], ":" + value.rpartition(":")[2])):
        path = Path(text)
        if text and (path.is_file() or (path.is_dir() and (key in _FOLDERS or "/" in text or text in (".", "..")))):
            return f"{path.absolute()}{rest}"
    return None
