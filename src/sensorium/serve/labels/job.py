"""The refit of one served run in the background: one at a time, its result kept until it is accepted or dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from sensorium.errors import BadData, Busy, SensoriumError
from sensorium.search.run import open as open_run
from sensorium.serve.engine import own_process
from sensorium.serve.labels import accepting
from sensorium.serve.labels.journal import Journal
from sensorium.serve.labels.merged import merge
from sensorium.serve.labels.refit import Refitted, refit

Measures = Literal["", "measuring", "measured", "failed"]
State = Literal["idle", "fitting", "fitted", "accepting", "accepted", "undone", "failed"]


class Refit:
    """The state of a run's refit. folder: of the run. failed: called with what is no caller's mistake."""

    def __init__(self, folder: Path, redact: Callable[[str], str], failed: Callable[[BaseException], None]) -> None:
        self.folder, self.redact, self.failed = folder, redact, failed
        self.state: State = "idle"
        self.detail = ""
        self.fitted: Refitted | None = None
        self.measures: Measures = ""
        self.measures_detail = ""
        self._task: asyncio.Task[None] | None = None
        self._measuring: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin a fit on the labels as they are now. Raises Busy while something is under way."""
        self._begin("fitting", self._fit, "fitted")

    def accept(self) -> None:
        """Put the fitted heads into the run, which is then evaluated in the background.

        Raises BadData where there are none, Busy while something is under way.
        """
        if self.fitted is None:
            raise BadData("there is no refit to accept; start one first")
        fitted = self.fitted
        self._begin("accepting", lambda: accepting.accept(self.folder, fitted.heads, fitted.about()), "accepted")

    def undo(self) -> None:
        """Drop a fit that was not accepted, or put the heads before the last accepted one back."""
        if self.fitted is not None and self.state in ("fitted", "failed"):
            self.fitted, self.state, self.detail = None, "idle", ""
            return
        if not accepting.can_undo(self.folder):
            raise BadData("there is no refit to undo")
        self._begin("accepting", lambda: accepting.undo(self.folder), "undone")

    def about(self) -> dict[str, Any]:
        """The state, for JSON."""
        return {"state": self.state, "detail": self.detail, "can_undo": accepting.can_undo(self.folder),
                "measures": self.measures, "measures_detail": self.measures_detail,
                "result": None if self.fitted is None else self.fitted.about()}  # fmt: skip

    def _fit(self) -> None:
        self.fitted = None
        self.fitted = refit(open_run(self.folder), merge(Journal(self.folder).read()))

    def _begin(self, state: State, work: Callable[[], None], then: State) -> None:
        if self._task is not None and not self._task.done():
            raise Busy(f"a refit of this run is {self.state}; wait until it is done")
        self.state, self.detail = state, ""
        self._task = asyncio.create_task(self._run(work, then))

    async def _run(self, work: Callable[[], None], then: State) -> None:
        try:
            if then != "fitted":
                await self._measure_no_more()
            await asyncio.to_thread(work)
        except SensoriumError as error:
            self.state, self.detail = "failed", self.redact(str(error))
        except Exception as error:
            self.failed(error)
            self.state, self.detail = "failed", "the refit failed; the server's log says why"
        else:
            self.state = then
            if then in ("accepted", "undone"):
                self.fitted = None
            if then == "accepted":
                self.measures = "measuring"
                self._measuring = asyncio.create_task(self._measure())

    async def _measure(self) -> None:
        """Evaluate the run in a process of its own, which ends with the server."""
        reason = await own_process.run("sensorium", "evaluate", str(self.folder), "--quiet")
        self.measures, self.measures_detail = ("failed" if reason else "measured"), self.redact(reason)

    async def _measure_no_more(self) -> None:
        """End an evaluation that is under way: it is of heads that are replaced."""
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.wait([self._measuring])
        self._measuring, self.measures, self.measures_detail = None, "", ""
