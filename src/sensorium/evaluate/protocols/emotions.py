"""Speech emotion: UA, WA and macro-F1 over speaker-disjoint folds of RAVDESS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sensorium.datasets.ravdess import FOLDS
from sensorium.datasets.ravdess import actor_folds as folds
from sensorium.errors import BadData

__all__ = ["FOLDS", "confusion", "folds", "ravdess", "recognition"]

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
    true, said = code[: len(labels)], code[len(labels) :]
    support, claimed = np.bincount(true, minlength=len(classes)), np.bincount(said, minlength=len(classes))
    right = np.bincount(true[true == said], minlength=len(classes))
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
    per_fold, rows, said = [], [], []
    for split in folds(actor, protocol):
        train, validation, test = (np.flatnonzero(split == word) for word in ("train", "validation", "test"))
        predicted = np.asarray(fit_predict(train, validation, test))
        per_fold.append({**recognition(labels[test], predicted), "n": len(test)})
        rows.append(test)
        said.append(predicted)
    told: dict[str, Any] = {"protocol": protocol, "folds": per_fold}
    for name in ("WA", "UA", "macro_F1"):
        values = np.array([fold[name] for fold in per_fold])
        told[name], told[f"{name}_deviation"] = float(values.mean()), float(values.std(ddof=1))
    return {**told, "rows": np.concatenate(rows), "predicted": np.concatenate(said)}


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
