"""Where a number comes from: by group or class, worst first, and the worst failures by id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.errors import BadData
from sensorium.evaluate import Ranking, statistics
from sensorium.scores.measures import Measure, parse
from sensorium.types import Rows

_INTERVALS = 50


def by(
    values: np.ndarray,
    key: np.ndarray,
    names: np.ndarray | Mapping[Any, str] | None = None,
    group: np.ndarray | None = None,
    higher_is_better: bool = True,
    least: int = 1,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Mean of values (q,) for each value of key (q,), worst first, each with its interval and n.

    key: group codes, class labels, or any metadata column of the queries. names: what to call
    them, indexed by key. group (q,): unit of the bootstrap within each, by default each query.
    least: leave out keys with fewer queries. Ties in the mean are listed larger n first. The worst
    50 get an interval; of a thousand groups nobody reads more.
    """
    values, key = np.asarray(values, np.float64), np.asarray(key)
    if values.shape != key.shape:
        raise BadData(f"breakdown: {values.shape} values and {key.shape} keys; expected one of each a query")
    unit = np.arange(len(values)) if group is None else np.asarray(group)
    keys, code, counts = np.unique(key, return_inverse=True, return_counts=True)
    means = np.bincount(code, values) / counts
    order = np.lexsort((-counts, means if higher_is_better else -means))
    rows = []
    for k in order[counts[order] >= least]:
        low, high = None, None
        if len(rows) < _INTERVALS:
            mine = code == k
            # A single unit has no spread to resample: its interval would be a point that promises too much.
            if len(np.unique(unit[mine])) > 1:
                low, high = statistics.interval(values[mine], unit[mine], "mean", resamples, seed)
        rows.append({"name": str(keys[k] if names is None else names[keys[k]]), "value": float(means[k]),
                     "low": low, "high": high, "n": int(counts[k])})  # fmt: skip
    return rows


def by_group(
    ranking: Ranking,
    measure: str | Measure = "hit@10",
    names: np.ndarray | None = None,
    least: int = 1,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A measure for each group of the split (speaker, clip, outfit), worst first; see :func:`by`."""
    measure = parse(measure)
    return by(ranking.values(measure), ranking.group, names, None, "rank" not in measure.name, least, resamples, seed)


def by_column(
    ranking: Ranking,
    column: np.ndarray,
    measure: str | Measure = "hit@10",
    least: int = 1,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A measure for each value of a metadata column of the query table (n,), such as the class; worst first."""
    measure = parse(measure)
    key = np.asarray(column)[ranking.relevance.queries]
    higher = "rank" not in measure.name
    return by(ranking.values(measure), key, None, ranking.group, higher, least, resamples, seed)


def spread(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How uneven a breakdown is: the worst, the median and the best, and how many there are."""
    values = sorted(row["value"] for row in rows)
    return {"n": len(rows), "lowest": values[0], "median": float(np.median(values)), "highest": values[-1]}


def failures(
    ranking: Ranking,
    zl: Rows,
    zr: Rows,
    query_ids: np.ndarray,
    candidate_ids: np.ndarray,
    count: int = 10,
) -> list[dict[str, Any]]:
    """The queries whose first relevant came latest: ids, rank, what came first instead, and both scores.

    query_ids and candidate_ids: of the two whole tables, in the direction that was evaluated.
    Of equal ranks, the query most sure of its wrong answer comes first.
    """
    relevance, first = ranking.relevance, ranking.first
    queries, candidates = (zl, zr) if ranking.direction == "left->right" else (zr, zl)
    worst = np.argsort(-first, kind="stable")[: 4 * count]
    worst = worst[first[worst] > 1]
    if not len(worst):
        return []
    q = np.asarray(queries[relevance.queries[worst]], np.float32)
    own = relevance.own[worst]
    allowed = np.asarray(candidates[relevance.candidates], np.float32)
    top, top_score = scores.topk(q, allowed, 1, own=own)
    at = np.array([_best_relevant(ranking, i) for i in worst])
    right_score = np.einsum("qd,qd->q", q, allowed[at], dtype=np.float64)
    order = np.lexsort((right_score - top_score[:, 0], -first[worst]))[:count]
    return [{"id": str(query_ids[relevance.queries[worst[i]]]), "rank": int(first[worst[i]]),
             "wanted": str(candidate_ids[relevance.candidates[at[i]]]), "score": float(right_score[i]),
             "found": str(candidate_ids[relevance.candidates[top[i, 0]]]), "found_score": float(top_score[i, 0]),
             "direction": ranking.direction} for i in order]  # fmt: skip


def _best_relevant(ranking: Ranking, i: int) -> int:
    """Candidate position of query i's best-ranked relevant."""
    part = slice(ranking.relevance.offsets[i], ranking.relevance.offsets[i + 1])
    return int(ranking.relevance.relevant[part][np.argmin(ranking.ranks[part])])
