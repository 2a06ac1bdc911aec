"""A fit on the terminal: one line of steps, loss, validation, pairs a second and time left."""

from __future__ import annotations

import sys
import time
from typing import Any

from sensorium.progress import Log


class Progress:
    """A live line on a terminal, a plain one now and then in a log, nothing where it is not ``shown``."""

    def __init__(self, total: int, done: int, shown: bool) -> None:
        self.bar = self.log = None
        if shown and sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            columns = (progress.TextColumn("fit"), progress.BarColumn(), progress.MofNCompleteColumn(),
                       progress.TextColumn("{task.description}"), progress.TimeRemainingColumn())  # fmt: skip
            self.bar = progress.Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)
            self.task = self.bar.add_task("", total=total, completed=done)
            self.bar.start()
            self._drawn = 0.0
        elif shown:
            self.log = Log("fit", total, done)

    def show(self, state: Any, pairs_a_step: int) -> None:
        """Bring the line up to date with a :class:`~sensorium.fitting.state.State`, a few times a second."""
        if self.log is not None:
            self.log.reach(state.step, lambda: _told(state, pairs_a_step))
        if self.bar is None or time.monotonic() - self._drawn < 0.25:
            return
        self._drawn = time.monotonic()
        self.bar.update(self.task, completed=state.step, description=_told(state, pairs_a_step))

    def close(self) -> None:
        """Take the line away."""
        if self.bar is not None:
            self.bar.stop()


def _told(state: Any, pairs_a_step: int) -> str:
    """Loss and rate of the epoch so far, and the best validation."""
    rate = state.since * pairs_a_step / max(state.seconds, 1e-9)
    loss = f"loss {state.loss / max(state.since, 1):.4f}" if state.since else ""
    best = f"best {state.watch.best:.4f}" if state.watch.best is not None else ""
    return "  ".join(part for part in (loss, best, f"{rate:,.0f} pairs/s") if part)
