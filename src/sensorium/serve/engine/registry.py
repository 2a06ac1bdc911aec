"""The opened runs by name; a folder exchanged on disk is opened aside and takes the old one's place."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensorium.errors import BadRecipe, SensoriumError, nearest
from sensorium.search.run import Run
from sensorium.search.run import open as open_run
from sensorium.serve.engine.workers import Lanes, identify
from sensorium.serve.problems import Problem
from sensorium.serve.settings import Settings

_TRIES = 5  # openings of a folder that is exchanged while it is being opened


@dataclass(frozen=True)
class Shown:
    """One run as it is being served. epoch counts how often its folder has been exchanged."""

    name: str
    folder: Path
    run: Run
    epoch: int
    identity: tuple[int, ...]
    lanes: Lanes
    kept: dict[str, Any] = field(default_factory=dict)  # what routes keep along with this version of the run


class Shelf:
    """Runs by folder name. Reading is lock-free: a version, once got, stays whole while it is held."""

    def __init__(self, folders: Sequence[str | Path], settings: Settings) -> None:
        self.settings = settings
        self.folders = {Path(folder).resolve().name: Path(folder).absolute() for folder in folders}
        if len(self.folders) < len(folders):
            raise BadRecipe("two of the run folders have the same name; rename one of them")
        self.faults: dict[str, str] = {}
        self._shown: dict[str, Shown] = {}
        self._refused: dict[str, tuple[int, ...]] = {}
        self._opening = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Every run that was given, whether it can be opened or not."""
        return list(self.folders)

    @property
    def ready(self) -> list[Shown]:
        """The runs that can be searched."""
        return [shown for name in self.folders if (shown := self._shown.get(name)) is not None]

    def get(self, name: str | None = None) -> Shown:
        """A run by name; without a name, the only one. Raises a 404, 400 or 503 problem."""
        if name is None:
            if len(self.folders) > 1:
                raise Problem(400, f"several runs are served; say which with run: {', '.join(self.folders)}")
            name = next(iter(self.folders))
        if name not in self.folders:
            raise Problem(404, f"no run '{name}'; {nearest(name, self.folders)}")
        shown = self._shown.get(name)
        if shown is None:
            raise Problem(503, f"run '{name}' is {self.state(name)}: {self.faults.get(name, 'not opened yet')}")
        return shown

    def state(self, name: str) -> str:
        """ "ready", "building" (being made for the first time) or "broken"."""
        if name in self._shown:
            return "ready"
        folder = self.folders[name]
        building = folder.with_name(f".{folder.name}.building")
        return "building" if building.exists() and not (folder / "metrics.json").exists() else "broken"

    def refresh(self) -> list[str]:
        """Open what is new on the disk; returns the names of runs that changed.

        A folder that cannot be opened leaves the version before it in place and a line in ``faults``.
        """
        changed = []
        with self._opening:
            for name, folder in self.folders.items():
                identity = identify(folder)
                before = self._shown.get(name)
                if (before is not None and before.identity == identity) or self._refused.get(name) == identity:
                    continue
                try:
                    run, lanes, identity = self._open(name, folder)
                except (SensoriumError, OSError) as error:
                    self.faults[name], self._refused[name] = str(error), identity
                    continue
                self.faults.pop(name, None)
                self._refused.pop(name, None)
                epoch = 0 if before is None else before.epoch + 1
                self._shown[name] = Shown(name, folder, run, epoch, identity, lanes)
                changed.append(name)
        return changed

    def close(self) -> None:
        """Compact what was changed live into the indexes; nothing is lost where this does not happen."""
        for shown in self.ready:
            for side, kept in shown.lanes.sides.items():
                if shown.run.journals[side].latest:
                    with contextlib.suppress(SensoriumError, OSError):
                        kept.lane.thread.submit(shown.lanes.compact, side).result()

    def _open(self, name: str, folder: Path) -> tuple[Run, Lanes, tuple[int, ...]]:
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
                lanes = Lanes(name, run, self.settings)
            except (SensoriumError, OSError):
                if identify(folder) == identity or attempt + 1 == _TRIES:
                    raise
                continue
            if identify(folder) == identity:
                return run, lanes, identity
        raise BadRecipe(f"{folder} is exchanged faster than it can be opened")

    def _encoders(self) -> list[Any]:
        """Encoders of the runs opened so far: one that a new run needs too is not loaded again."""
        return [shown.run.encoder(side) for shown in self._shown.values() for side in shown.run.sides]
