"""Speech emotion: UA, WA and macro-F1 with intervals over speakers; speaker-disjoint folds of RAVDESS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.evaluate import per_query, plots, protocols
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.pairs.folds import FOLDS
from sensorium.pairs.folds import actor_folds as folds
from sensorium.types import Data

__all__ = ["FOLDS", "check", "confusion", "folds", "ravdess", "recognition", "report"]

#: (train rows, validation rows, test rows) → predicted class of each test row.
FitPredict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def recognition(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """WA, UA and macro-F1 of predicted classes (n,) against true ones (n,).

    WA is the share of all utterances that is right; UA the mean over true classes of the share of
    each that is right; macro-F1 the mean over classes, true or predicted, of F1 = 2TP / (2TP + FP + FN).
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape or labels.ndim != 1 or not len(labels):
        raise BadData(
            f"recognition: labels {labels.shape} and predictions {predicted.shape}; expected both (n,), n ≥ 1"
        )
    classes, code = np.unique(np.concatenate([labels, predicted]), return_inverse=True)
    true, guesses = code[: len(labels)], code[len(labels) :]
    support, claimed = np.bincount(true, minlength=len(classes)), np.bincount(guesses, minlength=len(classes))
    right = np.bincount(true[true == guesses], minlength=len(classes))
    with np.errstate(invalid="ignore"):
        recall = right / support
    return {"WA": float(right.sum() / len(labels)), "UA": float(np.nanmean(recall)),
            "macro_F1": float((2 * right / (support + claimed)).mean())}  # fmt: skip


def ravdess(labels: np.ndarray, actor: np.ndarray, fit_predict: FitPredict, protocol: str = "emobox") -> dict[str, Any]:
    """Cross-validate over a protocol's actor folds.

    labels (n,), actor (n,). Returns the mean and standard deviation over folds of WA, UA and
    macro-F1, as papers give them, the numbers of each fold, and all test ``rows`` with what was
    ``predicted`` for them, fold after fold.
    """
    labels = np.asarray(labels)
    per_fold, rows, guesses = [], [], []
    for split in folds(actor, protocol):
        train, validation, test = (np.flatnonzero(split == word) for word in ("train", "validation", "test"))
        predicted = np.asarray(fit_predict(train, validation, test))
        per_fold.append({**recognition(labels[test], predicted), "n": len(test)})
        rows.append(test)
        guesses.append(predicted)
    summary: dict[str, Any] = {"protocol": protocol, "folds": per_fold}
    for name in ("WA", "UA", "macro_F1"):
        values = np.array([fold[name] for fold in per_fold])
        summary[name], summary[f"{name}_deviation"] = float(values.mean()), float(values.std(ddof=1))
    return {**summary, "rows": np.concatenate(rows), "predicted": np.concatenate(guesses)}


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[Any] | None = None) -> np.ndarray:
    """Counts (c, c): row the true class, column the predicted one, in the order of ``classes``.

    Raises BadData when a label or prediction is none of the classes.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    known = np.unique(np.concatenate([labels, predicted])) if classes is None else np.asarray(classes)
    order = np.argsort(known, kind="stable")
    codes = []
    for what, values in (("label", labels), ("prediction", predicted)):
        at = order[np.minimum(np.searchsorted(known, values, sorter=order), len(known) - 1)]
        if (known[at] != values).any():
            raise BadData(f"confusion: {what} '{values[known[at] != values][0]}' is none of {known.tolist()}")
        codes.append(at)
    return np.bincount(codes[0] * len(known) + codes[1], minlength=len(known) ** 2).reshape(len(known), len(known))


def check(data: Data) -> None:
    """Raise BadData unless the right side is a table of classes and every left item has exactly one."""
    from sensorium.evaluate import classification

    protocols.two_sides(data, "emotions")
    related = data.pairs.where(None, 1)
    edges = np.unique(np.stack([related.left, related.right], 1), axis=0)
    classes, several = len(np.unique(edges[:, 1])), len(edges) - len(np.unique(edges[:, 0]))
    if several or not 1 < classes <= classification.MOST:
        raise BadData(
            f"evaluate.protocol=emotions needs one class an item and 2 to {classification.MOST} classes on the right "
            f"side; here are {classes} right items, and {several} left items have several"
        )


def report(
    data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any], plots_folder: Path
) -> protocols.Report:
    """UA, WA and macro-F1 of the test split, as :func:`recognition`, with intervals over the pairs' groups (speakers).

    With a hubness correction, as every number of the run has it. notes: chance, and the recall of each class.
    """
    from sensorium.evaluate import classification

    p, direction = projected, "left->right"
    every = np.unique(p.pairs.where(None, 1).right)
    one = per_query(p.zl, p.zr, p.pairs, "test", (direction,), corrections, every)[direction]
    labels, predicted = classification.predictions(one, p.zl, p.zr, corrections.get(direction))
    rows = classification.results(one, labels, predicted, options.seed, options.resamples)
    of = data.right.values if data.right.kind == "text" else data.right.ids
    names = [str(of[row]) for row in one.relevance.candidates.tolist()]
    counts = confusion(labels, predicted, range(len(names)))
    recall = {name: float(counts[i, i] / counts[i].sum()) for i, name in enumerate(names) if counts[i].sum()}
    notes = {"classes": names, "chance": 1 / len(names), "speakers": len(np.unique(one.group)), "recall": recall}
    figures = {}
    if options.plots:
        bars = [{"name": name, "value": value, "low": None, "high": None, "n": int(counts[names.index(name)].sum())}
                for name, value in sorted(recall.items(), key=lambda item: item[1])]  # fmt: skip
        plots.groups(bars, plots_folder / "emotions.png", title="Recall by class")
        figures = {"emotions.png": "Recall of each class on the test split, lowest first."}
    return protocols.Report(rows, notes=notes, figures=figures)
