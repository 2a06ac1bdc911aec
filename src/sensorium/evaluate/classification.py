"""Recognition where the right side is a class table: UA, WA, macro-F1 with intervals, recall by class, by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.evaluate import Ranking, breakdown, statistics
from sensorium.evaluate.hubness_corrections import Correction
from sensorium.evaluate.protocols.emotions import confusion, recognition
from sensorium.pairs import Pairs
from sensorium.types import Rows

MOST = 30  # a candidate table of at most this size, met by all splits, is a class table
#: As results call them → as :func:`sensorium.evaluate.protocols.emotions.recognition` does.
MEASURES = {"UA": "UA", "WA": "WA", "macro-F1": "macro_F1"}


def is_class_table(pairs: Pairs) -> bool:
    """Whether the right side is a few classes: every left row has one, and all were met in training."""
    related = pairs.where(None, 1)
    test, train = np.unique(related.where("test").right), np.unique(related.where("train").right)
    if pairs.same_table or not 1 < len(test) <= MOST or not np.isin(test, train).all():
        return False  # most tables are no class tables, and this says so before anything large is sorted
    edges = np.unique(np.stack([related.left, related.right], 1), axis=0)
    return len(np.unique(edges[:, 0])) == len(edges)


def known(pairs: Pairs) -> np.ndarray | None:
    """Right rows (c,) of a class table, those included that a split happens to lack; None of any other table."""
    return np.unique(pairs.where(None, 1).right) if is_class_table(pairs) else None


def predictions(
    ranking: Ranking, zl: Rows, zr: Rows, correction: Correction | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted class of each query, (q,) each, as positions into the evaluated candidates.

    correction: for hubness, where the ranks have it too.
    """
    relevance = ranking.relevance
    q = np.asarray(zl[relevance.queries], np.float32)
    classes = np.asarray(zr[relevance.candidates], np.float32)
    found = scores.topk(q, classes, 1) if correction is None else correction.topk(q, classes, 1)
    return relevance.relevant[relevance.offsets[:-1]], found[0][:, 0]


def results(
    ranking: Ranking, labels: np.ndarray, predicted: np.ndarray, seed: int = 0, resamples: int = 1000
) -> list[dict[str, Any]]:
    """UA, WA and macro-F1 as rows of ``metrics.json``, see :func:`sensorium.evaluate.results`."""
    about = {"n_queries": len(labels), "n_candidates": len(ranking.relevance.candidates),
             "n_groups": len(np.unique(ranking.group)), "split": ranking.split, "seed": seed}  # fmt: skip
    return measured(labels, predicted, ranking.group, {"direction": ranking.direction}, about, resamples, seed)


def measured(
    labels: np.ndarray,
    predicted: np.ndarray,
    group: np.ndarray,
    before: dict[str, Any],
    after: dict[str, Any],
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """UA, WA and macro-F1 of predicted classes (q,), a row each, with 95% intervals over groups (q,).

    before and after: further columns of each row.
    """
    values = recognition(labels, predicted)
    ends = intervals(labels, predicted, group, resamples, seed)
    after = {**after, **statistics.few(len(np.unique(group)))}
    return [{**before, "measure": name, "value": values[key], "low": low, "high": high, **after}
            for (name, key), (low, high) in zip(MEASURES.items(), ends, strict=True)]  # fmt: skip


def intervals(
    labels: np.ndarray, predicted: np.ndarray, group: np.ndarray, resamples: int = 1000, seed: int = 0
) -> list[tuple[float, float]]:
    """Percentile bootstrap intervals (low, high) of UA, WA and macro-F1 over groups (q,).

    A resample draws whole groups; its confusion counts are the weighted sum of theirs.
    """
    classes, code = np.unique(np.concatenate([labels, predicted]), return_inverse=True)
    c, q = len(classes), len(labels)
    unit = np.arange(q) if (group == group[0]).all() else np.unique(group, return_inverse=True)[1]
    counts = np.zeros((int(unit.max()) + 1, c, c))
    np.add.at(counts, (unit, code[:q], code[q:]), 1)
    drawn = []
    for weight in statistics.weights(len(counts), resamples, seed):
        tables = (weight @ counts.reshape(len(counts), -1)).reshape(-1, c, c)
        right, support, claimed = np.einsum("rcc->rc", tables), tables.sum(2), tables.sum(1)
        with np.errstate(invalid="ignore"):
            recall, f1 = right / support, 2 * right / (support + claimed)
        drawn.append(np.stack([np.nanmean(recall, 1), right.sum(1) / support.sum(1), np.nanmean(f1, 1)], 1))
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def table(labels: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Classes by name, their confusion counts (row true, column predicted) and the recall of each."""
    counts = confusion(labels, predicted, range(len(names)))
    there = counts.sum(1)
    recall = [int(right) / int(n) if n else None for right, n in zip(np.diag(counts), there, strict=True)]
    return {"names": list(names), "confusion": counts.tolist(), "recall": recall}


def by_group(
    labels: np.ndarray, predicted: np.ndarray, group: np.ndarray, names: np.ndarray | None
) -> list[dict[str, Any]]:
    """UA, WA and macro-F1 of each group (q,), such as each speaker; the lowest WA first, which is its ``value``."""
    rows = breakdown.by(labels == predicted, group, names, least=1)
    called = {str(g if names is None else names[g]): g for g in np.unique(group).tolist()}
    for row in rows:
        mine = group == called[row["name"]]
        row |= {name: recognition(labels[mine], predicted[mine])[key] for name, key in MEASURES.items()}
    return rows
