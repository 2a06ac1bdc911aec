"""Progress of long work: bars with rate and time left on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Protocol

EVERY = 30.0  # seconds between the lines of a log; work that ends sooner writes none

_guard = threading.Lock()
_shown: dict[str, Any] = {"bars": None, "users": 0}


class Watcher(Protocol):
    """Told how far the work inside :func:`watched` is, whether anything is printed or not."""

    def stage(self, name: str) -> None:
        """A stage begins, such as "embed"."""

    def count(self, what: str, done: int, total: int) -> None:
        """So many of ``total`` are done in the present stage. Called often, and from several threads."""


_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextlib.contextmanager
def watched(by: Watcher) -> Iterator[None]:
    """Tell ``by`` of the stages and counts of the work in this block, in place of a watcher around it."""
    token = _WATCHER.set(by)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def count(what: str, done: int, total: int) -> None:
    """Tell the watcher, if there is one, that so many are done."""
    if (watcher := _WATCHER.get()) is not None:
        watcher.count(what, done, total)


@contextlib.contextmanager
def bar(what: str, total: int, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Give a function that takes how many more are done. Where standard error is no terminal, see :class:`Log`."""
    watcher, done, counting = _WATCHER.get(), 0, threading.Lock()
    if watcher is not None and total:
        watcher.count(what, 0, total)
    with _drawn(what, total, show) as advance:

        def both(more: int) -> None:
            nonlocal done
            advance(more)
            if watcher is not None:
                with counting:
                    done += more
                    watcher.count(what, done, total)

        yield both


@contextlib.contextmanager
def _drawn(what: str, total: int, show: bool) -> Iterator[Callable[[int], None]]:
    if not show or not total:
        yield lambda done: None
        return
    if not sys.stderr.isatty():
        yield Log(what, total).advance
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


class Log:
    """Lines on a standard error that is no terminal: one every ``EVERY`` seconds, with rate and time left.

    what: is done. total: how many there are. done: how many were done before, as by an interrupted fit.
    """

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self.what, self.total, self.done, self.before = what, total, done, done
        self.started = self.reported = time.monotonic()
        self._guard = threading.Lock()

    def advance(self, more: int) -> None:
        """So many more are done."""
        with self._guard:
            self.done += more
        self.report()

    def reach(self, done: int, note: Callable[[], str] = str) -> None:
        """So many are done by now; ``note`` is called for more text only when a line is due."""
        self.done = done
        self.report(note)

    def report(self, note: Callable[[], str] = str) -> None:
        """Write a line if one is due."""
        now = time.monotonic()
        with self._guard:
            if now - self.reported < EVERY:
                return
            self.reported = now
        rate = (self.done - self.before) / (now - self.started)
        left = f"{_duration((self.total - self.done) / rate)} left" if rate else "not moving yet"
        text = ", ".join(part for part in (f"{self.done:,} of {self.total:,}", note(), left) if part)
        print(f"{self.what:>9}  {text}", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    """As 42 s, 3:05 min or 2:07 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"


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


def say(what: str, text: str) -> None:
    """A line on standard error, in the form of the stages' times: a note, or where an interrupted fit goes on."""
    print(f"{what:>9}  {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def timed(stage: str, seconds: dict[str, float], quiet: bool) -> Iterator[None]:
    """Measure a stage's wall time, and print it on the terminal's error stream."""
    if (watcher := _WATCHER.get()) is not None:
        watcher.stage(stage)
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)
    if not quiet:
        from rich.console import Console

        Console(stderr=True, highlight=False).print(f"[dim]{stage:>9}  {seconds[stage]:6.1f} s[/dim]")
