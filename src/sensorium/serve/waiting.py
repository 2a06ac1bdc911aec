"""Waiting for a run whose making has been typed, but whose folder is not there yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sensorium.search.run import open as open_run
from sensorium.serve.engine.registry import is_in_training

_LOOK = 0.1  # seconds between two looks


def for_a_run(runs: Sequence[Path], seconds: float, say: Callable[[str], None]) -> None:
    """Return once one of the folders is a run or one in the making.

    A folder that does not exist is waited for, as ``sensorium run`` in another terminal takes some seconds before it
    makes one. seconds: at most so long. say: called with a line for a person when waiting begins. Raises BadData, with
    the reason, when the first folder is there and is no run, or the time is over.
    """
    end = time.monotonic() + seconds
    absent = [run for run in runs if not run.exists()]
    if seconds and absent and not _any(runs):
        say(f"no run at {absent[0]} yet; waiting up to {seconds:g} s for its making to begin (--wait 0 does not wait)")
    while not _any(runs):
        if time.monotonic() >= end or all(run.exists() for run in runs):
            open_run(runs[0])
            return
        time.sleep(_LOOK)


def _any(runs: Sequence[Path]) -> bool:
    return any((run / "metrics.json").is_file() or is_in_training(run) for run in runs)
