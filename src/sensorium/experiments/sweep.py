"""Sweeps: search recipe keys on validation, resumable after a kill, with differences and not just means."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe, nearest
from sensorium.evaluate import compare, parse
from sensorium.experiments import search_space as spaces
from sensorium.experiments.search_space import Range, Space
from sensorium.experiments.study import Study
from sensorium.experiments.trials import Outcome, Runner, Try, run_here, run_parallel
from sensorium.search.folder import RunFolder

# A trial is evaluated on validation only; what else a run makes would be made for nothing.
LIGHT = (
    "evaluate.baselines=[]",
    "evaluate.plots=false",
    "evaluate.correction=none",
    "evaluate.calibrate=false",
    "evaluate.leaks=off",
)
_SAMPLERS, _PRUNERS = ("random", "tpe"), ("median", "none")


def sweep(
    recipe: str | Path | Mapping[str, Any],
    space: Sequence[str],
    *,
    trials: int = 20,
    sampler: str = "tpe",
    pruner: str = "median",
    workers: int = 1,
    out: str | Path | None = None,
    seed: int = 0,
    measure: str = "MRR",
    quiet: bool = False,
    runner: Runner | None = None,
) -> list[dict[str, Any]]:
    """Try settings of a recipe and rank them by a measure on the validation split; returns the leaderboard.

    space: ``KEY=LOW..HIGH``, ``KEY=LOW..HIGH:log``, ``KEY=A|B|C`` vary, ``KEY=VALUE`` is fixed.
    trials: in all; a folder that holds some of this sweep goes on where it stopped, and a trial
    that was killed continues from its checkpoint. sampler: "random" or "tpe". pruner: "median"
    stops a trial whose monitored measure falls below the median of the others at that epoch.
    workers: processes that try at the same time. out: by default ``runs/<recipe>-sweep``; it stores
    ``study.db`` (Optuna, SQLite), ``trials/``, ``leaderboard.json`` and ``best.toml``, the winning
    recipe, ready for ``sensorium run``. No number of the test split is read or shown. runner: runs the trials in
    place of these processes, such as on a cluster.

    Raises BadRecipe for what is invalid, Busy when the folder is in use.
    """
    if parse(measure).name in ("median_rank", "mean_rank"):
        raise BadRecipe(f"a sweep looks for the highest value, and a low {measure} is good; choose MRR or hit@10")
    varied, fixed = spaces.parse(space)
    fixed = [f"seed={seed}", *fixed]
    plan = _check(recipe, varied, fixed)
    out = folder_of(recipe, out)
    stores = RunFolder(out).stores  # those of the runs beside the sweep
    if workers > 1 or runner is not None:  # workers would wait for each other to embed the same items
        from sensorium import pipeline

        pipeline.embed_only(recipe, fixed, out, quiet)
    attempt = TryRecipe(recipe, (*LIGHT, *fixed), measure, stores)
    settings = {"recipe": plan.values, "measure": measure, "fixed": sorted(fixed)}
    rows = search(attempt, varied, out, settings, trials, sampler, pruner, workers, seed, quiet, runner)
    best = recipes.load(recipe, [*fixed, *spaces.overrides({key: rows[0][key] for key in varied})])
    io.write(out / "best.toml", f"# sensorium run {out / 'best.toml'}\n" + best.toml())
    return rows


def folder_of(recipe: str | Path | Mapping[str, Any], out: str | Path | None = None) -> Path:
    """The folder of a recipe's sweep: ``out``, or that named after the recipe."""
    return Path(out) if out is not None else Path("runs") / f"{recipes.load(recipe).name}-sweep"


@dataclass(frozen=True)
class TryRecipe:
    """Runs a recipe with a trial's overrides; its value is the measure over all validation queries."""

    recipe: str | Path | Mapping[str, Any]
    fixed: tuple[str, ...]
    measure: str
    stores: Path

    def __call__(self, overrides: Sequence[str], folder: Path, report: Callable[[int, float], None]) -> float:
        """Run, unless the folder already holds this very run, and read its value."""
        from sensorium import pipeline

        plan = recipes.load(self.recipe, [*self.fixed, *overrides])
        if not RunFolder(folder).is_run_of(plan):
            sign = -1.0 if plan.values["train"]["monitor"] == "median_rank" else 1.0

            def on_epoch(event: Mapping[str, Any]) -> None:
                if (value := event.get("validation")) is not None:
                    report(int(event["epoch"]), sign * float(value))

            pipeline.run(self.recipe, [*self.fixed, *overrides], out=folder, quiet=True, on_epoch=on_epoch,
                         stages=("evaluate",), stores=self.stores)  # fmt: skip
        return float(validation(folder, self.measure)[0].mean())


def search(
    attempt: Try,
    space: Space,
    out: Path,
    settings: Mapping[str, Any],
    trials: int = 20,
    sampler: str = "tpe",
    pruner: str = "median",
    workers: int = 1,
    seed: int = 0,
    quiet: bool = True,
    runner: Runner | None = None,
) -> list[dict[str, Any]]:
    """The sweep itself, for anything that can be tried; see :func:`sweep`.

    settings: plain values that say what is being searched; a folder made with others is refused.
    Workers import ``attempt``, so it must be a module's function or a picklable object.
    """
    for key, value, words in (("sampler", sampler, _SAMPLERS), ("pruner", pruner, _PRUNERS)):
        if value not in words:
            raise BadRecipe(f"--{key} {value}; {nearest(value, words)}")
    if trials < 1 or workers < 1:
        raise BadRecipe(f"--trials {trials} --workers {workers}; expected whole numbers above 0")
    with io.lock(out, wait=False):
        study = Study(
            out, space, {**settings, "space": {key: str(v) for key, v in space.items()}}, sampler, pruner, seed
        )
        jobs = functools.partial(study.next, trials)
        run = runner or (functools.partial(run_parallel, workers=workers) if workers > 1 else run_here)
        for number, outcome in run(attempt, jobs, study.should_prune):
            study.finish(number, outcome)
            if not quiet:
                _say(study, number, outcome)
        rows = leaderboard(study, settings.get("measure", ""))
        io.write_json(out / "leaderboard.json", rows)
    if not any(row["state"] == "complete" for row in rows):
        reasons = [f"; the first failed: {row['error']}" for row in rows if "error" in row]
        raise BadRecipe(f"none of {len(rows)} trials was completed{''.join(reasons[:1])}")
    return rows


def leaderboard(study: Study, measure: str = "") -> list[dict[str, Any]]:
    """Every trial, best first: its value, its paired difference to the best with interval and p-value, its keys.

    The best was chosen by looking, so its lead is flattering, and p-values are not corrected for
    the number of trials: an interval that holds zero means that the trial is as good as the best,
    one that does not is only a hint. Trials that keep no ranks have no difference.
    """
    done = sorted((t for t in study.drawn() if t.state.name == "COMPLETE"), key=lambda t: -t.value)
    best = validation(study.folder(done[0].params), measure) if done else None
    rows = []
    for rank, trial in enumerate(done, 1):
        own = validation(study.folder(trial.params), measure)
        found = None if best is None or own is None else compare.paired(best[0], own[0], best[1])
        rows.append(_row(study, trial, "complete", rank, found))
    for trial in study.drawn():
        if trial.state.name in ("PRUNED", "FAIL"):
            rows.append(_row(study, trial, "pruned" if trial.state.name == "PRUNED" else "failed"))
    return rows


def _row(
    study: Study, trial: Any, state: str, rank: int | None = None, found: compare.Comparison | None = None
) -> dict[str, Any]:
    row = {"rank": rank, "trial": trial.number, "state": state, "value": trial.value if state == "complete" else None}
    for name in ("difference", "low", "high", "p"):
        row[name] = None if found is None else getattr(found, name)
    error = {"error": trial.user_attrs["error"]} if "error" in trial.user_attrs else {}
    return {**row, **trial.params, **error, "folder": str(study.folder(trial.params)) if rank else None}


def validation(folder: Path, measure: str) -> tuple[np.ndarray, np.ndarray] | None:
    """A run's measure of every validation query, of both directions, with their groups; None without ranks."""
    if not (folder / compare.FILE).is_file():
        return None
    stored = compare.load(folder / compare.FILE)
    rankings = [stored[key] for key in sorted(stored) if key[0] == "validation"]
    return np.concatenate([r.values(measure) for r in rankings]), np.concatenate([r.groups() for r in rankings])


def _check(recipe: str | Path | Mapping[str, Any], space: Space, fixed: Sequence[str]) -> recipes.Recipe:
    """Refuse unknown keys before the first trial; returns the recipe without what varies."""
    if not space:
        raise BadRecipe("nothing varies; give a range or choices, such as train.lr=1e-4..1e-2:log")
    first = {key: v.low if isinstance(v, Range) else v.values[0] for key, v in space.items()}
    recipes.load(recipe, [*LIGHT, *fixed, *spaces.overrides(first)])
    return recipes.load(recipe, fixed)


def _say(study: Study, number: int, outcome: Outcome) -> None:
    from rich.console import Console

    ended = "pruned" if outcome.value is None else f"{outcome.value:.4f}"
    line = f"trial {number:>4}  {outcome.error or ended}  {' '.join(spaces.overrides(study.params(number)))}"
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(line)
