"""Probabilities of a class table: the softmax over all classes, the same for a search and for a live stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

if TYPE_CHECKING:
    from sensorium.search.query import Query
    from sensorium.search.run import Run

_NEAR = 1e-5  # the vector of a query that is one of the classes differs from the stored one by rounding only


@dataclass(frozen=True)
class ClassTable:
    """The classes of a run whose right side is a class table: labels (c,), vectors (c, d) and their softmax."""

    labels: np.ndarray
    vectors: np.ndarray
    softmax: Callable[[np.ndarray], np.ndarray]

    def probabilities(self, z: np.ndarray) -> np.ndarray:
        """Outputs of the left head (n, d) as probabilities of the classes (n, c), as in training; rows add up to 1."""
        return self.softmax(z @ self.vectors.T)


_OBJECTIVES: WeakKeyDictionary[Run, Any] = WeakKeyDictionary()
_KNOWN: WeakKeyDictionary[Run, tuple[Any, ClassTable]] = WeakKeyDictionary()


def exists(run: Run) -> bool:
    """Whether a run classifies: its objective gives probabilities of the right side's items."""
    if run not in _OBJECTIVES:
        objective = run.recipe.part("objective")
        _OBJECTIVES[run] = objective if len(run.sides) == 2 and objective.gives_probabilities else None
    return _OBJECTIVES[run] is not None


def of(run: Run) -> ClassTable:
    """The class table of a run for which :func:`exists` holds, as its right index is now."""
    index = run.index("right")
    known = _KNOWN.get(run)
    if known is None or known[0] is not index.table:
        vectors = np.array(index.vectors(np.arange(len(index.table))), np.float32)
        exists(run)
        made = ClassTable(index.table.ids, vectors, _OBJECTIVES[run].probabilities)
        known = _KNOWN[run] = index.table, made
    return known[1]


def of_hits(run: Run, query: Query, vector: np.ndarray, rows: np.ndarray) -> np.ndarray | None:
    """The probability of each hit, (k,): of the class of each row, or of the class that is asked for at each row.

    vector (d,): the query's. None for a query that is no class of the table. Whatever filter a search has, all
    classes share the probability.
    """
    table = of(run)
    if query.direction == "left->right":
        return table.probabilities(vector[None])[0][rows]
    far = np.abs(table.vectors - vector).max(axis=1)
    asked = int(far.argmin())
    if far[asked] > _NEAR * max(1.0, float(np.abs(vector).max())):
        return None
    return table.probabilities(np.asarray(run.index("left").vectors(rows), np.float32))[:, asked]
