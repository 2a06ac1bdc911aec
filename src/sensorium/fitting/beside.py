"""Fits in processes beside this one, each on its share of the processor's cores. Start reading at :meth:`Beside.fit`.

A step of a head is many small products, which two threads compute 1.3 times as fast as one; two fits at a time on one
thread each are twice as fast. On a machine that does other work the threads of one fit wait for each other, and two
fits do not.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensorium import errors
from sensorium.fitting.budget import Budget
from sensorium.fitting.closed_form import training_pairs
from sensorium.fitting.environment import choose_device, memory_budget, threads
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.options import TrainOptions
from sensorium.pairs import Pairs
from sensorium.progress import say
from sensorium.types import Embeddings, blocks

if TYPE_CHECKING:
    from sensorium.fitting.several import Fits

WORK = 100_000_000  # numbers that a fit reads, from which another process pays: it takes two seconds to start
MOST = 4  # fits at a time
_SHARE = 0.25  # of the memory that a side's vectors may take, up to which they are copied for other processes
_BLOCK = 4096
SIZE = 8  # bytes, little-endian, before each message: its length
_PATIENCE = 20.0  # seconds that a process has to end its fit once it is told to


@dataclass(frozen=True)
class Job:
    """One fit, with the arguments of :meth:`sensorium.fitting.several.Fits.one`; tables: what the heads take."""

    k: int
    both: tuple[Any, Any]
    names: Mapping[str, str]
    objective: Any
    options: TrainOptions
    seed: int
    called: str
    budget: Budget | None
    tables: tuple[Embeddings, Embeddings]

    def on(self, fits: Fits) -> Fitted:
        """Fit it, or read it where it is fitted already."""
        left, right = self.tables
        return replace(fits, left=left, right=right).one(
            self.k, self.both, self.names, self.objective, self.options, self.seed, self.called, self.budget
        )


def at_a_time(left: Embeddings, right: Embeddings, pairs: Pairs, options: TrainOptions, fits: int) -> int:
    """How many of so many fits run at a time: 1 for small ones, on a GPU, or where train.threads is given.

    The answer depends on sizes, memory and the number of cores alone and is never timed.
    """
    n = len(training_pairs(pairs).where(label=1))
    numbers = float(options.steps * (options.batch or 1) if options.steps else options.epochs * n)
    numbers *= left.dim + right.dim
    tables = [left] if left is right else [left, right]
    plain = all(table.offsets is None for table in tables) and pairs.sets is None
    if not plain or options.threads or numbers < WORK or choose_device(options.device).type != "cpu":
        return 1
    if "RANK" in os.environ:  # one of several processes already
        return 1
    budget = memory_budget(torch.device("cpu"))
    if max(4 * len(table.vectors) * table.dim for table in tables) > _SHARE * budget:
        return 1
    return max(1, min(MOST, fits, torch.get_num_threads()))


class Beside:
    """Processes that fit members of one run, while this one fits another.

    They end with this process, however it ends. What they fit is left in the members' folders, where it is read.
    """

    def __init__(self, several: int) -> None:
        """Start processes for so many fits at a time, this one's among them, with as many threads each.

        They load what they need meanwhile.
        """
        self.threads = max(1, torch.get_num_threads() // several) if several > 1 else 0
        self._kept: tempfile.TemporaryDirectory[str] | None = None
        self._saved: dict[int, tuple[Any, Path]] = {}
        self._processes = [_Process(self.threads) for _ in range(several - 1)]
        self._busy: list[_Process] = []

    def __len__(self) -> int:
        """How many processes there are."""
        return len(self._processes)

    @property
    def folder(self) -> Path:
        """A folder that goes with the processes."""
        if self._kept is None:
            self._kept = tempfile.TemporaryDirectory(prefix="sensorium-fit-")
        return Path(self._kept.name)

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; those that still fit, as Ctrl-C came, save what they have."""
        for process in self._busy:
            with contextlib.suppress(OSError):
                process.send(None)
        until = time.monotonic() + _PATIENCE
        for process in self._busy:
            with contextlib.suppress(OSError, EOFError):
                process.answer(until - time.monotonic())
        for process in self._processes:
            process.kill()
        if self._kept is not None:
            self._kept.cleanup()

    def fit(self, fits: Fits, jobs: Sequence[Job]) -> list[Fitted | None]:
        """Fit the first job here and the others beside it; as many jobs as there are processes, and one, at most.

        None for a job whose process is gone, or that was told to end before it had anything. A fit whose time is over
        or was stopped ends with its best so far. Raises what a fit raises.
        """
        kept = replace(fits, folder=fits.folder or self.folder, progress=False)
        if fits.progress:
            say("fit", ", ".join(job.called or f"member {job.k + 1} of {fits.of}" for job in jobs))
        others = list(zip(list(self._processes), jobs[1:], strict=False))  # the last jobs may be fewer
        begun = [self._begin(process, job, kept) for process, job in others]
        with threads(self.threads):
            made: list[Fitted | None] = [jobs[0].on(kept)]
        ended = [process is not None and self._ends(process, job) for process, job in zip(begun, jobs[1:], strict=True)]
        return made + [job.on(kept) if done else None for job, done in zip(jobs[1:], ended, strict=True)]

    def _begin(self, process: _Process, job: Job, fits: Fits) -> _Process | None:
        """Have a process fit a job; None where the process is gone."""
        left = float("inf") if job.budget is None else job.budget.left()
        try:
            sent = {
                "job": replace(job, budget=None, tables=()),
                "tables": [(self._file(table), table.ids) for table in job.tables],
                "tied": job.tables[0] is job.tables[1],
                "pairs": fits.pairs,
                "folder": fits.folder,
                "ends": None if left == float("inf") else time.time() + left,
            }
            process.send(sent)
        except (OSError, pickle.PicklingError, AttributeError, TypeError):  # gone, a full disk, or a part of a notebook
            return self._lost(process)
        self._busy.append(process)
        return process

    def _ends(self, process: _Process, job: Job) -> bool:
        """Wait for a fit; whether its heads are there. Raises what it raised."""
        try:
            if job.budget is not None and job.budget.interrupted():
                process.send(None)
            answer = process.answer(_PATIENCE if job.budget is not None and job.budget.over() else None)
        except (OSError, EOFError):
            self._lost(process)
            return False
        self._busy.remove(process)
        if "error" in answer:
            raise getattr(errors, answer["error"], RuntimeError)(answer["message"])
        return answer["done"]

    def _lost(self, process: _Process) -> None:
        """Go on without a process."""
        process.kill()
        for of in (self._processes, self._busy):
            if process in of:
                of.remove(process)
        say("fit", "a process that fitted a member is gone; the fit goes on without it")

    def _file(self, table: Embeddings) -> Path:
        """A file of a table's vectors (n, d) float32, which processes map into memory; written once."""
        if id(table.vectors) not in self._saved:
            path = self.folder / f"{len(self._saved)}.npy"
            made = np.lib.format.open_memmap(path, "w+", np.float32, (len(table.vectors), table.dim))
            for part in blocks(len(made), _BLOCK):
                made[part] = table.vectors[part]
            made.flush()
            self._saved[id(table.vectors)] = table.vectors, path  # kept, so that no other object takes its place
        return self._saved[id(table.vectors)][1]


class _Process:
    """One process of :mod:`sensorium.fitting.beside_worker`, in a session of its own: Ctrl-C reaches this one alone."""

    def __init__(self, threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self._of = subprocess.Popen(
            [sys.executable, "-m", "sensorium.fitting.beside_worker", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True,
        )  # fmt: skip
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True, name="fit beside").start()

    def _read(self) -> None:
        """Answers as they come, so that waiting for one can have an end; an empty one when the process is gone."""
        assert self._of.stdout is not None
        with self._of.stdout as answers:
            for line in iter(answers.readline, b""):
                self._answers.put(line)
        self._answers.put(b"")

    def send(self, what: Mapping[str, Any] | None) -> None:
        """A job, or None: end what is being fitted with the best so far. Raises OSError where it is gone."""
        assert self._of.stdin is not None
        data = pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
        self._of.stdin.write(len(data).to_bytes(SIZE, "little") + data)
        self._of.stdin.flush()

    def answer(self, patience: float | None) -> dict[str, Any]:
        """Its answer to the last job. Raises EOFError where it is gone, or gives none within so many seconds."""
        try:
            line = self._answers.get(timeout=None if patience is None else max(patience, 0.0))
        except queue.Empty:
            raise EOFError from None
        if not line:
            raise EOFError
        return json.loads(line)

    def kill(self) -> None:
        """End it, now."""
        self._of.kill()
        self._of.wait()
        if self._of.stdin is not None:
            with contextlib.suppress(OSError):
                self._of.stdin.close()
