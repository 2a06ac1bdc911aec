"""Labels of prompts, such as emotions: that of an item by its nearest prompt, or by the mean of a label's prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.evaluate import breakdown, classification
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.numerics import unit
from sensorium.pairs import Relevance
from sensorium.types import Data, Items, Rows, is_missing

LABEL, PERSON = "label", "person"
NEAREST, AVERAGED = "", "/averaged"  # ends of the measures' names: how an item's label is found
#: As classification calls the measures → as they are called here, where label and prompt are not the same.
_MEASURES = {"WA": "accuracy", "UA": "balanced_accuracy"}
_ROUND = 1e-6  # scores that are nearer are equal: the first label wins


@dataclass(frozen=True)
class Labels:
    """The labels of some prompts and of the items that are asked for.

    names (c,); prompts (m,): rows of the right table; of (m,): label of each prompt, codes into names. items (q',): of
    the queries, positions of those that have one label; true (q',): their labels, codes. group (q',): unit of the
    bootstrap. several: whether a label has several prompts.
    """

    names: list[str]
    prompts: np.ndarray
    of: np.ndarray
    items: np.ndarray
    true: np.ndarray
    group: np.ndarray

    @property
    def several(self) -> bool:
        """Whether a label has several prompts."""
        return len(self.of) > len(self.names)

    def predicted(self, z: np.ndarray, prompts: np.ndarray) -> dict[str, np.ndarray]:
        """Labels (q',) of outputs z (q', d) among outputs (m, d) of the prompts, by way.

        NEAREST: that of the prompt with the largest cosine. AVERAGED, where a label has several prompts: that with the
        largest cosine to the mean of its prompts' unit vectors.
        """
        z, y = unit(np.asarray(z, np.float64)), unit(np.asarray(prompts, np.float64))
        found = {NEAREST: self.of[_first_best(z @ y.T)]}
        if self.several:
            means = np.zeros((len(self.names), y.shape[1]))
            np.add.at(means, self.of, y)
            found[AVERAGED] = _first_best(z @ unit(means).T)
        return found

    def rows(self, predicted: Mapping[str, np.ndarray], options: EvaluateOptions) -> list[dict[str, Any]]:
        """Rows of metrics.json: accuracy, and the mean over labels of each one's, with intervals over groups."""
        found = []
        for way, labels in predicted.items():
            about = {"n_queries": len(self.items), "n_candidates": len(self.prompts), "split": "test",
                     "n_groups": len(np.unique(self.group)), "seed": options.seed}  # fmt: skip
            measured = classification.measured(self.true, labels, self.group, {"direction": "left->right"}, about,
                                               options.resamples, options.seed)  # fmt: skip
            by = {row["measure"]: row for row in measured}
            found += [{**by[theirs], "measure": f"{ours}{way}", "chance": 1 / len(self.names)}
                      for theirs, ours in _MEASURES.items()]  # fmt: skip
        return found

    def counts(self, predicted: np.ndarray) -> np.ndarray:
        """Counts (c, c): row the true label, column the predicted one."""
        return classification.confusion(self.true, predicted, range(len(self.names)))


def of(data: Data, projected: Projected, relevance: Relevance) -> Labels | None:
    """The labels of the evaluated prompts and items; None where prompts have none, or fewer than two.

    A prompt's label is that of the right column "label". An item's is its own column, else that of its prompts. Items
    without one, or with a label that no prompt has, are left out.
    """
    every = classification.known(projected.pairs)
    rows = relevance.candidates if every is None else every
    words = _column(data.right, LABEL)
    if words is None:
        return None
    rows = rows[[words[row] != "" for row in rows.tolist()]]
    names = sorted({words[row] for row in rows.tolist()})
    if len(names) < 2:
        return None
    place = {name: code for code, name in enumerate(names)}
    said = _column(data.left, LABEL)
    true = []
    for q, row in enumerate(relevance.queries.tolist()):
        own = relevance.relevant[relevance.offsets[q] : relevance.offsets[q + 1]]
        of_prompts = {words[int(relevance.candidates[at])] for at in own}
        label = said[row] if said is not None and said[row] != "" else of_prompts.pop() if len(of_prompts) == 1 else ""
        true.append(place.get(label, -1))
    code = np.array(true, np.int64)
    items = np.flatnonzero(code >= 0)
    if not len(items):
        return None
    group = np.asarray(relevance.group)[items]
    return Labels(names, rows, np.array([place[words[row]] for row in rows.tolist()]), items, code[items], group)


def by_person(
    labels: Labels, predicted: np.ndarray, data: Data, projected: Projected, relevance: Relevance,
    options: EvaluateOptions,
) -> dict[str, Any]:  # fmt: skip
    """The accuracy of each person, worst first, as a report's breakdown; empty where persons are not known."""
    persons = _column(data.left, PERSON)
    queries = relevance.queries[labels.items]
    if persons is not None:
        key = np.array([persons[row] or "(not known)" for row in queries.tolist()])
    else:
        names = projected.pairs.group_names
        groups = len(np.unique(labels.group))
        if names is None or not 1 < groups <= len(labels.group) / 2:
            return {}
        key = np.asarray(names)[labels.group]
    right = (predicted == labels.true).astype(np.float64)
    rows = breakdown.by(right, key, resamples=options.resamples, seed=options.seed)
    rows = [{**row, "n_candidates": len(labels.prompts)} for row in rows]
    return {"measure": "accuracy", "by": PERSON if persons is not None else "group", "rows": rows}


def outputs(labels: Labels, zl: Rows, zr: Rows, relevance: Relevance) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (q', d) of the labelled items and (m, d) of the labelled prompts."""
    return np.asarray(zl[relevance.queries[labels.items]]), np.asarray(zr[labels.prompts])


def _first_best(score: np.ndarray) -> np.ndarray:
    """The first column (q,) whose score is the largest, but for rounding."""
    return (score >= score.max(axis=1, keepdims=True) - _ROUND).argmax(axis=1)


def _column(items: Items, name: str) -> list[str] | None:
    """A column as words, "" where missing; None where there is none, or nothing in it."""
    if name not in items.meta:
        return None
    found = ["" if is_missing(value) else str(value) for value in np.asarray(items.meta[name]).tolist()]
    return found if any(found) else None
