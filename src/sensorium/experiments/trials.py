"""Trials of a sweep, one after another or in several processes; only the caller talks to the study.

A worker is a spawned process that runs one trial at a time and sends what happens through a pipe.
The study has one writer, so its draws are the same for any number of kills, and no lock is needed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from sensorium.errors import BadData, BadRecipe, Mismatch, SensoriumError


class Pruned(Exception):
    """Raised by ``report`` inside a trial that is not worth finishing."""


class Try(Protocol):
    """Anything that can be tried."""

    def __call__(self, overrides: Sequence[str], folder: Path, report: Callable[[int, float], None]) -> float:
        """Run one trial in its folder; returns its value, higher is better. ``report(step, value)`` may prune it."""


@dataclass(frozen=True)
class Job:
    """One trial to run. key: what the caller knows it by."""

    key: Any
    overrides: list[str]
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: with a value, pruned (neither), or with an error that the caller can correct."""

    value: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class _Stop:
    """Why a worker cannot go on: what a caller can correct, such as a full disk, or a bug's traceback."""

    reason: str
    bug: bool


ShouldPrune = Callable[[Any, int, float], bool]


class Runner(Protocol):
    """Runs trials: see :func:`run_here`."""

    def __call__(
        self, attempt: Try, jobs: Callable[[], Job | None], should_prune: ShouldPrune
    ) -> Iterator[tuple[Any, Outcome]]:
        """Run jobs until ``jobs()`` gives None and none is running; yields each key with its outcome."""


def run_here(attempt: Try, jobs: Callable[[], Job | None], should_prune: ShouldPrune) -> Iterator[tuple[Any, Outcome]]:
    """Run jobs in this process until ``jobs()`` gives None; yields each key with its outcome."""
    while (job := jobs()) is not None:

        def report(step: int, value: float, key: Any = job.key) -> None:
            if should_prune(key, step, value):
                raise Pruned

        yield job.key, attempted(attempt, job, report)


def run_parallel(
    attempt: Try, jobs: Callable[[], Job | None], should_prune: ShouldPrune, workers: int
) -> Iterator[tuple[Any, Outcome]]:
    """The same in ``workers`` processes; ``attempt`` must be importable from them.

    ``jobs()`` may give None while trials run and a job later. Raises SensoriumError when a trial
    meets what would stop the others too (a full disk), RuntimeError with the worker's traceback
    when it hits a bug, or when a worker dies.
    """
    with _pool(attempt, workers) as idle:
        busy: dict[Connection, Job] = {}
        while True:
            while idle and (job := jobs()) is not None:
                busy[connection := idle.pop()] = job
                connection.send(job)
            if not busy:
                return
            for connection in wait(list(busy)):
                job = busy[connection]
                try:
                    message = connection.recv()
                except EOFError:
                    raise RuntimeError(f"the worker of trial {job.folder.name} died; sweep again to resume") from None
                if isinstance(message, Outcome):
                    idle.append(connection)
                    del busy[connection]
                    yield job.key, message
                elif isinstance(message, _Stop):
                    kind = RuntimeError if message.bug else SensoriumError
                    raise kind(f"trial {job.folder.name} failed: {message.reason}")
                else:
                    connection.send(should_prune(job.key, *message))


@contextlib.contextmanager
def _pool(attempt: Try, workers: int) -> Iterator[list[Connection]]:
    """Start the workers, each with its share of the cores; stop them in the end, whatever happened."""
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks of torch
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = str(max(1, cores // workers))
    processes, connections = [], []
    with _environment(OMP_NUM_THREADS=share, OPENBLAS_NUM_THREADS=share, OMP_WAIT_POLICY="PASSIVE"):
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_worker, args=(attempt, theirs), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            connections.append(ours)
    try:
        yield list(connections)
    finally:
        for connection in connections:
            connection.close()  # an idle worker ends here, a busy one at its next report
        for process in processes:
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
                process.join()


def _worker(attempt: Try, connection: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def report(step: int, value: float) -> None:
        connection.send((step, value))
        if connection.recv():
            raise Pruned

    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        while True:
            job = connection.recv()
            try:
                outcome = attempted(attempt, job, report)
            except (EOFError, BrokenPipeError):
                raise
            except Exception as error:
                bug = not isinstance(error, SensoriumError)
                connection.send(_Stop(traceback.format_exc() if bug else str(error), bug))
                return
            connection.send(outcome)


def attempted(attempt: Try, job: Job, report: Callable[[int, float], None]) -> Outcome:
    """How a trial ends. Raises what would end the next one too, such as a full disk, and what is a bug."""
    try:
        return Outcome(value=float(attempt(job.overrides, job.folder, report)))
    except Pruned:
        return Outcome()
    except (BadData, BadRecipe, Mismatch) as error:  # of these settings; a full disk would stop the next trial too
        return Outcome(error=str(error))


def _end_with_parent() -> None:
    """A killed sweep must not leave workers that go on writing."""
    multiprocessing.parent_process().join()
    os._exit(1)


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
