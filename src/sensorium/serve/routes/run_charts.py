"""What the page draws of a run's test split beside its metrics: rank curves, and scores of true and random pairs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, Field

from sensorium import scores
from sensorium.errors import SensoriumError
from sensorium.evaluate import compare
from sensorium.pairs import SPLITS
from sensorium.serve.context import Context
from sensorium.serve.engine import related
from sensorium.serve.engine.registry import ServedRun
from sensorium.serve.problems import responses

_PAIRS, _BINS, _POINTS = 2000, 40, 60


class RankCurve(BaseModel):
    """Share of the queries of a direction whose first relevant item is within rank k: points (k, share)."""

    direction: str
    candidates: int
    queries: int
    points: list[tuple[int, float]]


class ScoreHistogram(BaseModel):
    """Scores of related pairs of the test split and of random ones, as shares by bin; edges has one more entry."""

    edges: list[float]
    related: list[float]
    random: list[float]
    pairs: int


class Charts(BaseModel):
    """What can be drawn; empty lists and null where the run does not store it."""

    ranks: list[RankCurve] = Field(default_factory=list)
    scores: ScoreHistogram | None = None


def rank_curves(ranks: Mapping[tuple[str, str], compare.Ranks]) -> list[RankCurve]:
    """Of the test split, at ranks spaced evenly on a logarithmic axis."""
    found = []
    for (split, direction), one in ranks.items():
        starts, ends = one.offsets[:-1], one.offsets[1:]
        if split != "test" or not len(starts) or (ends <= starts).any():
            continue
        first = np.sort(np.minimum.reduceat(one.ranks, starts))
        candidates = max(1, int(one.candidates[0]))
        k = np.unique(np.geomspace(1, candidates, _POINTS).round().astype(int))
        share = np.searchsorted(first, k, side="right") / len(first)
        points = [(int(a), round(float(b), 5)) for a, b in zip(k, share, strict=True)]
        found.append(RankCurve(direction=direction, candidates=candidates, queries=len(first), points=points))
    return found


def score_histogram(true: np.ndarray, other: np.ndarray) -> ScoreHistogram | None:
    """Two histograms over the same bins, from the 0.1th percentile to the highest; None without finite scores."""
    both = np.concatenate([true, other])
    both = both[np.isfinite(both)]
    if not len(true) or not len(both):
        return None
    low, high = float(np.quantile(both, 0.001)), float(both.max())
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    related_, random = (np.histogram(np.clip(one, low, None), edges)[0] / max(1, len(one)) for one in (true, other))
    return ScoreHistogram(edges=[round(x, 5) for x in edges.tolist()], related=[round(x, 5) for x in related_.tolist()],
                          random=[round(x, 5) for x in random.tolist()], pairs=len(true))  # fmt: skip


async def charts(served: ServedRun) -> Charts:
    """Everything that can be drawn of a run, computed once for each version of it."""
    if "charts" not in served.cache:
        ranks: list[RankCurve] = []
        with contextlib.suppress(SensoriumError, OSError):  # it stores none, or they are damaged, as doctor says
            ranks = rank_curves(await asyncio.to_thread(compare.load, served.folder / compare.FILE))
        served.cache["charts"] = Charts(ranks=ranks, scores=await _scores(served))
    return served.cache["charts"]


async def _scores(served: ServedRun) -> ScoreHistogram | None:
    pairs, random = await asyncio.to_thread(related.of, served), np.random.default_rng(0)
    test = np.flatnonzero(pairs.split == SPLITS.index("test"))
    test = test[random.permutation(len(test))[:_PAIRS]]
    if len(test) < 2:
        return None
    some = related.Related(pairs.left[test], pairs.right[test], pairs.split[test])
    sides = served.run.sides
    tables: dict[str, Any] = {}
    for side in sides:
        tables[side] = await served.workers.sides[side].searching.do(lambda s=side: served.run.index(s).table.ids)
    left, right, _ = await asyncio.to_thread(some.rows, tables[sides[0]], tables[sides[-1]])
    if len(left) < 2:
        return None
    other = right[random.permutation(len(right))]
    apart = other != right
    try:
        a = await _vectors(served, sides[0], left)
        b, c = [await _vectors(served, sides[-1], rows) for rows in (right, other)]
        return score_histogram(scores.pair_scores(a, b), scores.pair_scores(a[apart], c[apart]))
    except (SensoriumError, ValueError, IndexError):
        return None  # an item has several vectors, or none is stored


async def _vectors(served: ServedRun, side: str, rows: np.ndarray) -> np.ndarray:
    index = served.run.index(side)
    return await served.workers.sides[side].searching.do(lambda: np.asarray(index.vectors(rows), np.float32))


def routes(context: Context) -> APIRouter:
    """The route ``/runs/{run}/charts``."""
    router, registry = APIRouter(tags=["runs"]), context.registry

    @router.get("/runs/{run}/charts", responses=responses(404, 503))
    async def charts_of_run(run: str) -> Charts:
        """Rank curves of the test split, and scores of its true pairs beside random ones."""
        return await charts(registry.get(run))

    return router
