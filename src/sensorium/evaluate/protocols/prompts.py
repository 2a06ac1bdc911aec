"""Perception → prompt: is the right prompt found, and is that more than the mean vector knows?

A cosine alone says little: text embeddings share a large mean, so that one constant vector already
scores high. Every number therefore stands beside the mean vector's and a ridge regression's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.evaluate import evaluate, plots, protocols, statistics
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.numerics import unit
from sensorium.pairs import Pairs
from sensorium.types import Data

MEASURES = ("hit@1", "hit@5", "hit@10", "MRR", "median_rank")


def prompt_retrieval(
    predicted: Mapping[str, np.ndarray],
    prompts: np.ndarray,
    which: np.ndarray,
    group: np.ndarray | None = None,
    seed: int = 0,
    resamples: int = 1000,
    measures: Sequence[str] = MEASURES,
) -> list[dict[str, Any]]:
    """Mean cosine to the right prompt, and its retrieval among all distinct prompts, for each method.

    predicted: method → vectors (n, d), usually ``{"head": z, **baselines(…)}``. prompts (m, d):
    the distinct prompts' vectors. which (n,): the right one's row for each item. group (n,): unit
    of the bootstrap (person, video), by default each item.
    """
    which = np.asarray(which)
    if "mean vector" not in predicted or "ridge" not in predicted:
        raise BadData("prompt retrieval is compared with 'mean vector' and 'ridge'; add baselines(x_train, y_train, x)")
    group = np.arange(len(which)) if group is None else np.asarray(group)
    pairs = Pairs.of(np.arange(len(which)), which, group=group, split=np.full(len(which), "test"))
    candidates = unit(prompts)
    rows = []
    for method, z in predicted.items():
        if np.shape(z) != (len(which), candidates.shape[1]):
            raise BadData(f"{method}: predictions {np.shape(z)}; expected {(len(which), candidates.shape[1])}")
        z = unit(z)
        cosine = np.einsum("nd,nd->n", z, candidates[which], dtype=np.float64)
        low, high = statistics.interval(cosine, group, "mean", resamples, seed)
        shared = {"method": method, "direction": "left->right"}
        rows.append(
            {
                **shared,
                "measure": "cosine",
                "value": float(cosine.mean()),
                "low": low,
                "high": high,
                "n_queries": len(which),
                "n_candidates": len(candidates),
                "split": "test",
                "seed": seed,
            }
        )
        found = evaluate(z, candidates, pairs, "test", measures, seed, resamples, directions=("left->right",))
        rows += [{**shared, **row} for row in found]
    return rows


def baselines(x_train: np.ndarray, y_train: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    """What needs no head: the mean training target, and ridge from standardised inputs, both (n, d).

    x_train (n', f), y_train (n', d): training items and their prompts' vectors; x (n, f): the items
    evaluated. The ridge strength is the best of 13 by generalised cross-validation (Golub et al. 1979).
    """
    x_train, y_train, x = (np.asarray(a, np.float64) for a in (x_train, y_train, x))
    if len(x_train) != len(y_train) or x_train.shape[1] != x.shape[1]:
        raise BadData(
            f"baselines: inputs {x_train.shape}, targets {y_train.shape}, evaluated inputs {x.shape} do not fit"
        )
    y_train = unit(y_train)
    mean = y_train.mean(axis=0)
    centre, scale = x_train.mean(axis=0), x_train.std(axis=0)
    scale = np.where(scale > 1e-9 * np.abs(centre).max(initial=1.0), scale, np.inf)  # a constant input tells nothing
    u, s, vt = np.linalg.svd((x_train - centre) / scale, full_matrices=False)
    uy = u.T @ (y_train - mean)
    outside = ((y_train - mean) ** 2).sum() - (uy**2).sum()
    n, best, strength = len(x_train), np.inf, 1.0
    for candidate in n * 10.0 ** np.arange(-6, 7):
        shrink = s**2 / (s**2 + candidate)
        left_over = (((1 - shrink)[:, None] * uy) ** 2).sum() + outside
        error = left_over / max(n - 1 - shrink.sum(), 1e-9) ** 2
        if error < best:
            best, strength = error, candidate
    weight = vt.T @ ((s / (s**2 + strength))[:, None] * uy)
    return {"mean vector": np.tile(mean, (len(x), 1)), "ridge": (x - centre) / scale @ weight + mean}


def check(data: Data) -> None:
    """Raise BadData unless the data have two sides."""
    protocols.two_sides(data, "prompts")


def report(
    data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any], plots_folder: Path
) -> protocols.Report:
    """As :func:`prompt_retrieval`: each left item of the test split over the distinct prompts of the right side.

    The mean vector and ridge from the left encoder's vectors are fitted on the train split and stand beside. Without
    hubness correction. Raises BadData where an item has several prompts, or is a sequence of frames.
    """
    p = projected
    if p.left.offsets is not None:
        raise BadData(
            "evaluate.protocol=prompts fits a ridge regression on the left vectors, but the left items are sequences "
            "of frames; choose an encoder that gives one vector an item"
        )
    relevance = p.pairs.relevance("left->right", "test")
    several = int((relevance.counts() > 1).sum())
    if several:
        raise BadData(f"evaluate.protocol=prompts: {several} test items have several prompts; expected one each")
    outputs = unit(p.zr[relevance.candidates])
    distinct, code = np.unique(outputs, axis=0, return_inverse=True)
    which = code.reshape(-1)[relevance.relevant]
    train = p.pairs.where("train", 1)
    fitted = baselines(p.left.vectors[train.left], p.zr[train.right], p.left.vectors[relevance.queries])
    predicted = {"head": np.asarray(p.zl[relevance.queries], np.float32), **fitted}
    rows = prompt_retrieval(predicted, distinct, which, relevance.group, options.seed, options.resamples)
    groups = len(np.unique(relevance.group))
    by = {method: [{k: v for k, v in row.items() if k != "method"} | {"n_groups": groups}
                   for row in rows if row["method"] == method] for method in predicted}  # fmt: skip
    notes = {"prompts": len(distinct), "training_items": len(train)}
    figures = {}
    if options.plots:
        bars = [{"name": method, **{k: row[k] for k in ("value", "low", "high")}, "n": row["n_queries"]}
                for method, rows in by.items() for row in rows if row["measure"] == "cosine"]  # fmt: skip
        plots.groups(bars, plots_folder / "prompts.png", title="Cosine to the right prompt", overall=False)
        figures = {"prompts.png": "Mean cosine to the right prompt: head, mean vector and ridge."}
    return protocols.Report(
        by.pop("head"), {"mean vector": by["mean vector"], "input ridge": by["ridge"]}, notes, figures
    )
