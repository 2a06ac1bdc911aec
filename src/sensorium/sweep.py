"""Sweeps: search recipe keys on validation, resumable after a kill, with differences and not just means."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from sensorium import io
from sensorium import recipe as recipes
from sensorium import space as spaces
from sensorium import trials as running
from sensorium.errors import BadRecipe, MissingExtra, nearest
from sensorium.evaluate import compare, parse
from sensorium.space import Range, Space
from sensorium.trials import Job, Outcome, Try

if TYPE_CHECKING:
    import optuna

# A trial is judged on validation only; what else a run makes would be made for nothing.
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
) -> list[dict[str, Any]]:
    """Try settings of a recipe and rank them by a measure on the validation split; returns the leaderboard.

    space: ``KEY=LOW..HIGH``, ``KEY=LOW..HIGH:log``, ``KEY=A|B|C`` vary, ``KEY=VALUE`` is fixed.
    trials: in all; a folder that holds some of this sweep goes on where it stopped, and a trial
    that was killed continues from its checkpoint. sampler: "random" or "tpe". pruner: "median"
    stops a trial whose monitored measure falls below the median of the others at that epoch.
    workers: processes that try at the same time. out: by default ``runs/<recipe>-sweep``; it keeps
    ``study.db`` (Optuna, SQLite), ``trials/``, ``leaderboard.json`` and ``best.toml``, the winning
    recipe, ready for ``sensorium run``. No number of the test split is read or shown.

    Raises BadRecipe for what cannot be meant, Busy when the folder is in use.
    """
    if parse(measure).name in ("median_rank", "mean_rank"):
        raise BadRecipe(f"a sweep looks for the highest value, and a low {measure} is good; choose MRR or hit@10")
    varied, fixed = spaces.parse(space)
    fixed = [f"seed={seed}", *fixed]
    plan = _check(recipe, varied, fixed)
    out = Path(out) if out is not None else Path("runs") / f"{plan.name}-sweep"
    stores = out.parent / "embeddings"  # those of the runs beside the sweep
    if workers > 1:  # workers would wait for each other to embed the same items
        from sensorium import pipeline

        pipeline.embed_only(recipe, fixed, out, quiet)
    attempt = TryRecipe(recipe, (*LIGHT, *fixed), measure, stores)
    told = {"recipe": plan.values, "measure": measure, "fixed": sorted(fixed)}
    rows = search(attempt, varied, out, told, trials, sampler, pruner, workers, seed, quiet)
    best = recipes.load(recipe, [*fixed, *spaces.overrides(rows[0]["values"])])
    io.write(out / "best.toml", f"# sensorium run {out / 'best.toml'}\n" + best.toml())
    return rows


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
        if not pipeline.is_run_of(folder, plan):
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
    told: Mapping[str, Any],
    trials: int = 20,
    sampler: str = "tpe",
    pruner: str = "median",
    workers: int = 1,
    seed: int = 0,
    quiet: bool = True,
) -> list[dict[str, Any]]:
    """The sweep itself, for anything that can be tried; see :func:`sweep`.

    told: plain values that say what is being searched; a folder made with others is refused.
    Workers import ``attempt``, so it must be a module's function or a picklable object.
    """
    for key, value, words in (("sampler", sampler, _SAMPLERS), ("pruner", pruner, _PRUNERS)):
        if value not in words:
            raise BadRecipe(f"--{key} {value}; {nearest(value, words)}")
    if trials < 1 or workers < 1:
        raise BadRecipe(f"--trials {trials} --workers {workers}; expected whole numbers above 0")
    with io.lock(out, wait=False):
        study = Study(out, space, {**told, "space": {key: str(v) for key, v in space.items()}}, sampler, pruner, seed)
        say = _silence if quiet else _say
        run = running.run_here if workers == 1 else _parallel(workers)
        for key, outcome in run(attempt, lambda: study.next(trials), study.should_prune):
            study.finish(key, outcome)
            say(study, key, outcome)
        rows = leaderboard(study, told.get("measure", ""))
        io.write_json(out / "leaderboard.json", rows)
    if not any(row["state"] == "complete" for row in rows):
        reasons = [f"; the first failed: {row['error']}" for row in rows if row["error"]]
        raise BadRecipe(f"none of {len(rows)} trials was completed{''.join(reasons[:1])}")
    return rows


class Study:
    """An Optuna study in ``out/study.db`` that outlives kills; one process writes it.

    Draw k depends on the seed, k and the results so far, not on how often the sweep was killed.
    """

    def __init__(self, out: Path, space: Space, told: Mapping[str, Any], sampler: str, pruner: str, seed: int) -> None:
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise MissingExtra("optuna", "train") from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna, self.out, self.sampler, self.seed = optuna, out, sampler, seed
        self.distributions = {key: _distribution(optuna, varied) for key, varied in space.items()}
        self.study = optuna.create_study(
            study_name="sweep", direction="maximize", load_if_exists=True,
            storage=f"sqlite:///{(out / 'study.db').resolve()}",
            pruner=optuna.pruners.MedianPruner() if pruner == "median" else optuna.pruners.NopPruner(),
        )  # fmt: skip
        self._claim(json.loads(json.dumps(told, default=io.plain)))
        self._recover()
        self.open: dict[int, optuna.trial.Trial] = {}

    def _claim(self, told: Mapping[str, Any]) -> None:
        earlier = self.study.user_attrs.get("told")
        if earlier is None:
            self.study.set_user_attr("told", dict(told))
        elif earlier != told:
            differs = ", ".join(sorted(k for k in {*earlier, *told} if earlier.get(k) != told.get(k)))
            raise BadRecipe(f"{self.out} holds another sweep (its {differs} differs); choose another folder with --out")

    def _recover(self) -> None:
        """Enqueue again, with the same values, what was running when the sweep was killed."""
        continued = self._interrupted()
        for trial in self.study.get_trials(states=[self.optuna.trial.TrialState.RUNNING]):
            if trial.number not in continued and set(trial.params) == set(self.distributions):
                self.study.enqueue_trial(trial.params, user_attrs={"continues": trial.number})
            self.study.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)

    def _interrupted(self) -> set[int]:
        every = self.study.get_trials(deepcopy=False)
        return {t.user_attrs["continues"] for t in every if "continues" in t.user_attrs}

    def drawn(self) -> list[optuna.trial.FrozenTrial]:
        """Every trial that was begun, in order, but those that a kill cut off: they have been begun again."""
        interrupted = self._interrupted()
        every = self.study.get_trials(deepcopy=False)
        return [t for t in every if t.number not in interrupted and set(t.params) == set(self.distributions)]

    def next(self, trials: int) -> Job | None:
        """Draw the next trial; None when ``trials`` are done or running."""
        drawn = len(self.drawn())
        if drawn >= trials:
            return None
        self.study.sampler = self._sampler(drawn)
        trial = self.study.ask(self.distributions)
        self.open[trial.number] = trial
        overrides = spaces.overrides(trial.params)
        return Job(trial.number, overrides, self.folder(trial.params))

    def folder(self, params: Mapping[str, Any]) -> Path:
        """A trial's folder, named by what it tries: equal values are one run, and a killed one is found again."""
        return self.out / "trials" / xxhash.xxh3_64_hexdigest("\n".join(spaces.overrides(params)).encode())[:12]

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Note a trial's measure after an epoch; whether to stop it."""
        self.open[number].report(value, step)
        return self.open[number].should_prune()

    def finish(self, number: int, outcome: Outcome) -> None:
        """Note how a trial ended; what was built without an end is cleared away."""
        states = self.optuna.trial.TrialState
        trial = self.open.pop(number)
        if outcome.value is not None:
            self.study.tell(number, outcome.value)
            return
        if outcome.error is not None:
            trial.set_user_attr("error", outcome.error)
        self.study.tell(number, state=states.PRUNED if outcome.error is None else states.FAIL)
        folder = self.folder(trial.params)
        shutil.rmtree(folder.with_name(f".{folder.name}.building"), ignore_errors=True)

    def _sampler(self, drawn: int) -> Any:
        seed = int(np.random.SeedSequence([self.seed, drawn]).generate_state(1)[0])
        if self.sampler == "random":
            return self.optuna.samplers.RandomSampler(seed)
        return self.optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(10, 4 + 2 * len(self.distributions)))


def leaderboard(study: Study, measure: str = "") -> list[dict[str, Any]]:
    """Every trial, best first: its value, and its paired difference to the best with interval and p-value.

    The best was chosen by looking, so its lead is flattering, and p-values are not corrected for
    the number of trials: an interval that holds zero means that the trial is as good as the best,
    one that does not is only a hint. Trials that keep no ranks have no difference.
    """
    done = sorted((t for t in study.drawn() if t.state.name == "COMPLETE"), key=lambda t: -t.value)
    best = validation(study.folder(done[0].params), measure) if done else None
    rows = []
    for rank, trial in enumerate(done, 1):
        row = {"rank": rank, "trial": trial.number, "state": "complete", "value": trial.value}
        own = validation(study.folder(trial.params), measure)
        if best is not None and own is not None:
            found = compare.paired(best[0], own[0], best[1])
            row |= {"difference": found.difference, "low": found.low, "high": found.high, "p": found.p}
        rows.append({**row, "values": dict(trial.params), "folder": str(study.folder(trial.params))})
    for trial in study.drawn():
        if trial.state.name in ("PRUNED", "FAIL"):
            row = {"rank": None, "trial": trial.number, "state": "pruned" if trial.state.name == "PRUNED" else "failed"}
            rows.append({**row, "error": trial.user_attrs.get("error"), "values": dict(trial.params)})
    return rows


def validation(folder: Path, measure: str) -> tuple[np.ndarray, np.ndarray] | None:
    """A run's measure of every validation query, of both directions, with their groups; None without ranks."""
    if not (folder / compare.FILE).is_file():
        return None
    kept = compare.load(folder / compare.FILE)
    judged = [kept[key] for key in sorted(kept) if key[0] == "validation"]
    return np.concatenate([r.values(measure) for r in judged]), np.concatenate([r.groups() for r in judged])


def _check(recipe: str | Path | Mapping[str, Any], space: Space, fixed: Sequence[str]) -> recipes.Recipe:
    """Refuse unknown keys before the first trial; returns the recipe without what varies."""
    if not space:
        raise BadRecipe("nothing varies; give a range or choices, such as train.lr=1e-4..1e-2:log")
    first = {key: v.low if isinstance(v, Range) else v.values[0] for key, v in space.items()}
    recipes.load(recipe, [*LIGHT, *fixed, *spaces.overrides(first)])
    return recipes.load(recipe, fixed)


def _distribution(optuna: Any, varied: Any) -> Any:
    if not isinstance(varied, Range):
        return optuna.distributions.CategoricalDistribution(varied.values)
    whole = isinstance(varied.low, int)
    kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
    return kind(varied.low, varied.high, log=varied.log)


def _parallel(workers: int) -> Callable[..., Any]:
    return lambda attempt, jobs, should_prune: running.run_parallel(attempt, jobs, should_prune, workers)


def _silence(study: Study, number: int, outcome: Outcome) -> None:
    """Say nothing."""


def _say(study: Study, number: int, outcome: Outcome) -> None:
    from rich.console import Console

    ended = "pruned" if outcome.value is None else f"{outcome.value:.4f}"
    params = study.study.get_trials(deepcopy=False)[number].params
    told = f"trial {number:>4}  {outcome.error or ended}  {' '.join(spaces.overrides(params))}"
    Console(stderr=True, highlight=False, markup=False).print(told)
