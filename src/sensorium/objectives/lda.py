"""Linear discriminant analysis of both sides in closed form: classes of the relation, each side by its own vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.contracts import ClosedFormObjective, Validate
from sensorium.errors import BadRecipe
from sensorium.numerics import affect
from sensorium.numerics.discriminants import Discriminants
from sensorium.numerics.moments import Moments
from sensorium.objectives._class_codes import TARGETS, ClassWords, average_precision, sure_logits
from sensorium.pairs import Pairs
from sensorium.types import Affine, Embeddings, Solution


class LDA(ClosedFormObjective):
    """Logits x W + b of each side, x given as Gaussian in each class with one shrunk covariance C (Fisher 1936).

    w_k = C⁻¹ μ_k, b_k = -½ μ_kᵀ C⁻¹ μ_k, C = (1 - s) · covariance within classes + s · its mean variance · I
    (Friedman 1989, with λ = 1), of standardised inputs; classes count alike, whatever their sizes. For heads
    ``posterior``, whose scores are then probabilities that text and clip are of one class.

    column: of class words, on both sides, where the data say no classes by data.relevant.
    shrinkage: s, above 0 up to 1; one, or several of which each side takes the one whose classes find that side's
        validation items best (mean average precision), the first at a tie or without validation items.
    temperature: by which the logits are divided; above 1 the probabilities are less sure.
    targets: "label", or "vad": an item belongs to each class by exp(-d² / 2 spread²), d the distance of the emotions in
        valence, arousal and dominance (:mod:`sensorium.numerics.affect`), so that near emotions are better mistakes.
    spread: of these, 0.05 to 10.
    """

    needs = ()
    reads_items = True

    def __init__(
        self,
        column: str = "emotion",
        shrinkage: float | Sequence[float] = (0.5, 0.3, 0.7, 0.1, 0.9),
        temperature: float = 2.0,
        targets: str = "label",
        spread: float = 0.3,
    ) -> None:
        self.shrinkage = [float(s) for s in np.atleast_1d(np.asarray(shrinkage, np.float64))]
        if not self.shrinkage or not all(0 < s <= 1 for s in self.shrinkage):
            raise BadRecipe(f"objective.shrinkage={self.shrinkage}; expected one or more numbers above 0, up to 1")
        if not 0.01 <= temperature <= 100:
            raise BadRecipe(f"objective.temperature={temperature}; expected a number from 0.01 to 100, such as 2")
        if targets not in TARGETS:
            raise BadRecipe(f"objective.targets='{targets}'; expected {' or '.join(TARGETS)}")
        if not 0.05 <= spread <= 10:
            raise BadRecipe(f"objective.spread={spread}; expected a number from 0.05 to 10, such as 0.3")
        self.column, self.temperature, self.targets, self.spread = column, temperature, targets, spread
        self.words = ClassWords("lda", column, targets)

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Raises BadRecipe without classes on a side, BadData for fewer than two that both sides have."""
        self.words.classes(left, right, pairs)

    def solve(self, moments: Moments, validate: Validate | None = None) -> Solution:
        """Raises BadRecipe: moments of vectors do not hold the classes; :meth:`solve_items` reads them."""
        raise BadRecipe("objective 'lda' reads the items' classes; type: data.relevant=COLUMN")

    def solve_items(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> Solution:
        """Logits of the raw vectors of each side."""
        related = pairs.where(label=1)
        drawn = bool((related.split != "").any())
        train, held = (related.where("train") if drawn else related), related.where("validation")
        codes, names = self.words.classes(left, right, train, related)
        affines, notes = [], {"classes": len(names), "temperature": self.temperature}
        if self.targets == "vad":
            notes |= {"targets": "vad", "spread": self.spread}
        for side, table, code in zip(("left", "right"), (left, right), codes, strict=True):
            rows, others = (np.unique(part.left if side == "left" else part.right) for part in (train, held))
            rows, others = rows[code[rows] >= 0], others[code[others] >= 0]
            if side == "right" and self.words.of_table(left, right, pairs):
                affines.append(sure_logits(right.vectors, code, len(names)))
                continue
            affine, notes[side] = self._side(table, rows, others, code, names)
            affines.append(affine)
        return Solution(*affines, notes)

    def _memberships(self, code: np.ndarray, names: np.ndarray) -> np.ndarray:
        """Share (n, c) of each item in each class, rows adding up to 1."""
        if self.targets == "label":
            return np.eye(len(names))[code]
        near = np.exp(-np.square(affect.distances(names, names).astype(np.float64)) / (2 * self.spread**2))
        return (near / near.sum(1, keepdims=True))[code]

    def _side(
        self, table: Embeddings, rows: np.ndarray, held: np.ndarray, code: np.ndarray, names: np.ndarray
    ) -> tuple[Affine, dict[str, Any]]:
        path = Discriminants(np.asarray(table.vectors[rows], np.float64), self._memberships(code[rows], names))
        if len(self.shrinkage) == 1 or not len(held):
            return path.affine(self.shrinkage[0], self.temperature), {"shrinkage": self.shrinkage[0]}
        x, known = np.asarray(table.vectors[held], np.float64), code[held]
        found = [average_precision(path.affine(s, self.temperature)(x), known) for s in self.shrinkage]
        best = self.shrinkage[int(np.argmax(np.round(found, 9)))]
        return path.affine(best, self.temperature), {
            "shrinkage": best, "chosen_by": "validation", "tried": dict(zip(self.shrinkage, found, strict=True))
        }  # fmt: skip
