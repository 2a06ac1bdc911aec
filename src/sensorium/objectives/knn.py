"""Votes of near training items: classes of the relation or of a table, each side by its own vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.contracts import ClosedFormObjective, Validate
from sensorium.errors import BadRecipe
from sensorium.numerics.moments import Moments
from sensorium.objectives._class_codes import ClassWords, average_precision, sure_logits
from sensorium.pairs import Pairs
from sensorium.types import Embeddings, Solution, Votes

_POINTS = 4096  # training items that vote
_MOST = 1000  # neighbours
_TINY = 1e-300


class KNN(ClosedFormObjective):
    """p(class | x) = Σ_i w_i [class_i = class] / Σ_i w_i, w_i = exp(-|x - x_i|² / 2h²), of standardised inputs.

    The kernel form of the k nearest neighbours' vote (Nadaraya 1964, Watson 1964): near items count most, the others
    fade out. h is the root mean square distance of a training item to its k-th nearest. For heads ``posterior``, whose
    scores are then probabilities that both items are of one class. Where the right items are a class table, they are
    the classes, and only the left items vote. Of more than 4,096 training items so many, evenly spread, vote.

    column: of class words, on both sides, where the data say no classes by data.relevant.
    neighbours: k, 1 to 1,000; one, or several of which each side takes the one whose classes find its validation items
        best (mean average precision), the middle one without validation items.
    """

    needs = ()
    reads_items = True

    def __init__(self, column: str = "emotion", neighbours: int | Sequence[int] = (1, 3, 10, 30)) -> None:
        self.neighbours = [int(k) for k in np.atleast_1d(np.asarray(neighbours))]
        if not self.neighbours or not all(1 <= k <= _MOST for k in self.neighbours):
            raise BadRecipe(f"objective.neighbours={self.neighbours}; expected one or more whole numbers from 1 to "
                            f"{_MOST:,}")  # fmt: skip
        self.words = ClassWords("knn", column)

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Raises BadRecipe without classes on a side, BadData for fewer than two that both sides have."""
        self.words.classes(left, right, pairs)

    def solve(self, moments: Moments, validate: Validate | None = None) -> Solution:
        """Raises BadRecipe: moments of vectors do not hold the classes; :meth:`solve_items` reads them."""
        raise BadRecipe("objective 'knn' reads the items' classes; type: data.relevant=COLUMN")

    def solve_items(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> Solution:
        """Votes of the raw vectors of each side."""
        related = pairs.where(label=1)
        drawn = bool((related.split != "").any())
        train, held = (related.where("train") if drawn else related), related.where("validation")
        codes, names = self.words.classes(left, right, train, related)
        maps, notes = [], {"classes": len(names)}
        for side, table, code in zip(("left", "right"), (left, right), codes, strict=True):
            if side == "right" and self.words.of_table(left, right, pairs):
                maps.append(sure_logits(right.vectors, code, len(names)))
                continue
            rows, others = (np.unique(part.left if side == "left" else part.right) for part in (train, held))
            votes, notes[side] = self._side(table, rows[code[rows] >= 0], others[code[others] >= 0], code, len(names))
            maps.append(votes)
        return Solution(*maps, notes)

    def _side(
        self, table: Embeddings, rows: np.ndarray, held: np.ndarray, code: np.ndarray, c: int
    ) -> tuple[Votes, dict[str, Any]]:
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _POINTS)).round().astype(np.int64)]
        x = np.asarray(table.vectors[rows], np.float64)
        mean, deviation = x.mean(0), x.std(0)
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation),
                          where=deviation > 1e-9 * deviation.max(initial=0))  # fmt: skip
        z, member = (x - mean) * scale, np.eye(c)[code[rows]]
        square = np.square(z).sum(1)
        apart = np.maximum(square[:, None] + square - 2 * z @ z.T, 0.0)
        np.fill_diagonal(apart, np.inf)
        apart.sort(axis=1)

        def votes(k: int) -> Votes:
            h2 = max(float(apart[:, min(k, len(z) - 1) - 1].mean()), _TINY) if len(z) > 1 else 1.0
            weight = scale[:, None] * z.T / h2
            return Votes(weight, -square / (2 * h2) - mean @ weight, member)

        if len(self.neighbours) == 1 or not len(held):
            best = self.neighbours[len(self.neighbours) // 2]
            return votes(best), {"neighbours": best}
        known = np.asarray(table.vectors[held], np.float64)
        found = {k: average_precision(np.log(votes(k).shares(known) + _TINY), code[held]) for k in self.neighbours}
        best = max(found, key=found.__getitem__)
        return votes(best), {"neighbours": best, "chosen_by": "validation", "tried": found}
