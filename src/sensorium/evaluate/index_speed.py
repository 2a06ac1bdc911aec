"""Recall against speed of an approximate index: each breadth of its search, beside exact search."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.evaluate import plots
from sensorium.table.where import a_tenth

K = 10
QUERIES = 1000
FILE = "speed.png"


def measure(index: Any, queries: np.ndarray) -> list[dict[str, Any]]:
    """A point for each of ``index.variants()`` and one for exact search, all in one process and run.

    index: a part with ``variants() -> {setting: index}``. queries (q, d): asked in one call, at most
    QUERIES of them, evenly spread; best those that will be asked, not the indexed vectors themselves.
    A point has ``index``, ``setting``, ``recall`` (share of the K exact neighbours, ties by
    score), ``filtered_recall`` (the same, among a tenth of the items) and ``queries_per_second``.
    """
    some = np.unique(np.linspace(0, len(queries) - 1, min(QUERIES, len(queries))).astype(np.int64))
    asked, vectors = np.ascontiguousarray(queries[some], np.float32), index.vectors()
    k = min(K, len(index))
    if not k or not len(asked):
        return []
    scores.topk(asked[:1], vectors, k)  # what is loaded at the first call is not the search's time
    start = time.perf_counter()
    exact = scores.topk(asked, vectors, k)[1][:, -1]
    points = [_point("exact", "", 1.0, len(asked), start) | {"filtered_recall": 1.0}]
    where = a_tenth(index.table.ids)
    few = min(k, len(where["id"]))
    exact_few = scores.topk(asked, vectors, few, mask=index.table.where(where))[1][:, -1]
    for setting, variant in index.variants().items():
        variant.search(asked[:1], k)
        start = time.perf_counter()
        found = variant.search(asked, k).scores
        point = _point(type(index).__name__.lower(), setting, 0.0, len(asked), start)
        # A neighbour at least as near as the K-th exact one is as good as it, whichever of equals it is.
        filtered = variant.search(asked, few, where).scores
        points.append(
            point
            | {
                "recall": float(np.mean(found >= exact[:, None])),
                "filtered_recall": float(np.mean(filtered >= exact_few[:, None])),
            }
        )
    return points


def draw(indexes: Mapping[str, Mapping[str, Any]], folder: Path, leaky: bool = False) -> Path | None:
    """Draw the measured points of a run's indexes, by side, into ``folder``/plots; None when there are none."""
    points = [
        {**point, "index": f"{point['index']}, {side}"}
        for side, about in indexes.items()
        for point in about.get("speed", ())
    ]
    return plots.speed(points, Path(folder) / "plots" / FILE, leaky) if points else None


def _point(name: str, setting: str, recall: float, queries: int, start: float) -> dict[str, Any]:
    seconds = max(time.perf_counter() - start, 1e-9)
    return {"index": name, "setting": setting, "recall": recall, "queries_per_second": queries / seconds}
