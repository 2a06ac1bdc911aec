"""Progress of a fit on the terminal: steps, loss, best validation, pairs per second, time left."""

from __future__ import annotations

import sys
import time
from typing import Any

from sensorium.progress import Log, count


class Progress:
    """A progress bar on a terminal, a line at intervals in a log unless not ``visible``; a watcher is told anyway."""

    def __init__(self, total: int, done: int, visible: bool) -> None:
        self.bar = self.log = None
        self.total = total
        if visible and sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            columns = (progress.TextColumn("fit"), progress.BarColumn(), progress.MofNCompleteColumn(),
                       progress.TextColumn("{task.description}"), progress.TimeRemainingColumn())  # fmt: skip
            self.bar = progress.Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)
            self.task = self.bar.add_task("", total=total, completed=done)
            self.bar.start()
            self._drawn = 0.0
        elif visible:
            self.log = Log("fit", total, done)

    def show(self, state: Any, pairs_a_step: int) -> None:
        """Redraw from a :class:`~sensorium.fitting.state.State`, at most four times a second."""
        count("steps", state.step, self.total)
        if self.log is not None:
            self.log.reach(state.step, lambda: _description(state, pairs_a_step))
        if self.bar is None or time.monotonic() - self._drawn < 0.25:
            return
        self._drawn = time.monotonic()
        self.bar.update(self.task, completed=state.step, description=_description(state, pairs_a_step))

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.stop()


def _description(state: Any, pairs_a_step: int) -> str:
    """Loss and rate since the epoch began, and the best validation."""
    rate = state.since * pairs_a_step / max(state.seconds, 1e-9)
    loss = f"loss {state.loss / max(state.since, 1):.4f}" if state.since else ""
    best = f"best {state.watch.best:.4f}" if state.watch.best is not None else ""
    return "  ".join(part for part in (loss, best, f"{rate:,.0f} pairs/s") if part)
