"""``sensorium serve --workers N``: processes that answer on one socket, and the one that watches over them.

The workers share nothing but the run folders. Each opens the runs itself; items that one of them adds are in the
journal beside the index, which all follow. A worker that dies is started again, and SIGHUP renews them one by one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from sensorium.errors import BadRecipe
from sensorium.serve.engine import replica
from sensorium.serve.log import Log
from sensorium.serve.settings import Settings

_TICK = 0.05  # seconds between two looks at the workers
_START = 300.0  # seconds that a worker may take to open the runs
_PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0)  # seconds before a worker that died soon is started again, one after the other
_SOON = 10.0


def serve(
    runs: Sequence[Path],
    settings: Settings,
    options: dict[str, Any],
    listener: socket.socket,
    announce: Callable[[], None],
) -> None:
    """Run ``settings.workers`` processes until a signal says to stop. announce: called when all take connections.

    options: fields of Settings as they were given, for the workers. Raises BadRecipe where a worker ends before it
    takes connections the first time.
    """
    with tempfile.TemporaryDirectory(prefix="sensorium-serve-") as folder:
        Replicas(runs, settings, options, listener, Path(folder)).run(announce)


class _Worker:
    """One process of the server, in a session of its own: signals of the terminal reach the supervisor alone."""

    def __init__(self, number: int, start: dict[str, Any], listener: socket.socket, folder: Path) -> None:
        self.number, self.started = number, time.monotonic()
        environment = {**os.environ, replica.NUMBER: str(number), replica.FOLDER: str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sensorium.serve.worker", str(listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            env=environment,
            start_new_session=True,
        )
        self.ready_file = folder / f"{self.process.pid}{replica.READY}"
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended at once; its status says so
            self.process.stdin.write(json.dumps(start).encode() + b"\n")
            self.process.stdin.flush()  # the pipe stays open: its end tells the worker that the supervisor is gone

    @property
    def ready(self) -> bool:
        return self.ready_file.exists()

    @property
    def over(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    def end(self, until: float) -> None:
        """Wait until a time, then kill."""
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        for path in self.ready_file.parent.glob(f"{self.process.pid}.*"):
            path.unlink(missing_ok=True)


class Replicas:
    """The workers of one server, by number, and what is to be done with them."""

    def __init__(
        self, runs: Sequence[Path], settings: Settings, options: dict[str, Any], listener: socket.socket, folder: Path
    ) -> None:
        self.settings, self.listener, self.folder, self.log = settings, listener, folder, Log(settings)
        token = settings.token
        self.start = {
            "runs": [str(run) for run in runs],
            "options": {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
            | ({} if token is None else {"token": token.get_secret_value()}),
        }
        self.workers: dict[int, _Worker] = {}
        self.deaths = dict.fromkeys(range(settings.workers), 0)
        self.stopping = self.renewing = False

    def run(self, announce: Callable[[], None]) -> None:
        """Start all, watch them, and end them."""
        before = {sign: signal.signal(sign, self._note) for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        try:
            for number in self.deaths:
                self.workers[number] = self._start(number)
            if self._all_ready():
                announce()
            while not self.stopping:
                time.sleep(_TICK)
                if self.renewing:
                    self.renewing = False
                    self._renew()
                for number, worker in self.workers.items():
                    if worker.over and not self.stopping:
                        self._again(number, worker)
        finally:
            for worker in self.workers.values():
                worker.stop()
            until = time.monotonic() + self.settings.drain_seconds + replica.GRACE + 5
            for worker in self.workers.values():
                worker.end(until)
            for sign, handler in before.items():
                signal.signal(sign, handler)

    def _note(self, sign: int, _: FrameType | None) -> None:
        if sign == signal.SIGHUP:
            self.renewing = True
        else:
            self.stopping = True

    def _start(self, number: int) -> _Worker:
        return _Worker(number, self.start, self.listener, self.folder)

    def _all_ready(self) -> bool:
        """Wait until all take connections; False where a signal came first."""
        while not self.stopping and not all(worker.ready for worker in self.workers.values()):
            for worker in self.workers.values():
                if worker.over:
                    raise BadRecipe(
                        f"worker {worker.number} of {len(self.workers)} ended with status {worker.process.returncode} "
                        "before it took connections; what it wrote above says why. Type --workers 1 to see it alone"
                    )
            time.sleep(_TICK)
        return not self.stopping

    def _again(self, number: int, dead: _Worker) -> None:
        """Start a worker in the place of one that died; later and later where it dies again and again."""
        soon = time.monotonic() - dead.started < _SOON
        self.deaths[number] = min(self.deaths[number] + 1, len(_PAUSES) - 1) if soon else 0
        dead.end(time.monotonic())
        pause = _PAUSES[self.deaths[number]]
        self.log.line("warning", "worker died", worker=number, status=dead.process.returncode, again_in=pause)
        until = time.monotonic() + pause
        while time.monotonic() < until and not self.stopping:
            time.sleep(_TICK)
        self.workers[number] = self._start(number)

    def _renew(self) -> None:
        """Replace every worker by a new one, one after the other; the old one goes when the new one answers."""
        for number, old in [*self.workers.items()]:
            new, until = self._start(number), time.monotonic() + _START
            while not (new.ready or new.over or self.stopping) and time.monotonic() < until:
                time.sleep(_TICK)
            if not new.ready:
                new.stop()
                new.end(time.monotonic() + 5)
                self.log.line("warning", "not renewed", worker=number, status=new.process.returncode)
                return
            self.workers[number] = new
            old.stop()
            old.end(time.monotonic() + self.settings.drain_seconds + replica.GRACE + 5)
            self.log.line("info", "renewed", worker=number)
