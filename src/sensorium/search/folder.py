"""Paths of a run: its folder, the one it is built in, its lock and the stores beside it."""

from __future__ import annotations

import contextlib
import fcntl
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium import fingerprint as fingerprints
from sensorium import io
from sensorium.errors import BadRecipe, DiskFull, ReadOnly, SensoriumError
from sensorium.recipe import Recipe
from sensorium.search import evaluations, journal, making


@dataclass(frozen=True)
class RunFolder:
    """A run's folder by its path, whether it is there or not.

    A run is built in :attr:`building`, a hidden folder beside it, and swapped in when it is whole.
    """

    path: Path

    @classmethod
    def of(cls, path: Path | str) -> RunFolder:
        """The run at a path. A path of the folder that a run is built in stands for the run."""
        path = Path(path)
        name = path.name
        if name.startswith(".") and name.endswith(".building"):
            path = path.with_name(name[1:].removesuffix(".building"))
        return cls(path)

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    @property
    def metrics(self) -> Path:
        """metrics.json, which is written last: where it is, the run is whole."""
        return self.path / "metrics.json"

    @property
    def recipe(self) -> Path:
        """The resolved recipe, recipe.toml."""
        return self.path / "recipe.toml"

    @property
    def building(self) -> Path:
        """The folder that the run is built in."""
        return self.path.parent / f".{self.path.name}.building"

    @property
    def started(self) -> Path:
        """The resolved recipe of a run in the making."""
        return self.building / "recipe.toml"

    @property
    def lock(self) -> Path:
        """The file that the process that builds the run holds locked."""
        return self.building / ".lock"

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint of an interrupted fit."""
        return self.building / "checkpoint"

    @property
    def stores(self) -> Path:
        """The embeddings of all runs of the folder around: embedded once, used by all of them."""
        return self.path.parent / "embeddings"

    @property
    def is_run(self) -> bool:
        """Whether a whole run lies here."""
        return self.metrics.is_file()

    def is_run_of(self, plan: Recipe) -> bool:
        """Whether a whole run of exactly this recipe lies here."""
        if not self.is_run:
            return False
        metrics = io.read_object(self.metrics, "make the run anew")
        return plan.hash in (metrics.get("recipe"), metrics.get("asked"))

    @property
    def is_building(self) -> bool:
        """Whether a process builds the run at this moment: it holds the lock, which a kill frees."""
        try:
            with open(self.lock, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @property
    def interrupted_at(self) -> str:
        """Where an interrupted fit goes on, as "step 203 of 280"; "" before its first checkpoint.

        Of an ensemble: "member 3, step 203 of 280", or "member 3" before that member's first checkpoint.
        """
        members = sorted(self.checkpoint.glob("member-*"), key=lambda path: int(path.name.split("-")[1]))
        member = f"member {int(members[-1].name.split('-')[1])}" if members else ""
        if member and members[-1].name.endswith("distilled"):
            member = "the distilled head"
        try:
            where = members[-1] / "checkpoint" if members else self.checkpoint
            state = io.read_object(where / "state.json", "make the run anew", state=dict)["state"]
            return f"{member}{', ' if member else ''}step {state['step']:,} of {state['fit']['steps']:,}"
        except (SensoriumError, KeyError, TypeError, ValueError):  # none yet, or damaged: resuming says which
            return member

    @property
    def resume(self) -> str:
        """The command that goes on with an interrupted run."""
        return f"sensorium run {quote(self.started)} --out {quote(self.path)}"

    def again(self, *overrides: str) -> str:
        """The command that makes the run anew with its own recipe, perhaps changed."""
        return " ".join(["sensorium run", quote(self.recipe), *overrides, "--out", quote(self.path)])


def store_name(side: str, plan: Recipe, fingerprint: Mapping[str, Any]) -> str:
    """Folder of one side's store: data set, side, encoder, and the start of its fingerprint's digest."""
    digest = fingerprints.digest(dict(fingerprint))
    names = (plan.part_name("data"), side, plan.part_name(f"{side}.encoder"), digest[:8])
    return "-".join(name.replace("/", "_").replace(":", "_") for name in names)


def quote(path: Path | str) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))


def around(folder: Path) -> list[RunFolder]:
    """The runs in a folder, whole or in the making, by name."""
    found = {RunFolder.of(path) for path in folder.glob("*") if (path / "metrics.json").is_file()}
    found |= {RunFolder.of(path) for path in folder.glob(".*.building") if path.is_dir()}
    return sorted(found, key=lambda run: run.name)


@contextlib.contextmanager
def workplace(out: Path, plan: Recipe) -> Iterator[Path]:
    """The folder a run is built in, swapped over ``out`` when it is whole.

    An interrupted run of the same recipe is found again and continued; of another, cleared away.
    """
    target = RunFolder(Path(out))
    if target.name in ("", "..") or target.path.is_file():
        raise BadRecipe(f"--out {out} is no folder to make; expected one such as runs/{plan.name}")
    if target.path.exists() and not target.is_run and any(p.name != ".lock" for p in target.path.iterdir()):
        raise BadRecipe(f"{out} is not empty and not a run; choose another folder with --out")
    building = target.building
    with io.lock(building, wait=False):
        io.sweep(building, age=0.0)  # the holder of the lock is the only writer here
        io.sweep(building.parent, f"*-{target.name}")
        text = plan.toml()
        # A whole run without a checkpoint is what a kill left of the folder that was replaced.
        replaced = (building / target.metrics.name).is_file() and not target.checkpoint.exists()
        if replaced or not target.started.is_file() or target.started.read_text("utf-8") != text:
            target.started.unlink(missing_ok=True)  # first, as a folder without it is always cleared
            for path in building.iterdir():
                if path != target.lock:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            io.write(target.started, text)
        try:
            with making.recorded(building):
                yield building
        except Exception:
            if not target.checkpoint.exists():  # nothing worth going on from
                with contextlib.suppress(DiskFull, ReadOnly):  # the error that led here matters more
                    io.remove_folder(building, target.name)
            raise
        with (
            journal.copied(target.path, building),
            evaluations.carried(target.path, building),
            _locked(target.path),
        ):
            io.exchange(building, target.path)
        with contextlib.suppress(OSError):  # an old lock hinders nobody
            (target.path / target.lock.name).unlink()


@contextlib.contextmanager
def _locked(old: Path) -> Iterator[None]:
    """Hold the lock of the folder to be replaced too: after the exchange it lies where runs are built.

    A folder that cannot be written is left unlocked.
    """
    with contextlib.ExitStack() as held:
        if old.is_dir():
            with contextlib.suppress(ReadOnly, DiskFull):
                held.enter_context(io.lock(old))
        yield
