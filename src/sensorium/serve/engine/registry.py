"""Registry of served runs, with hot reload: a folder replaced on disk is opened and then takes the old one's place."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensorium.errors import BadRecipe, SensoriumError, nearest
from sensorium.search.folder import RunFolder
from sensorium.search.run import Run
from sensorium.search.run import open as open_run
from sensorium.serve.engine.workers import Workers, identify
from sensorium.serve.log import Log
from sensorium.serve.mounting import Mount
from sensorium.serve.problems import Problem, Redactor
from sensorium.serve.settings import Settings

_TRIES = 5  # openings of a folder that is replaced while it is being opened


@dataclass(frozen=True)
class ServedRun:
    """One version of a run as it is served. epoch counts how often its folder has been replaced."""

    name: str
    folder: Path
    run: Run
    epoch: int
    identity: tuple[int, ...]
    workers: Workers
    cache: dict[str, Any] = field(default_factory=dict)  # of routes, for this version of the run


class Registry:
    """Runs by folder name. Reading is lock-free: a version, once got, stays whole while it is referenced."""

    def __init__(
        self, folders: Sequence[str | Path], settings: Settings, log: Log | None = None, mount: Mount | None = None
    ) -> None:
        self.settings, self.log, self.mount = settings, log, mount or Mount()
        self.folders = {Path(folder).resolve().name: Path(folder).absolute() for folder in folders}
        if len(self.folders) < len(folders):
            raise BadRecipe("two of the run folders have the same name; rename one of them")
        self.redact = Redactor(self.folders)
        self.faults: dict[str, str] = {}
        self._served: dict[str, ServedRun] = {}
        self._refused: dict[str, tuple[int, ...]] = {}
        self._opening = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Every run of the arguments, whether it can be opened or not."""
        return list(self.folders)

    @property
    def ready(self) -> list[ServedRun]:
        """The runs that can be searched."""
        return [served for name in self.folders if (served := self._served.get(name)) is not None]

    def get(self, name: str | None = None) -> ServedRun:
        """A run by name; without a name, the only one. Raises a 404, 400 or 503 problem."""
        if name is None:
            if len(self.folders) > 1:
                raise Problem(400, f"several runs are served; say which with run: {', '.join(self.folders)}")
            name = next(iter(self.folders))
        if name not in self.folders:
            raise Problem(404, f"no run '{name}'; {nearest(name, self.folders)}")
        served = self._served.get(name)
        if served is None:
            raise Problem(503, f"run '{name}' is {self.state(name)}: {self.fault(name) or 'not opened yet'}")
        return served

    def state(self, name: str) -> str:
        """ "ready", "building" (being made for the first time, or interrupted in that) or "broken"."""
        if name in self._served:
            return "ready"
        return "building" if is_in_training(self.folders[name]) else "broken"

    def fault(self, name: str) -> str | None:
        """Why the newest version of a run cannot be searched; None when it can."""
        if self.state(name) == "building":
            if RunFolder(self.folders[name]).is_building:
                return "in the making; it can be searched once it is done"
            return "interrupted while it was made; type its command again to go on"
        return self.faults.get(name)

    def refresh(self) -> list[str]:
        """Open what is new on the disk; returns the names of runs that changed.

        A folder that cannot be opened leaves the version before it in place and a line in ``faults``.
        """
        changed = []
        with self._opening:
            for name, folder in self.folders.items():
                identity = identify(folder)
                before = self._served.get(name)
                if (before is not None and before.identity == identity) or self._refused.get(name) == identity:
                    continue
                try:
                    run, workers, identity = self._open(name, folder)
                except Exception as error:  # whatever is wrong with one run, the others are served
                    self.faults[name], self._refused[name] = self.redact(self._reason(error)), identity
                    continue
                self.faults.pop(name, None)
                self._refused.pop(name, None)
                epoch = 0 if before is None else before.epoch + 1
                self._served[name] = ServedRun(name, folder, run, epoch, identity, workers)
                changed.append(name)
        return changed

    def _reason(self, error: Exception) -> str:
        if isinstance(error, (SensoriumError, OSError)):
            return str(error)
        if self.log is not None:
            self.log.failure(error)
        return f"it cannot be opened ({type(error).__name__}: {error}); type: sensorium doctor RUN"

    def close(self) -> None:
        """Compact live changes into the indexes; nothing is lost where this does not happen."""
        for served in self.ready:
            for side, mine in served.workers.sides.items():
                if served.run.journals[side].latest:
                    with contextlib.suppress(SensoriumError, OSError):
                        mine.searching.thread.submit(served.workers.compact, side).result()

    def _open(self, name: str, folder: Path) -> tuple[Run, Workers, tuple[int, ...]]:
        """A run with everything loaded that a search needs, all from one version of the folder."""
        for attempt in range(_TRIES):
            identity = identify(folder)
            try:
                run = open_run(folder, self._encoders())
                for side in run.sides:
                    run.head(side)
                    run.index(side)
                for direction in {*run.trust, *run.corrections}:  # read now, as the folder may be gone later
                    run.shift(direction, run.sides[-1] if direction.endswith("right") else run.sides[0])
                workers = Workers(name, run, self.settings, self.mount)
            except (SensoriumError, OSError):
                if identify(folder) == identity or attempt + 1 == _TRIES:
                    raise
                continue
            if identify(folder) == identity:
                return run, workers, identity
        raise BadRecipe(f"{folder} is replaced faster than it can be opened")

    def _encoders(self) -> list[Any]:
        """Encoders of the runs opened so far: one that a new run needs too is not loaded again."""
        return [served.run.encoder(side) for served in self._served.values() for side in served.run.sides]


def is_in_training(folder: Path) -> bool:
    """Whether a run is being made for the first time, or was interrupted in that."""
    run = RunFolder(folder)
    return run.building.is_dir() and not run.is_run
