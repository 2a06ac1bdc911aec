"""A run's folder against other processes: the lock holds until the folder is in its place, and what it replaces is gone."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest
import small_run

import sensorium
from sensorium import integrity, io, pipeline
from sensorium import recipe as recipes
from sensorium.errors import Busy
from sensorium.search.folder import RunFolder, around, workplace

PLAN = recipes.load(small_run.RECIPE, [])


def make(out: Path, text: str) -> None:
    with workplace(out, PLAN) as building:
        for name in ("metrics.json", "head"):
            io.write(building / name, text)


@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("moment", ["before the exchange", "after it", "while the old one is deleted", "at the end"])
def test_another_process_never_writes_into_a_folder_that_is_put_in_place(tmp_path, monkeypatch, moment, earlier):
    """At each moment another process tries to begin a run here; one process alone would never see it."""
    out = tmp_path / "run"
    if earlier:
        make(out, "earlier")
    target, entered = RunFolder(out), []

    def other() -> None:
        with contextlib.suppress(Busy), io.lock(target.building, wait=False):
            (target.building / "mine").write_text("of another process")
            entered.append(moment)

    def around_call(module, name: str, before: bool) -> None:
        call = getattr(module, name)

        def probed(*args, **kwargs):
            if before:
                other()
            found = call(*args, **kwargs)
            if not before:
                other()
            return found

        monkeypatch.setattr(module, name, probed)

    if moment == "before the exchange":
        around_call(io, "_swap", True)
    elif moment == "after it":
        around_call(io, "_swap", False)
    elif moment == "while the old one is deleted":
        around_call(shutil, "rmtree", True)
    else:
        around_call(os, "rename", False)
    make(out, "new")
    monkeypatch.undo()
    assert {path.name for path in out.iterdir()} == {"metrics.json", "head", "recipe.toml"}
    assert (out / "head").read_text() == "new"
    if entered:  # it may begin once the name is free, and then nothing of it is deleted
        assert (target.building / "mine").read_text() == "of another process"
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_kill_after_the_exchange_leaves_nothing_to_go_on_from(tmp_path, monkeypatch):
    """What was replaced lies where runs are built: the next run of the same recipe does not begin with its files."""
    out = tmp_path / "run"
    make(out, "earlier")
    (out / "plot.svg").write_text("of the earlier run")
    with monkeypatch.context() as killed:
        killed.setattr(io, "remove_folder", lambda *_: None)  # as if killed here
        make(out, "second")
    assert (RunFolder(out).building / "plot.svg").exists()
    make(out, "third")
    assert {path.name for path in out.iterdir()} == {"metrics.json", "head", "recipe.toml"}
    assert [run.name for run in around(tmp_path)] == ["run"] and not RunFolder(out).building.exists()


def test_a_finished_run_that_was_not_put_in_place_goes_on_from_its_checkpoint(tmp_path):
    out = tmp_path / "run"
    with contextlib.suppress(RuntimeError), workplace(out, PLAN) as building:
        for name in ("metrics.json", "checkpoint/state.json"):
            io.write(building / name, "of the run that was interrupted")
        raise RuntimeError
    with workplace(out, PLAN) as building:
        assert (building / "checkpoint" / "state.json").exists()


def test_a_run_that_is_replaced_during_its_evaluation_is_not_mixed_with_the_new_one(tmp_path, monkeypatch):
    run = small_run.make(tmp_path / "run")
    embed = pipeline.embed

    def replaced(*args, **kwargs):
        monkeypatch.undo()
        small_run.make(tmp_path / "run", "seed=1", "evaluate.resamples=60")
        return embed(*args, **kwargs)

    monkeypatch.setattr(pipeline, "embed", replaced)
    with pytest.raises(Busy, match="replaced by another process meanwhile; nothing was changed: type it again"):
        pipeline.evaluate_again(run.folder, quiet=True)
    assert sensorium.open(run.folder).recipe.seed == 1 and integrity.problems(run.folder) == []
    assert pipeline.evaluate_again(run.folder, quiet=True).recipe.seed == 1
