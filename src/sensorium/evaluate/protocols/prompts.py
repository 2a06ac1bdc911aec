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
from sensorium.evaluate import evaluate, named, plots, protocols, statistics
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols import _prompt_labels
from sensorium.numerics import unit
from sensorium.pairs import Pairs
from sensorium.types import Data, Rows

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
    options = EvaluateOptions(resamples=resamples, seed=seed)
    rows = []
    for method, z in predicted.items():
        if np.shape(z) != (len(which), np.shape(prompts)[1]):
            raise BadData(f"{method}: predictions {np.shape(z)}; expected {(len(which), np.shape(prompts)[1])}")
        found = retrieval(z, prompts, np.arange(len(which)), which, group, options, measures)[0]
        rows += [{"method": method, **row} for row in found]
    return rows


def retrieval(
    z: np.ndarray,
    prompts: np.ndarray,
    item: np.ndarray,
    which: np.ndarray,
    group: np.ndarray,
    options: EvaluateOptions,
    measures: Sequence[str] = MEASURES,
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Rows of the cosine and of retrieval for items z (n, d) among distinct prompts (m, d); and the cosines (n,).

    item, which (p,): an item and one of its right prompts; with several, the cosine is the mean over them, and any of
    them is a hit. group (n,): unit of the bootstrap.
    """
    z, candidates = unit(z), unit(prompts)
    each = np.einsum("nd,nd->n", z[item], candidates[which], dtype=np.float64)
    cosine = np.bincount(item, each, len(z)) / np.bincount(item, minlength=len(z))
    low, high = statistics.interval(cosine, group, "mean", options.resamples, options.seed)
    first = {"direction": "left->right", "measure": "cosine", "value": float(cosine.mean()), "low": low, "high": high,
             "n_queries": len(z), "n_candidates": len(candidates), "split": "test", "seed": options.seed}  # fmt: skip
    pairs = Pairs.of(item, which, group=np.asarray(group)[item], split=np.full(len(item), "test"))
    found = evaluate(z, candidates, pairs, "test", measures, options.seed, options.resamples,
                     directions=("left->right",))  # fmt: skip
    return [first, *({"direction": "left->right", **row} for row in found)], cosine


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

    The mean vector and ridge from the left encoder's vectors are fitted on the train split and stand beside. Where the
    prompts have a column "label": the share of items whose nearest prompt has their label, over all items and as the
    mean over labels; the same by the mean of each label's prompts where these are several; with a confusion matrix,
    and by person. Without hubness correction. Raises BadData where an item is a sequence of frames.
    """
    p = projected
    if p.left.offsets is not None:
        raise BadData(
            "evaluate.protocol=prompts fits a ridge regression on the left vectors, but the left items are sequences "
            "of frames; choose an encoder that gives one vector an item"
        )
    measured = _Measured(data, p, options)
    train, relevance = p.pairs.where("train", 1), measured.relevance
    rows, values, predicted = measured.of(p.zl[relevance.queries], p.zr)
    fitted = baselines(p.left.vectors[train.left], p.zr[train.right], p.left.vectors[relevance.queries])
    beside = {name: measured.of(z, p.zr)[0] for name, z in fitted.items()}
    beside = {"mean vector": beside["mean vector"], "input ridge": beside["ridge"]}
    labels = measured.labels
    notes = {"prompts": rows[0]["n_candidates"], "training_items": len(np.unique(train.left))}
    shown = {} if labels is None else {
        "by": _prompt_labels.by_person(labels, predicted[_prompt_labels.NEAREST], data, p, relevance, options),
        "confusion": {"rows": "label", "columns": "label of the nearest prompt", "names": labels.names,
                      "counts": labels.counts(predicted[_prompt_labels.NEAREST]).tolist()},
    }  # fmt: skip
    if labels is not None:
        notes |= {"labels": len(labels.names), "labelled_items": len(labels.items)}
    figures = _draw(rows, beside, shown, plots_folder) if options.plots else {}
    return protocols.Report(
        rows, beside, notes, figures, shown.get("by", {}), values,
        None if labels is None else lambda zl, zr: measured.of(zl[relevance.queries], zr)[:2],
        "" if labels is None else "accuracy", (), shown.get("confusion", {}))  # fmt: skip


class _Measured:
    """The rows of some head outputs; the same items and prompts every time."""

    def __init__(self, data: Data, projected: Projected, options: EvaluateOptions) -> None:
        self.relevance = projected.pairs.relevance("left->right", "test")
        self.labels = _prompt_labels.of(data, projected, self.relevance)
        relevance, self.options = self.relevance, options
        self.item = np.repeat(np.arange(len(relevance.queries)), relevance.counts())
        self.hashed = named.asked(projected.left.ids, relevance.queries)
        self.hashed += named.asked(projected.right.ids, relevance.candidates)

    def of(
        self, z: np.ndarray, zr: Rows
    ) -> tuple[list[dict[str, Any]], list[named.Named], dict[str, np.ndarray]]:  # fmt: skip
        """Rows, the values they summarise, and the predicted labels by way; z (q, d): outputs of the queries."""
        relevance, options = self.relevance, self.options
        distinct, code = np.unique(unit(zr[relevance.candidates]), axis=0, return_inverse=True)
        item, which = np.unique(np.stack([self.item, code.reshape(-1)[relevance.relevant]]), axis=1)
        rows, cosine = retrieval(np.asarray(z, np.float32), distinct, item, which, relevance.group, options)
        groups = len(np.unique(relevance.group))
        rows = [{**row, "n_groups": groups} for row in rows]
        values = [self._named("cosine", cosine, relevance.group)]
        if self.labels is None:
            return rows, values, {}
        items = self.labels.items
        predicted = self.labels.predicted(np.asarray(z)[items], np.asarray(zr[self.labels.prompts]))
        rows += self.labels.rows(predicted, options)
        values += [self._named(f"accuracy{way}", found == self.labels.true, self.labels.group)
                   for way, found in predicted.items()]  # fmt: skip
        return rows, values, predicted

    def _named(self, measure: str, value: np.ndarray, group: np.ndarray) -> named.Named:
        return named.Named.of("test", "left->right", measure, value.astype(np.float64), group, self.hashed)


def _draw(
    rows: Sequence[Mapping[str, Any]], beside: Mapping[str, Sequence[Mapping[str, Any]]], shown: Mapping[str, Any],
    folder: Path,
) -> dict[str, str]:  # fmt: skip
    """Figures into a folder; file name → caption."""
    bars = [{"name": method, **{k: row[k] for k in ("value", "low", "high")}, "n": row["n_queries"]}
            for method, some in {"head": rows, **beside}.items() for row in some
            if row["measure"] == "cosine"]  # fmt: skip
    plots.groups(bars, folder / "prompts.png", title="Cosine to the right prompt", overall=False)
    figures = {"prompts.png": "Mean cosine to the right prompt: head, mean vector and ridge."}
    if counts := shown.get("confusion"):
        plots.confusion(np.array(counts["counts"]), counts["names"], folder / "prompts_confusion.png",
                        axes=("label", "label of the nearest prompt"))  # fmt: skip
        figures["prompts_confusion.png"] = "Label of each item (row) and that of its nearest prompt (column)."
    if by := shown.get("by"):
        plots.groups(by["rows"], folder / "prompts_by_person.png", title=f"Accuracy by {by['by']}")
        figures["prompts_by_person.png"] = "Share of items whose nearest prompt has their label, by person."
    return figures
