"""Weights of a fusion of runs, chosen on the queries that every run holds out for validation."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.errors import BadData, BadRecipe
from sensorium.search import related
from sensorium.search.fused_scores import contributions
from sensorium.search.query import Options

if TYPE_CHECKING:
    from sensorium.search.fusion import Fused

K = 10
STEPS = {2: 20, 3: 10, 4: 5}  # parts that the weights of so many runs are divided into
_MOST = 1000  # validation queries, of which more are left out evenly


def choose(fused: Fused) -> tuple[np.ndarray, dict[str, float]]:
    """The weights (r,) with the highest mean nDCG@10 on validation queries, and that of each choice, by its weights.

    Of equal ones the nearest to equal weights. Raises BadRecipe for more than four runs, BadData where
    the runs share no validation query.
    """
    runs = len(fused.runs)
    if runs not in STEPS:
        raise BadRecipe(f"weights='validation' of {runs} runs; it is for {min(STEPS)} to {max(STEPS)}: give numbers")
    parts, relevant = validation(fused)
    grid = [np.array(one) / STEPS[runs] for one in product(range(STEPS[runs] + 1), repeat=runs)
            if sum(one) == STEPS[runs]]  # fmt: skip
    grid.sort(key=lambda one: (float(np.square(one - 1 / runs).sum()), one.tolist()))
    scale = runs if fused.fusion == "rrf" else 1
    measured = [float(ndcg(np.einsum("r,rqn->qn", scale * one, parts), relevant).mean()) for one in grid]
    best = int(np.argmax(measured))
    values = {", ".join(f"{w:g}" for w in one): value for one, value in zip(grid, measured, strict=True)}
    return grid[best], values


def validation(fused: Fused, split: str = "validation") -> tuple[np.ndarray, np.ndarray]:
    """Contributions (r, q, n) of each run to the held-out items' scores, and which of them are relevant (q, n) bool."""
    known = [related.open(run.folder) for run in fused.runs]
    if any(one is None for one in known):
        raise BadData("a run keeps no pairs, so its validation queries are unknown; give numbers as weights")
    chosen = [(one[0][one[2] == split], one[1][one[2] == split]) for one in known if one is not None]
    queries = np.array(sorted(set(chosen[0][0].tolist()).intersection(*(c[0].tolist() for c in chosen[1:]))), np.str_)
    items = np.array(sorted(set(chosen[0][1].tolist()).intersection(*(c[1].tolist() for c in chosen[1:]))), np.str_)
    left, right = chosen[0]
    inside = np.isin(left, queries) & np.isin(right, items)
    if not inside.any():
        names = " and ".join(str(run.folder) for run in fused.runs)
        raise BadData(f"{names} share no {split} query, so weights cannot be chosen on them; make the runs with equal "
                      "splits, or give numbers as weights")  # fmt: skip
    queries = np.unique(left[inside])
    queries = queries[np.unique(np.linspace(0, len(queries) - 1, min(_MOST, len(queries))).astype(np.int64))]
    relevant = np.zeros((len(queries), len(items)), bool)
    inside &= np.isin(left, queries)
    relevant[np.searchsorted(queries, left[inside]), np.searchsorted(items, right[inside])] = True
    column = _column(fused)
    if column:  # related by class: the pairs name some of each class only
        labels = []
        for side, ids in (("left", queries), ("right", items)):
            table = fused.runs[0].index(side).table
            labels.append(table.columns[column][table.rows.rows(ids.tolist())].astype(np.str_))
        relevant = labels[0][:, None] == labels[1][None]
    parts = []
    for run in fused.runs:
        ranks = np.full((len(queries), len(items)), np.nan)
        scores = ranks.copy()
        resolved, ranked = fused.ranked(run, [("id", id) for id in queries.tolist()], "left", Options(K, "right"))
        ids = run.index(resolved[0].to).table.ids
        for q, one in enumerate(ranked):
            found = ids[one.rows]
            held = np.isin(found, items)
            at = np.searchsorted(items, found[held])
            ranks[q, at], scores[q, at] = np.arange(1, len(at) + 1), one.scores[held]
        each = [contributions(fused.fusion, ranks[q : q + 1], scores[q : q + 1], fused.constant)[0]
                for q in range(len(queries))]  # fmt: skip
        parts.append(np.stack(each))
    return np.stack(parts), relevant


def _column(fused: Fused) -> str:
    """The column whose equal values relate items of both sides, in the first run's data; "" where pairs do."""
    run = fused.runs[0]
    data = run.recipe.values["data"]
    column = str(data.get("relevant") or ("emotion" if data.get("sentences") else ""))
    there = len(run.sides) == 2 and all(column in run.index(side).table.columns for side in run.sides)
    return column if there else ""


def precision(scores: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Share of the k best that is relevant, (q,)."""
    return _best(scores, relevant, k).mean(axis=1)


def ndcg(scores: np.ndarray, relevant: np.ndarray, k: int = K) -> np.ndarray:
    """nDCG@k with binary gain of scores (q, n), (q,): see :func:`sensorium.evaluate.measures.ndcg`."""
    found = _best(scores, relevant, k)
    discount = 1 / np.log2(2 + np.arange(found.shape[1]))
    reachable = np.minimum(relevant.sum(axis=1), found.shape[1])
    return found @ discount / np.cumsum(discount)[np.maximum(reachable, 1) - 1]


def _best(scores: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Whether the item at each of the first k places is relevant, (q, k)."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(relevant, order, axis=1)


def measured(fused: Any, split: str = "test", ks: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """Precision@k and nDCG@10 of the fused ranking, of the held-out queries among the held-out items."""
    parts, relevant = validation(fused, split)
    total = np.einsum("r,rqn->qn", fused.weights, parts)
    rows = {f"precision@{k}": float(precision(total, relevant, k).mean()) for k in ks}
    return {**rows, f"nDCG@{K}": float(ndcg(total, relevant).mean())}
