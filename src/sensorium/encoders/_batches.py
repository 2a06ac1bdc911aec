"""Batches of a network: their size by memory and speed, halved when memory runs out; inputs are read in the background.

The size of a batch affects speed alone: a vector is the same in any batch, up to rounding (1e-5 in float32).
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.numerics import device as devices

AHEAD = 2  # batches that are read while one is computed
GAIN = 1.05  # a batch of twice the size must be so much faster, or the size stays
_SHARE = 0.5  # of the free memory, for one batch


class BatchSize:
    """How many units (pictures, tokens, seconds) one batch should hold, on one device.

    It starts at ``start``, doubles as long as that makes the batches at least GAIN times as fast, and stays within
    ``most`` and the memory that was free at the beginning, of which a unit takes ``footprint`` bytes. After an
    out-of-memory error it is half of what failed, and never grows again.
    """

    def __init__(self, device: Any, start: int, most: int, footprint: int = 0) -> None:
        fits = int(_SHARE * devices.free_memory(device) / footprint) if footprint else most
        self.most = max(1, min(most, fits))
        self.now = max(1, min(start, self.most))
        self._best: tuple[float, int] = (0.0, self.now)  # units a second, size
        self._rates: list[float] = []
        self._settled = False

    def took(self, units: int, seconds: float) -> None:
        """One batch was computed; the faster one of two full batches counts, as the first one of a size warms up."""
        if self._settled or units * 2 <= self.now:  # a small batch says nothing
            return
        self._rates.append(units / max(seconds, 1e-9))
        if len(self._rates) < 2:
            return
        rate, self._rates = max(self._rates), []
        if rate >= GAIN * self._best[0]:
            self._best = rate, self.now
            self._settled = 2 * self.now > self.most
            self.now = self.now if self._settled else 2 * self.now
        else:
            self.now, self._settled = self._best[1], True

    def failed(self, units: int) -> None:
        """A batch of so many units did not fit into memory."""
        self.now = self.most = max(1, min(self.now, units) // 2)
        self._settled = True


def compute(
    batches: Iterator[Sequence[int]],
    read: Callable[[Sequence[int]], Any],
    forward: Callable[[Any], np.ndarray],
    size: BatchSize,
    device: Any,
    units: Callable[[Sequence[int]], int] = len,
) -> Iterator[tuple[Sequence[int], np.ndarray]]:
    """Rows of each batch and its vectors. read: rows to the network's input, in a thread; forward: that to vectors.

    Where the device's memory does not suffice, the batch is divided in halves and later ones are smaller.
    Raises BadData when it does not suffice for a single item, and whatever ``read`` raises.
    """
    for rows, inputs in _ahead(batches, read):
        begun = time.perf_counter()
        found = _attempt(forward, inputs)
        del inputs
        if found is not None:
            size.took(units(rows), time.perf_counter() - begun)
            yield rows, found
            continue
        devices.release(device)
        size.failed(units(rows))
        if len(rows) == 1:
            raise BadData(f"one item alone does not fit into the memory of the device {device}; type: device=cpu")
        middle = len(rows) // 2
        yield from compute(iter((rows[:middle], rows[middle:])), read, forward, size, device, units)


def _attempt(forward: Callable[[Any], np.ndarray], inputs: Any) -> np.ndarray | None:
    """The vectors; None where memory ran out. Apart, so that no frame of the failure holds tensors any longer."""
    try:
        return forward(inputs)
    except Exception as error:
        if not devices.is_out_of_memory(error):
            raise
        return None


def fixed(count: int, size: BatchSize) -> Iterator[range]:
    """Rows 0 to count in batches of the size at the time."""
    at = 0
    while at < count:
        end = min(at + size.now, count)
        yield range(at, end)
        at = end


def alike(lengths: np.ndarray, size: BatchSize, least: int = 256) -> Iterator[list[int]]:
    """Rows in batches of equal length, longest first, of ``size.now`` units of length in all.

    Where fewer than ``least`` units have one length, shorter ones join: a batch of few tokens wastes more time than
    padding does.
    """
    order = np.argsort(-lengths, kind="stable").tolist()
    at = 0
    while at < len(order):
        longest = max(1, int(lengths[order[at]]))
        end = at + 1
        while end < len(order) and (end + 1 - at) * longest <= size.now:
            if lengths[order[end]] < longest and (end - at) * longest >= min(least, size.now):
                break
            end += 1
        yield order[at:end]
        at = end


def _ahead(
    batches: Iterator[Sequence[int]], read: Callable[[Sequence[int]], Any]
) -> Iterator[tuple[Sequence[int], Any]]:
    """Each batch with its inputs; those of the next AHEAD are read meanwhile."""
    waiting: deque[tuple[Sequence[int], Future]] = deque()
    try:
        for rows in batches:
            waiting.append((rows, _readers()[0].submit(read, rows)))
            if len(waiting) > AHEAD:
                rows, future = waiting.popleft()
                yield rows, future.result()
        while waiting:
            rows, future = waiting.popleft()
            yield rows, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def side_by_side(read: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    """``[read(value) for value in values]`` in threads; the first exception in that order is raised."""
    return list(_readers()[1].map(read, values))


@lru_cache(maxsize=1)
def _readers() -> tuple[ThreadPoolExecutor, ThreadPoolExecutor]:
    """Threads that read whole batches, and those that read single items of them."""
    cores = len(os.sched_getaffinity(0)) if "sched_getaffinity" in vars(os) else os.cpu_count() or 1
    return ThreadPoolExecutor(AHEAD, "sensorium-batch"), ThreadPoolExecutor(min(cores, 16), "sensorium-read")


os.register_at_fork(after_in_child=_readers.cache_clear)
