"""A process that fits members of a run beside the one that started it, whose end is its own.

Started by :mod:`sensorium.fitting.beside`: jobs come on standard input, pickled by that process alone; the heads are
left in the members' folders, and a line of JSON for each job on standard output says that they are.
"""

from __future__ import annotations

import _thread
import json
import os
import pickle
import queue
import sys
import threading
import time
from typing import Any, BinaryIO

import numpy as np
import torch

from sensorium.errors import SensoriumError
from sensorium.fitting.beside import SIZE
from sensorium.fitting.budget import Budget
from sensorium.fitting.several import Fits, Log
from sensorium.types import Embeddings


def main() -> None:
    """Fit what comes until standard input ends, with the number of threads of the first argument."""
    torch.set_num_threads(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a part prints is no answer
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, jobs), daemon=True).start()
    while True:
        try:
            given = jobs.get()
        except KeyboardInterrupt:  # told to end what had ended
            continue
        try:
            answer = {"done": False} if given.get("stopped") else fitted(given)
        except KeyboardInterrupt:
            answer = {"done": False}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def fitted(given: dict[str, Any]) -> dict[str, Any]:
    """Fit one job; what to answer."""
    job = given["job"]
    left, right = (
        Embeddings(ids, np.load(path, mmap_mode="r", allow_pickle=False), {}) for path, ids in given["tables"]
    )
    right = left if given["tied"] else right
    budget = None if given["ends"] is None else Budget(max(given["ends"] - time.time(), 1e-3))
    fits = Fits(left, right, given["pairs"], given["folder"], Log(None, job.options, job.seed, None, False), 1)
    try:
        fits.one(job.k, job.both, job.names, job.objective, job.options, job.seed, job.called, budget)
    except SensoriumError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except Exception as error:
        import traceback

        return {"error": "", "message": f"{error}\n{traceback.format_exc()}"}
    return {"done": True}


def _read(messages: BinaryIO, jobs: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Jobs into the queue; None interrupts the last, as Ctrl-C does; the end of the input ends the process."""
    last: dict[str, Any] = {}
    while True:
        head = messages.read(SIZE)
        data = messages.read(int.from_bytes(head, "little")) if len(head) == SIZE else b""
        if not data:
            os._exit(0)
        try:
            given = pickle.loads(data)
        except Exception:  # a part that this process cannot import: the one that started it goes on alone
            os._exit(1)
        if given is None:
            last["stopped"] = True
            _thread.interrupt_main()
        else:
            last = given
            jobs.put(given)


if __name__ == "__main__":
    main()
