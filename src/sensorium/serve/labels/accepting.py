"""A refit is put into its run, and taken out again: the folder is replaced whole, and keeps the heads before."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import fingerprint as fingerprints
from sensorium import heads, integrity, io, pipeline
from sensorium.errors import BadData
from sensorium.search.folder import workplace
from sensorium.search.raw import RawVectors
from sensorium.search.run import Run
from sensorium.search.run import open as open_run
from sensorium.types import Embeddings

BEFORE = "before-refit"  # folder in the run with the heads and numbers before the last refit


def accept(folder: str | Path, fitted: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Put fitted heads into a run: heads, indexes and metrics.json, in one step. What was there is kept.

    fitted: heads by side. about: what metrics.json says of the refit. The measures of the heads before are taken out
    of it, as are their calibrations; ``sensorium evaluate RUN`` measures anew. Raises Busy while another process makes
    the run.
    """
    run = open_run(folder)
    with workplace(run.folder, run.recipe) as building:
        _copy(run.folder, building)
        kept = building / BEFORE
        if kept.is_dir():
            shutil.rmtree(kept)
        kept.mkdir()
        measured = _measured(run.folder)
        own = [f"{side}{end}" for side in fitted for end in (".safetensors", ".json")]
        for name in [*own, "metrics.json", *measured]:
            (kept / name).parent.mkdir(exist_ok=True)
            shutil.copy2(run.folder / name, kept / name)
        for side, head in fitted.items():
            name = io.read_object(run.folder / f"{side}.json", "make the run anew", name=str)["name"]
            heads.save(head, building / side, name, run.fingerprint(side))
            _index(run, side, head, building)
        for name in measured:  # of the heads before
            (building / name).unlink()
        metrics = {key: value for key, value in run.metrics.items() if key in _STAY}
        notes = [*run.metrics.get("notes", []), _note(about)]
        pipeline.write_run(run.recipe, {**metrics, "results": [], "notes": notes, "refit": dict(about)}, building)


def _measured(folder: Path) -> list[str]:
    """The files that an evaluation wrote, relative to the folder of a run."""
    files = (path for pattern in integrity.STAGES["evaluate"] for path in folder.glob(pattern))
    return [path.relative_to(folder).as_posix() for path in files if path.is_file()]


def _note(about: Mapping[str, Any]) -> str:
    seen = about.get("of_test", 0)
    test = f"; {seen} of them are items of the test split, so that measures on it are too high" if seen else ""
    fitted = f"The heads were fitted on with labels of {about['queries']} queries{test}"
    return f"{fitted}. Measured by: sensorium evaluate RUN"


def can_undo(folder: str | Path) -> bool:
    """Whether the heads before the last refit are kept in a run."""
    return (Path(folder) / BEFORE / "metrics.json").is_file()


def undo(folder: str | Path) -> None:
    """Put the heads and numbers before the last refit back, in one step. Raises BadData where there is none."""
    folder = Path(folder)
    if not can_undo(folder):
        raise BadData(f"{folder.name} has no refit to undo")
    run = open_run(folder)
    with workplace(run.folder, run.recipe) as building:
        _copy(run.folder, building)
        for name in _measured(building):  # of the heads that go
            (building / name).unlink()
        shutil.copytree(run.folder / BEFORE, building, dirs_exist_ok=True)
        shutil.rmtree(building / BEFORE)
        for side in run.sides:
            if (run.folder / BEFORE / f"{side}.safetensors").is_file():
                module, _ = heads.restore(building / side)
                _index(run, side, module, building)
        metrics = io.read_object(building / "metrics.json", "make the run anew")
        before = {key: value for key, value in metrics.items() if key not in ("format", "name")}
        pipeline.write_run(run.recipe, before, building)


#: Entries of metrics.json that do not depend on the heads.
_STAY = ("fit", "pairs", "data", "split", "recipe", "asked", "sides", "seconds", "dataset", "index")


def _copy(source: Path, building: Path) -> None:
    left_out = (".lock", "recipe.toml", integrity.NAME, integrity.EVALUATIONS, "live")
    io.copy_folder(source, building, shutil.ignore_patterns(*left_out))


def _index(run: Run, side: str, head: Any, building: Path) -> None:
    """The index of a side anew, from the encoder's vectors of its items through a head."""
    before = run.index(side).table
    raw = RawVectors(run, side).of(before.ids)
    live = np.isin(before.ids, list(run.journals[side].latest))  # they come from the journal when the run is opened
    rows = np.flatnonzero(~live & raw.any(axis=1))
    vectors = heads.apply(head, raw[rows])
    part = run.recipe.part("index")
    part.name = f"{run.recipe.name}_{side}"
    part.add(before.ids[rows], vectors, {name: column[rows] for name, column in before.columns.items()})
    made = fingerprints.of_data(Embeddings(before.ids[rows], vectors, {}), None)
    head_now = io.checksum(building / f"{side}.safetensors")
    part.fingerprint = {"made": made, "head": head_now}
    with io.publish(building / "index" / side) as folder:
        part.save(folder)
    stamp = {"head": head_now, "part": run.recipe.values["index"], "made": made}
    io.write_json(building / "index" / f"{side}.json", stamp)
