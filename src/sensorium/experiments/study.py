"""A sweep's memory: an Optuna study in one SQLite file, written by one process, equal for any number of kills."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from sensorium import io
from sensorium.errors import BadRecipe, require
from sensorium.experiments import search_space as spaces
from sensorium.experiments.search_space import Range, Space
from sensorium.experiments.trials import Job, Outcome
from sensorium.search.folder import RunFolder

if TYPE_CHECKING:
    import optuna


class Study:
    """An Optuna study in ``out/study.db`` that outlives kills; one process writes it.

    Draw k depends on the seed, k and the results so far, not on how often the sweep was killed.
    """

    def __init__(
        self, out: Path, space: Space, settings: Mapping[str, Any], sampler: str, pruner: str, seed: int
    ) -> None:
        optuna = require("optuna", "train")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna, self.out, self.sampler, self.seed = optuna, out, sampler, seed
        self.distributions = {key: _distribution(optuna, varied) for key, varied in space.items()}
        self.study = optuna.create_study(
            study_name="sweep", direction="maximize", load_if_exists=True,
            storage=optuna.storages.RDBStorage("sqlite:///study.db", {"creator": lambda: _connect(out / "study.db")}),
            pruner=optuna.pruners.MedianPruner() if pruner == "median" else optuna.pruners.NopPruner(),
        )  # fmt: skip
        self._claim(json.loads(json.dumps(settings, default=io.plain)))
        self._recover()
        self.open: dict[int, tuple[optuna.trial.Trial, Path]] = {}

    def _claim(self, settings: Mapping[str, Any]) -> None:
        earlier = self.study.user_attrs.get("told")
        if earlier is None:
            self.study.set_user_attr("told", dict(settings))
        elif earlier != settings:
            differs = ", ".join(sorted(k for k in {*earlier, *settings} if earlier.get(k) != settings.get(k)))
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

    def params(self, number: int) -> dict[str, Any]:
        """What a trial tries."""
        return self.study.get_trials(deepcopy=False)[number].params

    def next(self, trials: int) -> Job | None:
        """Draw the next trial; None when ``trials`` are done or running."""
        drawn = len(self.drawn())
        if drawn >= trials:
            return None
        self.study.sampler = self._sampler(drawn)
        trial = self.study.ask(self.distributions)
        folder = self.folder(trial.params)
        if any(folder == other for _, other in self.open.values()):  # a worker tries the very same just now
            folder = folder.with_name(f"{folder.name}-{trial.number}")
        self.open[trial.number] = trial, folder
        return Job(trial.number, spaces.overrides(trial.params), folder)

    def folder(self, params: Mapping[str, Any]) -> Path:
        """A trial's folder, named by what it tries: equal values are one run, and a killed one is found again."""
        return self.out / "trials" / xxhash.xxh3_64_hexdigest("\n".join(spaces.overrides(params)).encode())[:12]

    def should_prune(self, number: int, step: int, value: float) -> bool:
        """Note a trial's measure after an epoch; whether to stop it."""
        trial, _ = self.open[number]
        trial.report(value, step)
        return trial.should_prune()

    def finish(self, number: int, outcome: Outcome) -> None:
        """Note how a trial ended; what was built without an end is cleared away."""
        states = self.optuna.trial.TrialState
        trial, folder = self.open.pop(number)
        if outcome.value is not None:
            self.study.tell(number, outcome.value)
            return
        if outcome.error is not None:
            trial.set_user_attr("error", outcome.error)
        self.study.tell(number, state=states.PRUNED if outcome.error is None else states.FAIL)
        shutil.rmtree(RunFolder(folder).building, ignore_errors=True)

    def _sampler(self, drawn: int) -> Any:
        seed = int(np.random.SeedSequence([self.seed, drawn]).generate_state(1)[0])
        if self.sampler == "random":
            return self.optuna.samplers.RandomSampler(seed)
        return self.optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(10, 4 + 2 * len(self.distributions)))


def _distribution(optuna: Any, varied: Any) -> Any:
    if not isinstance(varied, Range):
        return optuna.distributions.CategoricalDistribution(varied.values)
    whole = isinstance(varied.low, int)
    kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
    return kind(varied.low, varied.high, log=varied.log)


def _connect(path: Path) -> sqlite3.Connection:
    """A connection whose commits survive a kill without waiting for the disk (write-ahead log).

    A power cut may take the last trials' notes, never the file; their run folders are then found again.
    """
    connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection
