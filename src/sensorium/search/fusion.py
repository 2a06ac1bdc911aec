"""Several runs over the same items as one search: their rankings fused by reciprocal ranks, or by weighted scores.

Items are joined by id. See :mod:`sensorium.search.fused_scores` for what is computed, and
:mod:`sensorium.search.fusion_weights` for the choice of weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe
from sensorium.search import asking, fusion_weights, query
from sensorium.search.fused_scores import CONSTANT, contributions, gathered
from sensorium.search.hits import HitList
from sensorium.search.query import Options, Query, Ranked
from sensorium.search.run import Run
from sensorium.search.run import open as open_run

FUSIONS = ("rrf", "weights")
VALIDATION = "validation"
WHOLE = 20_000  # items up to which a run ranks all of them
DEPTH = 1000  # hits of a run with more, at least


def fuse(
    *runs: Run | str | Path,
    fusion: str = "rrf",
    weights: Sequence[float] | str | None = None,
    constant: float = CONSTANT,
) -> Fused:
    """Runs over the same items as one that can be searched.

    runs: two or more, opened or folders. fusion: "rrf" or "weights". weights: a number a run, in their order; None
    for equal ones; "validation" chooses them on the queries that are held out for validation in every run.

    >>> both = sensorium.fuse("runs/emorag-best", "runs/emorag-vad")      # doctest: +SKIP
    >>> both.search(text="I can't believe you did this!", k=5)            # doctest: +SKIP

    Raises BadRecipe for fewer runs, an unknown fusion or weights that are none, BadData for runs without a common
    item, or without validation queries.
    """
    return Fused(runs, fusion, weights, constant)


class Fused:
    """Opened runs and how they are fused: see :func:`fuse`. names: of the runs; weights: as they are applied."""

    def __init__(
        self, runs: Sequence[Run | str | Path], fusion: str = "rrf", weights: Sequence[float] | str | None = None,
        constant: float = CONSTANT,
    ) -> None:  # fmt: skip
        if len(runs) < 2:
            raise BadRecipe(f"{len(runs)} runs to fuse; expected two or more")
        if fusion not in FUSIONS:
            raise BadRecipe(f"fusion='{fusion}'; expected {' or '.join(FUSIONS)}")
        if not 0 <= constant <= 1e6:
            raise BadRecipe(f"constant={constant} of reciprocal ranks; expected 0 to 1e6")
        given = None if weights is None or isinstance(weights, str) else _checked(weights, len(runs))
        if isinstance(weights, str) and weights != VALIDATION:
            raise BadRecipe(f"weights='{weights}'; expected a number for each run, or '{VALIDATION}'")
        self.runs = [run if isinstance(run, Run) else open_run(run) for run in runs]
        self.fusion, self.constant = fusion, float(constant)
        folders = [run.folder.name for run in self.runs]
        self.names = folders if len(set(folders)) == len(folders) else [f"{at + 1} {n}" for at, n in enumerate(folders)]
        self.chosen: dict[str, Any] = {}  #: what was measured on validation queries, by weights
        if weights == VALIDATION:
            given, self.chosen = fusion_weights.choose(self)
        self.weights = np.ones(len(runs)) if given is None else given
        self.weights = self.weights / (self.weights.mean() if fusion == "rrf" else self.weights.sum())

    def __repr__(self) -> str:
        weights = ", ".join(f"{name} {weight:g}" for name, weight in zip(self.names, self.weights, strict=True))
        return f"Fused({self.fusion}: {weights})"

    def search(
        self,
        query: Any = None,
        /,
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        side: str | None = None,
        to: str | None = None,
        corrected: bool = True,
        **inputs: Any,
    ) -> HitList:
        """The k best items of the fused ranking; arguments as of ``Run.search``, and passed on to every run.

        A hit has, beside its columns, ``ranks``: its rank in each run, None where the run did not find it.
        """
        given = {name: value for name, value in inputs.items() if value is not None}
        if (query is None) == (not given) or len(given) > 1:
            raise BadRecipe(f"give one query: the first argument, or one by name; got {', '.join(given) or 'none'}")
        named = [] if query is None else [asking.named(self.runs[0], query)]
        return self._hits(named or list(given.items()), side, Options(k, to, where, corrected))[0]

    def search_many(
        self,
        queries: Sequence[Any],
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        side: str | None = None,
        to: str | None = None,
        corrected: bool = True,
    ) -> list[HitList]:
        """The hits of each query: each run encodes them in batches and searches them in one pass."""
        return self._hits(asking.all_named(self.runs[0], queries), side, Options(k, to, where, corrected))

    def _hits(self, named: Sequence[tuple[str, Any]], side: str | None, options: Options) -> list[HitList]:
        if options.k < 1:
            raise BadRecipe(f"k={options.k}; expected 1 or more")
        if not named:
            return []
        every = [self.ranked(run, named, side, options) for run in self.runs]
        tables = [run.index(queries[0].to).table for run, (queries, _) in zip(self.runs, every, strict=True)]
        if not set(tables[0].ids.tolist()).intersection(*(table.ids.tolist() for table in tables[1:])):
            folders = " and ".join(str(run.folder) for run in self.runs)
            raise BadData(f"{folders} have no item in common on the side searched; fuse runs over the same items")
        found = []
        for at in range(len(named)):
            ids, ranks, scores = gathered([(t, ranked[at]) for t, (_, ranked) in zip(tables, every, strict=True)])
            total = self.weights @ contributions(self.fusion, ranks, scores, self.constant)
            order = np.argsort(-total, kind="stable")[: options.k]
            hits = [self._hit(place, ids[row], float(total[row]), ranks[:, row], every, at)
                    for place, row in enumerate(order.tolist(), 1)]  # fmt: skip
            found.append(HitList(hits, asking.Media(self.runs[0], every[0][0][at].to)))
        return found

    def ranked(
        self, run: Run, named: Sequence[tuple[str, Any]], side: str | None, options: Options
    ) -> tuple[list[Query], list[Ranked]]:
        """A run's queries and ranked rows, as deep as they are fused."""
        largest = max(len(run.index(one)) for one in run.sides)
        depth = largest if largest <= WHOLE else max(DEPTH, 20 * options.k)
        return asking.ranked(run, named, side, Options(depth, options.to, options.where, options.corrected))

    def _hit(
        self, place: int, id: str, score: float, ranks: np.ndarray, every: Sequence[Any], at: int
    ) -> dict[str, Any]:
        holder = int(np.flatnonzero(np.isfinite(ranks))[0])
        run, (queries, ranked) = self.runs[holder], every[holder]
        own = query.hits(run, queries[at], ranked[at].take(np.array([int(ranks[holder]) - 1])))[0]
        own.pop("probability", None)
        by_run = {name: int(rank) if np.isfinite(rank) else None for name, rank in zip(self.names, ranks, strict=True)}
        return {**own, "rank": place, "score": score, "ranks": by_run}


def _checked(weights: Sequence[float], runs: int) -> np.ndarray:
    found = np.asarray(list(weights), np.float64)
    if len(found) != runs or not np.isfinite(found).all() or (found < 0).any() or not found.sum() > 0:
        raise BadRecipe(f"weights are {list(weights)}; expected {runs} numbers from 0 on, one a run, not all 0")
    return found
