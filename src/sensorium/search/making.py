"""How far a run in the making is: a small file in the folder it is built in, for whoever looks on.

It is written at most twice a second, replaced in one step, not made durable, and gone when the run is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sensorium import progress

FILE = ".progress.json"
_EVERY = 0.5  # seconds between two writes


class Recorder:
    """A :class:`sensorium.progress.Watcher` that writes what it is told into ``folder``.

    The file holds ``stage`` and ``began`` (seconds since 1970); in a stage that counts also ``what``, ``done``,
    ``total``, and for the rate ``since`` and ``first``: when counting began, and what was done by then; ``now``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.state: dict[str, Any] = {}
        self._written = 0.0
        self._guard = threading.Lock()

    def stage(self, name: str) -> None:
        """A stage begins."""
        with self._guard:
            self.state = {"stage": name, "began": time.time()}
            self._write()

    def count(self, what: str, done: int, total: int) -> None:
        """So many of ``total`` are done. Counting anew begins where another thing is counted, or fewer are done."""
        with self._guard:
            before, now = self.state, time.time()
            if before.get("what") != what or before.get("total") != total or before["done"] > done:
                self.state = {**before, "what": what, "total": total, "since": now, "first": done}
            self.state |= {"done": done, "now": now}
            if time.monotonic() - self._written >= _EVERY:
                self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        aside = self.path.with_suffix(".new")
        with contextlib.suppress(OSError):  # whoever looks on sees less; the run goes on
            aside.write_text(json.dumps(self.state), "utf-8")
            os.replace(aside, self.path)


@contextlib.contextmanager
def recorded(folder: Path) -> Iterator[None]:
    """Record in ``folder`` how far the work of this block is."""
    recorder = Recorder(folder)
    try:
        with progress.watched(recorder):
            yield
    finally:
        for path in (recorder.path, recorder.path.with_suffix(".new")):
            with contextlib.suppress(OSError):
                path.unlink()


def read(folder: Path) -> dict[str, Any]:
    """What the recorder of a folder wrote last; empty where there is none."""
    try:
        found = json.loads((folder / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def seconds_left(state: dict[str, Any], now: float | None = None) -> float | None:
    """Seconds until the present stage has counted to its end, at its rate so far; None before a rate is known."""
    try:
        done, spent = state["done"] - state["first"], state["now"] - state["since"]
        if done <= 0 or spent <= 0:
            return None
        left = (state["total"] - state["done"]) * spent / done
        return max(0.0, left - max(0.0, (time.time() if now is None else now) - state["now"]))
    except (KeyError, TypeError):
        return None
