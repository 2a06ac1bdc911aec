"""Captioned items that are added to a run: which columns of a table hold them, and what is known of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sensorium.datasets import _captions_claims, _captions_table, _windows
from sensorium.modalities import walk
from sensorium.table import as_column
from sensorium.types import Items, TableColumns


def filled(side: str, items: Items, window: float | None = None) -> Items:
    """Clips with their path and, of sounds, their duration; with ``window`` each is one window, the whole sound.

    Raises BadData for those that cannot be read.
    """
    if side != "left" or not all(isinstance(value, (str, Path)) for value in items.values):
        return items
    paths = [str(Path(value).absolute()) for value in items.values]
    meta = {**items.meta, "path": as_column([walk.text(path) for path in paths], "path")}
    if items.kind == "audio":
        meta["duration"] = _captions_claims.durations(paths)
    return replace(items, meta=_windows.whole(items.ids, meta, window))


def columns_of(names: Sequence[str], given: Mapping[str, Any]) -> TableColumns:
    """The columns of files and captions of a table with these columns. given: those that the recipe names."""
    found = _captions_table.columns_of(names, given)
    sides = {"left": found["path"], "right": found["caption"]}
    return TableColumns({side: spec for side, spec in sides.items() if spec}, ids=found["id"])
