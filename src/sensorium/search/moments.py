"""Windows of long sounds in a search: one hit a recording, its best window, unless the query says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sensorium.search.run import Run

#: Columns of an item that is a window of a recording; the two last are seconds.
RECORDING, BEGIN, END = "recording", "begin", "end"
NONE = "none"  # in place of a column: collapse nothing


def are_windows(run: Run, side: str) -> bool:
    """Whether the items of a side are windows: the data set was given their length, and the columns are there."""
    windowed = run.recipe.values["data"].get("window") is not None
    return windowed and {RECORDING, BEGIN, END} <= set(run.index(side).table.columns)


def collapse(run: Run, side: str, asked: str | None) -> str | None:
    """The column by which hits of a side collapse: the query's own, else of windows their recording."""
    if asked is None:
        return RECORDING if are_windows(run, side) else None
    return None if asked == NONE and NONE not in run.index(side).table.columns else asked
