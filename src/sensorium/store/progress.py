"""Progress bars with rate and time left, shared by all threads: one live display a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

_guard = threading.Lock()
_shown: dict[str, Any] = {"bars": None, "users": 0}


@contextlib.contextmanager
def bar(what: str, total: int, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Give a function that takes how many more are done. Draws nothing unless standard error is a terminal."""
    if not show or not total or not sys.stderr.isatty():
        yield lambda done: None
        return
    with _guard:
        if not _shown["users"]:
            _shown["bars"] = _bars()
            _shown["bars"].start()
        _shown["users"] += 1
        bars = _shown["bars"]
        task = bars.add_task(what, total=total)
    try:
        yield lambda done: bars.advance(task, done)
    finally:
        with _guard:
            _shown["users"] -= 1
            if not _shown["users"]:
                bars.stop()


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Items a second."""

        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s")

    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(),
                    TimeRemainingColumn(), console=Console(stderr=True))  # fmt: skip
