"""Trials of a sweep on Ray: each in an actor; only the caller talks to Optuna's storage, as without Ray."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from sensorium.errors import SensoriumError
from sensorium.experiments.trials import Job, Outcome, Pruned, Runner, ShouldPrune, Try, attempted
from sensorium.scale.cluster import Where, connected

ASK = 0.05  # seconds between two looks at what the trials report


@contextlib.contextmanager
def trying(where: str, workers: int) -> Iterator[Runner]:
    """What runs trials on Ray within the block. where: as typed after ``--on``. workers: trials at a time."""
    with connected(Where.of(where), workers) as ray:
        yield functools.partial(run_on_ray, ray=ray, workers=workers)


def run_on_ray(
    attempt: Try, jobs: Callable[[], Job | None], should_prune: ShouldPrune, ray: Any, workers: int
) -> Iterator[tuple[Any, Outcome]]:
    """As ``experiments.trials.run_parallel``, in ``workers`` actors, on any machine that sees the sweep's folder.

    A trial whose actor dies is tried again by another one, from its checkpoint.
    """
    import ray.cloudpickle as pickle

    desk = ray.remote(_Desk).options(num_cpus=0).remote()
    # A processor each; the rest of a machine's are for the libraries' threads.
    actor = ray.remote(_Actor).options(num_cpus=1, max_restarts=-1, max_task_retries=-1)
    path = [os.path.abspath(one) for one in sys.path]
    idle = [actor.remote(pickle.dumps(attempt), desk, path) for _ in range(workers)]
    everyone, running = list(idle), {}
    try:
        while True:
            while idle and (job := jobs()) is not None:
                one = idle.pop()
                here = Job(job.key, job.overrides, job.folder.absolute())
                running[one.run.remote(here)] = one, job
            if not running:
                return
            ended, _ = ray.wait(list(running), num_returns=1, timeout=ASK)
            for number, key, step, value in ray.get(desk.asked.remote()):
                desk.answer.remote(number, bool(should_prune(key, step, value)))
            for task in ended:
                one, job = running.pop(task)
                idle.append(one)
                yield job.key, _outcome(job, ray.get(task))
    finally:
        for one in [*everyone, desk]:
            ray.kill(one)


def _outcome(job: Job, found: tuple[Outcome | None, str, bool]) -> Outcome:
    outcome, reason, bug = found
    if outcome is None:
        raise (RuntimeError if bug else SensoriumError)(f"trial {job.folder.name} failed: {reason}")
    return outcome


class _Desk:
    """Where trials report and the caller answers."""

    def __init__(self) -> None:
        self.questions: list[tuple[int, Any, int, float]] = []
        self.answers: dict[int, bool] = {}
        self.number = 0

    def ask(self, key: Any, step: int, value: float) -> int:
        """A trial's value at a step; returns the number of the question."""
        self.number += 1
        self.questions.append((self.number, key, step, value))
        return self.number

    def asked(self) -> list[tuple[int, Any, int, float]]:
        """The questions since the last call."""
        found, self.questions = self.questions, []
        return found

    def answer(self, number: int, prune: bool) -> None:
        """The caller's answer to a question."""
        self.answers[number] = prune

    def answered(self, number: int) -> bool | None:
        """The answer to a question; None before it is there."""
        return self.answers.pop(number, None)


class _Actor:
    """Runs one trial at a time."""

    def __init__(self, attempt: bytes, desk: Any, path: list[str]) -> None:
        import ray.cloudpickle as pickle

        sys.path += [one for one in path if one not in sys.path]
        self.attempt: Try = pickle.loads(attempt)
        self.desk = desk

    def run(self, job: Job) -> tuple[Outcome | None, str, bool]:
        """The outcome of a trial; or why it cannot be had, and whether that is a bug."""
        import ray

        def report(step: int, value: float) -> None:
            number = ray.get(self.desk.ask.remote(job.key, step, value))
            while (prune := ray.get(self.desk.answered.remote(number))) is None:
                time.sleep(ASK)
            if prune:
                raise Pruned

        try:
            return attempted(self.attempt, job, report), "", False
        except SensoriumError as error:
            return None, str(error), False
        except Exception:
            return None, traceback.format_exc(), True
