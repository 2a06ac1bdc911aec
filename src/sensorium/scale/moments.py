"""Moments of pairs by map-reduce on Ray: each task reads the rows of some pairs, and the moments of all are added."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sensorium.fitting.partial_moments import BLOCK, Pass
from sensorium.numerics.moments import Moments
from sensorium.store import rows
from sensorium.types import Rows

FEWEST = 8 * BLOCK  # pairs from which on tasks are worth their start
TASK = 8 * BLOCK  # pairs of a task
AHEAD = 2  # tasks that wait for each processor


@dataclass(frozen=True)
class _Vectors:
    """What of a table a task reads."""

    vectors: Rows

    @property
    def dim(self) -> int:
        """Width of a row."""
        return int(self.vectors.shape[1])


def map_reduce(ray: Any, work: Pass, pairs: int = TASK) -> Moments:
    """The moments of a pass: a task for every ``pairs`` of its pairs, added in the order in which they end.

    Any order gives the same to rounding, about 1e-12 of a variance (Chan, Golub & LeVeque, 1979). Rows of a store go to
    the tasks as the paths of its files, which every machine has to see; other rows go themselves.
    """
    shared = ray.put(replace(work, sides=tuple(map(_light, work.sides))))
    task = ray.remote(_part)
    cuts = [(at, min(at + pairs, len(work))) for at in range(0, len(work), pairs)]
    most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    running, total = [], work.moments(0, 0)
    while cuts or running:
        while cuts and len(running) < most:
            running.append(task.remote(shared, *cuts.pop(0)))
        ended, running = ray.wait(running, num_returns=1)
        for found in ray.get(ended):
            total.merge(found)
    return total


def _part(work: Pass, start: int, stop: int) -> Moments:
    return work.moments(start, stop)


def _light(side: Any) -> Any:
    """A side without what its rows do not depend on."""
    light = _Vectors(rows.by_files(side.table.vectors))
    return replace(side, table=light, head=side.head if side.lifted else None)
