"""How torch uses threads and memory: whole blocks to single threads, freed memory stays in the process.

torch spreads every operation over its OpenMP threads and waits for the last of them. Where the
machine is busy with something else, that wait costs a time slice for each of the dozen small
operations of a tile: ten to thirty times the work itself. So whole blocks go to threads,
in each of which torch is set to one thread; NumPy's single-threaded steps run side by side too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

_starting = threading.Lock()


def each(call: Callable[[Any], Any], items: Iterable[Any], torch: Any) -> list[Any]:
    """``[call(item) for item in items]``, side by side; the first exception in that order is raised.

    ``call`` must not use :func:`each` itself: it would wait for the thread it runs in.
    """
    with _starting:
        pool, _ = _pool(torch)
    return list(pool.map(call, items))


def count(torch: Any) -> int:
    """How many threads there are."""
    with _starting:
        return _pool(torch)[1]


def started(threads: int, name: str, torch: Any) -> ThreadPoolExecutor:
    """So many threads of that name, in each of which torch works without its others; later threads have them."""
    number, ready = torch.get_num_threads(), threading.Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads, name, _alone, (torch,))
    for _ in range(threads):  # none can serve two, so all are started
        pool.submit(ready.wait)
    ready.wait()
    # The setting is per thread, but new threads start with the last value set anywhere.
    torch.set_num_threads(number)
    return pool


def _alone(torch: Any) -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # a thread takes over the number last set anywhere at its first read: now, not later


def keep_freed_memory() -> None:
    """Stop the C library from returning freed memory to the system, as the next step allocates it again.

    glibc raises its thresholds for returning memory to the size of the largest block that was freed, up to
    32 MB; without this a training step, or the features of a few recordings, spend a tenth of their
    time on page faults.
    """
    import torch

    block = torch.empty((32 << 20) - (1 << 16), dtype=torch.uint8)
    del block


@lru_cache(maxsize=1)
def _pool(torch: Any) -> tuple[ThreadPoolExecutor, int]:
    threads = torch.get_num_threads()
    return started(threads, "sensorium-worker", torch), threads


os.register_at_fork(after_in_child=_pool.cache_clear)
