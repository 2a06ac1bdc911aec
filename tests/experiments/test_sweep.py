"""Sweeps: the space syntax, equal draws for any number of kills, pruning, workers, and a real recipe."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sweep_trial import SPACE, bowl

from sensorium import recipe as recipes
from sensorium.errors import BadRecipe, Busy, SensoriumError
from sensorium.experiments import search_space as spaces
from sensorium.experiments.search_space import Choice, Range
from sensorium.experiments.seeds import several, summarise
from sensorium.experiments.study import Study
from sensorium.experiments.sweep import search, sweep
from sensorium.experiments.trials import Outcome

SUPPORT = Path(__file__).resolve().parents[1] / "support"


def test_space_syntax():
    space, fixed = spaces.parse(
        ["a=1..3", "b=0.5..2", "c=1e-4..1e-2:log", "d=x|y z|3", "objective=ridge", "data.root=../clips", "e=-5..-1"]
    )
    assert space == {
        "a": Range(1, 3),
        "b": Range(0.5, 2.0),
        "c": Range(1e-4, 1e-2, log=True),
        "d": Choice(("x", "y z", "3")),
        "e": Range(-5, -1),
    }
    assert fixed == ["objective=ridge", "data.root=../clips"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=3..1", "expected LOW < HIGH"),
        ("a=0..1:log", "both above 0 for :log"),
        ("a=x||y", "repeats a choice or leaves one empty"),
        ("a=1|1", "repeats a choice or leaves one empty"),
        ("a", "neither a range nor a value"),
    ],
)
def test_space_refuses(text, message):
    with pytest.raises(BadRecipe, match=message):
        spaces.parse([text])


def test_space_refuses_a_key_twice():
    with pytest.raises(BadRecipe, match="'a' varies twice"):
        spaces.parse(["a=1..2", "a=3|4"])


def test_overrides_put_parts_before_their_keys():
    drawn = {"left.head.hidden": 256, "objective": "infonce", "left.head": "mlp"}
    assert spaces.overrides(drawn) == ["objective=infonce", "left.head=mlp", "left.head.hidden=256"]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_sweep_finds_the_top(tmp_path, sampler):
    rows = search(bowl, SPACE, tmp_path, {}, trials=15, sampler=sampler, pruner="none")
    assert len(rows) == 15
    assert [row["value"] for row in rows] == sorted((row["value"] for row in rows), reverse=True)
    assert rows[0]["value"] > (-9 if sampler == "random" else -4)
    assert json.loads((tmp_path / "leaderboard.json").read_text()) == rows


def test_more_trials_go_on_and_equal_those_at_once(tmp_path):
    at_once = search(bowl, SPACE, tmp_path / "a", {}, trials=13, pruner="none")
    for trials in (3, 3, 13):
        in_parts = search(bowl, SPACE, tmp_path / "b", {}, trials=trials, pruner="none")
        assert len(in_parts) == trials
    assert values(in_parts) == values(at_once)


def values(rows):
    return [(row["rank"], row["value"], row["x"], row.get("y")) for row in rows]


def sweep_in_a_process(folder: Path, trials: int, workers: int = 1) -> int:
    """Run a sweep in a process of its own, as a kill would end ours; its exit status."""
    script = str(SUPPORT / "sweep_trial.py")
    command = [sys.executable, script, str(folder), str(trials), str(workers)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    return done.returncode


@pytest.mark.slow
def test_killed_sweep_goes_on_and_ends_equal(tmp_path):
    untouched = search(bowl, SPACE, tmp_path / "a", {}, trials=8, pruner="none")
    killed = tmp_path / "b"
    killed.mkdir()
    kills = 0
    for after in (2, 4, 7):
        (killed / "kill_after").write_text(str(after))
        kills += sweep_in_a_process(killed, 8) == -9
    assert kills == 3
    assert sweep_in_a_process(killed, 8) == 0
    resumed = json.loads((killed / "leaderboard.json").read_text())
    assert values(resumed) == values(untouched)
    began = [len((folder / "began").read_text().split()) for folder in (killed / "trials").iterdir()]
    assert len(began) == 8
    assert sum(began) == 8 + kills  # only the three that were cut off ran twice, in their own folders


def test_workers_try_at_the_same_time_and_a_dead_one_is_told(tmp_path):
    rows = search(bowl, SPACE, tmp_path / "a", {}, trials=6, sampler="random", pruner="none", workers=2)
    alone = search(bowl, SPACE, tmp_path / "b", {}, trials=6, sampler="random", pruner="none")
    assert values(rows) == values(alone)  # random draws do not depend on who runs them
    processes = {
        pid for folder in (tmp_path / "a" / "trials").iterdir() for pid in (folder / "began").read_text().split()
    }
    assert len(processes) == 2
    assert str(os.getpid()) not in processes

    broken = tmp_path / "c"
    broken.mkdir()
    (broken / "kill_after").write_text("4")
    with pytest.raises(RuntimeError, match="died; sweep again to resume"):
        search(bowl, SPACE, broken, {}, trials=6, sampler="random", pruner="none", workers=2)
    assert values(search(bowl, SPACE, broken, {}, trials=6, sampler="random", pruner="none", workers=2)) == values(
        alone
    )


def test_median_pruning_stops_the_worst(tmp_path):
    rows = search(bowl, {"x": Range(-10.0, 10.0)}, tmp_path, {}, trials=20, sampler="random", pruner="median")
    pruned = [row for row in rows if row["state"] == "pruned"]
    complete = [row for row in rows if row["state"] == "complete"]
    assert 3 <= len(pruned) <= 15
    assert len(complete) + len(pruned) == 20
    distance = [abs(row["x"] - 3) for row in complete], [abs(row["x"] - 3) for row in pruned]
    assert sum(distance[0]) / len(complete) < sum(distance[1]) / len(pruned)


def test_a_setting_that_cannot_be_meant_fails_alone(tmp_path):
    space = {"x": Range(-10.0, 10.0), "y": Choice(("good", "impossible"))}
    rows = search(bowl, space, tmp_path, {}, trials=6, sampler="random", pruner="none")
    failed = [row for row in rows if row["state"] == "failed"]
    assert failed
    assert all(row["error"] == "y is impossible" and row["y"] == "impossible" for row in failed)
    assert rows[0]["y"] == "good"


def test_all_failing_says_why(tmp_path):
    space = {"x": Range(-10.0, 10.0), "y": Choice(("impossible",))}
    with pytest.raises(BadRecipe, match="none of 3 trials was completed; the first failed: y is impossible"):
        search(bowl, space, tmp_path, {}, trials=3)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bug_stops_the_sweep_with_its_traceback(tmp_path, workers):
    space = {"x": Range(-10.0, 10.0), "y": Choice(("bug",))}
    with pytest.raises(ZeroDivisionError if workers == 1 else RuntimeError, match="a bug of ours"):
        search(bowl, space, tmp_path, {}, trials=3, workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_stops_the_sweep(tmp_path, workers):
    space = {"x": Range(-10.0, 10.0), "y": Choice(("full",))}
    with pytest.raises(SensoriumError, match="no room to write"):
        search(bowl, space, tmp_path, {}, trials=3, workers=workers)


def test_equal_trials_at_the_same_time_do_not_meet(tmp_path):
    study = Study(tmp_path, {"x": Choice(("1",))}, {}, "random", "none", 0)
    first, second = study.next(3), study.next(3)
    assert first.overrides == second.overrides == ["x=1"]
    assert first.folder != second.folder
    study.finish(first.key, Outcome(1.0))
    assert study.next(3).folder == first.folder  # there its run is found again
    assert study.next(3) is None


def test_another_sweep_in_the_same_folder_is_refused(tmp_path):
    search(bowl, SPACE, tmp_path, {"recipe": 1}, trials=2)
    with pytest.raises(BadRecipe, match="holds another sweep \\(its recipe differs\\)"):
        search(bowl, SPACE, tmp_path, {"recipe": 2}, trials=2)
    with pytest.raises(BadRecipe, match="its space differs"):
        search(bowl, {"x": Range(0.0, 1.0)}, tmp_path, {"recipe": 1}, trials=2)


def test_a_folder_in_use_is_refused(tmp_path):
    from sensorium import io

    script = str(SUPPORT / "sweep_trial.py")
    with io.lock(tmp_path):
        command = [sys.executable, script, str(tmp_path), "1", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert Busy.__name__ in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "tpee"}, "did you mean 'tpe'"),
        ({"pruner": "x"}, "known: median, none"),
        ({"trials": 0}, "--trials 0"),
        ({"workers": 0}, "--workers 0"),
    ],
)
def test_options_that_cannot_be_meant(tmp_path, options, message):
    with pytest.raises(BadRecipe, match=message):
        search(bowl, SPACE, tmp_path, {}, **options)


# --- a real recipe --------------------------------------------------------------------------

SETTINGS = [
    "train.lr=1e-4..1e-1:log",
    "left.head=linear|mlp",
    "objective.temperature=0.02..0.5:log",
    "train.epochs=3",
    "train.save_seconds=0.0",
]


RECIPE = {
    "name": "tiny",
    "data": {"name": f"{SUPPORT / 'sweep_trial.py'}:Paired"},
    "left": {"head": {"name": "linear", "dim": 16}},
    "objective": {"name": "infonce"},
    "train": {"precision": "fp32", "batch": 64},
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of a real recipe that nothing disturbed: its folder and leaderboard."""
    out = tmp_path_factory.mktemp("runs") / "s"
    return out, sweep(RECIPE, SETTINGS, trials=3, out=out, pruner="none", quiet=True)


def test_a_recipe_is_swept_on_validation(swept):
    out, rows = swept
    assert [row["rank"] for row in rows] == [1, 2, 3]
    for row in rows:
        told = json.loads((Path(row["folder"]) / "metrics.json").read_text())
        # The value is the mean over all validation queries of both directions.
        mrr = [r for r in told["validation"] if r["measure"] == "MRR"]
        queries = sum(r["n_queries"] for r in mrr)
        assert row["value"] == pytest.approx(sum(r["value"] * r["n_queries"] for r in mrr) / queries)
        assert row["difference"] == pytest.approx(row["value"] - rows[0]["value"])
        assert row["low"] <= row["difference"] <= row["high"]
    best = recipes.load(out / "best.toml")
    assert best.values["train"]["lr"] == rows[0]["train.lr"]
    assert best.values["evaluate"]["baselines"]  # the winner is judged in full when it is run


def test_a_finished_sweep_runs_nothing_again(swept):
    out, rows = swept
    before = {p: p.stat().st_mtime_ns for p in out.rglob("metrics.json")}
    assert sweep(RECIPE, SETTINGS, trials=3, out=out, pruner="none", quiet=True) == rows
    assert {p: p.stat().st_mtime_ns for p in out.rglob("metrics.json")} == before


@pytest.mark.slow
def test_a_killed_sweep_of_a_recipe_ends_with_the_same_numbers(swept, tmp_path):
    out = tmp_path / "s"
    script = (
        "import sys; from test_sweep import RECIPE, SETTINGS, sweep\n"
        "sweep(RECIPE, SETTINGS, trials=3, out=sys.argv[1], pruner='none', quiet=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(out)],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
    )
    try:
        while process.poll() is None:  # killed in the middle of the second trial's fit
            if list(out.glob("trials/*/metrics.json")) and list(out.glob("trials/.*.building/checkpoint/*")):
                break
            time.sleep(0.005)
    finally:
        process.kill()
    assert process.wait() == -9
    assert len(list(out.glob("trials/*/metrics.json"))) == 1
    rows = sweep(RECIPE, SETTINGS, trials=3, out=out, pruner="none", quiet=True)
    compared = ("rank", "value", "difference", "low", "high", "p", "train.lr", "left.head", "objective.temperature")
    assert [[row[key] for key in compared] for row in rows] == [[row[key] for key in compared] for row in swept[1]]


def test_unknown_keys_are_refused_before_the_first_trial(tmp_path):
    with pytest.raises(BadRecipe, match="did you mean 'temperature'"):
        sweep(RECIPE, ["objective.temprature=0.1..0.2"], out=tmp_path / "s", quiet=True)
    with pytest.raises(BadRecipe, match="nothing varies"):
        sweep(RECIPE, ["train.lr=1e-3"], out=tmp_path / "s", quiet=True)
    with pytest.raises(BadRecipe, match="choose MRR or hit@10"):
        sweep(RECIPE, SETTINGS, out=tmp_path / "s", measure="median_rank", quiet=True)
    assert not (tmp_path / "s").exists()


QUICK = [
    "train.epochs=1", "evaluate.baselines=[]", "evaluate.plots=false", "evaluate.correction=none",
    "evaluate.calibrate=false", "evaluate.resamples=50",
]  # fmt: skip


def test_several_seeds_give_mean_and_spread(tmp_path, monkeypatch):
    from sensorium import pipeline

    rows = several(RECIPE, QUICK, seeds=2, out=tmp_path / "seeds", quiet=True)
    runs = [json.loads((tmp_path / "seeds" / f"seed-{s}" / "metrics.json").read_text()) for s in range(2)]
    assert len({run["recipe"] for run in runs}) == 2
    assert len({run["split"] for run in runs}) == 1
    for row in rows:
        values = [r["value"] for run in runs for r in run["results"]
                  if (r["direction"], r["measure"]) == (row["direction"], row["measure"])]  # fmt: skip
        assert (row["mean"], row["std"]) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
        assert (row["lowest"], row["highest"], row["seeds"]) == (min(values), max(values), 2)
    assert json.loads((tmp_path / "seeds" / "seeds.json").read_text()) == {"seeds": [0, 1], "results": rows}

    ran = []
    monkeypatch.setattr(pipeline, "run", lambda *a, real=pipeline.run, **k: (ran.append(k["out"].name), real(*a, **k)))
    again = several(RECIPE, QUICK, seeds=3, out=tmp_path / "seeds", quiet=True)
    assert ran == ["seed-2"]  # the others were there
    assert again[0]["seeds"] == 3
    with pytest.raises(BadRecipe, match="--seeds 1; expected 2 or more"):
        several(RECIPE, seeds=1, out=tmp_path / "seeds")


def test_a_stamp_on_one_seed_stays_on_the_mean():
    row = {"direction": "left->right", "measure": "hit@1", "split": "test", "value": 0.5}
    assert summarise([[row], [{**row, "leaky": True}]])[0]["leaky"]
    assert "leaky" not in summarise([[row], [row]])[0]
