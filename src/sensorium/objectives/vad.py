"""Valence, arousal and dominance, solved exactly: each side's vectors regressed on the ratings of its own items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.contracts import ClosedFormObjective, Validate
from sensorium.errors import BadRecipe, nearest
from sensorium.numerics import affect, affect_scales
from sensorium.numerics.moments import Moments
from sensorium.pairs import Pairs
from sensorium.types import Affine, Embeddings, Solution

_STRONGEST = 1e6
_EXACT = 1e-10  # share of the largest eigenvalue below which a direction is rounding


class Vad(ClosedFormObjective):
    """W and b of each side by ridge regression: min mean |x W + b - y|² + λ |W|², y the ratings (3,) of an item.

    The ratings are the columns ``valence``, ``arousal`` and ``dominance`` of a side's items where they have them, else
    those of its emotion word (Russell & Mehrabian 1977, :mod:`sensorium.numerics.affect`). A side whose vectors have
    three numbers holds ratings already, and is kept as it is; items of the other side that have neither column nor word
    are given the mean of those that they are related to. For heads ``vad``, whose scores rank as distances.

    by: "emotions" expects ratings from the probabilities of the emotions, by multinomial logistic regression with the
        same kind of penalty, on sides whose items have words of the eight and no ratings; "ratings" is ridge alone.
    column: of the emotion words.
    scale: of the columns of ratings, "-1..1", "0..1", "1..5", "1..7" or "1..9".
    strengths: λ as multiples of the mean eigenvalue of the inputs' covariance, as of ridge, the inputs standardised;
        one, or several of which the one with the smallest error on validation items is taken (by generalised
        cross-validation where there are none).
    """

    needs = ()
    reads_items = True

    def __init__(
        self,
        by: str = "emotions",
        column: str = "emotion",
        scale: str = "1..7",
        strengths: float | Sequence[float] = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01),
    ) -> None:
        affect_scales.check(scale, "objective.scale")
        if by not in ("emotions", "ratings"):
            raise BadRecipe(f"objective.by='{by}'; expected emotions or ratings")
        self.by = by
        self.strengths = [float(s) for s in np.atleast_1d(np.asarray(strengths, np.float64))]
        if not self.strengths or not all(0 < s <= _STRONGEST for s in self.strengths):
            raise BadRecipe(
                f"objective.strengths={self.strengths}; expected one or more numbers above 0, up to {_STRONGEST:g}"
            )
        self.column, self.scale = column, scale

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Raises BadRecipe for a side without ratings, BadData for ratings or emotions that are none."""
        for side, table, other in (("left", left, right), ("right", right, left)):
            if table.dim != len(affect.DIMENSIONS):
                rows = pairs.left if side == "left" else pairs.right
                self.ratings(table, np.unique(rows), side, other, pairs)

    def ratings(self, table: Embeddings, rows: np.ndarray, side: str, other: Embeddings, pairs: Pairs) -> np.ndarray:
        """Ratings (r, 3) float32 of rows of a side, which are sorted and unique. Raises as :meth:`check` does.

        other: the other side, whose ratings stand in where this one has none. pairs: the related ones.
        """
        if all(name in table.meta for name in affect.DIMENSIONS):
            columns = [np.asarray(table.meta[name])[rows] for name in affect.DIMENSIONS]
            return affect_scales.to_unit(
                np.stack(columns, 1).astype(np.float64), self.scale, f"the {side} items' ratings", table.ids[rows]
            )
        if self.column not in table.meta and other.dim == len(affect.DIMENSIONS):
            mine, theirs = (pairs.left, pairs.right) if side == "left" else (pairs.right, pairs.left)
            inside = np.isin(mine, rows)
            at, found = np.searchsorted(rows, mine[inside]), np.zeros((len(rows), len(affect.DIMENSIONS)))
            np.add.at(found, at, np.asarray(other.vectors[theirs[inside]], np.float64))
            return (found / np.bincount(at, minlength=len(rows))[:, None]).astype(np.float32)
        if self.column not in table.meta:
            raise BadRecipe(
                f"the {side} items have no column '{self.column}', and none of valence, arousal and dominance; "
                f"{nearest(self.column, table.meta)}"
            )
        return affect.vads(np.asarray(table.meta[self.column])[rows].astype(np.str_))

    def solve(self, moments: Moments, validate: Validate | None = None) -> Solution:
        """Raises BadRecipe: moments of vectors do not hold the ratings; :meth:`solve_items` reads them."""
        raise BadRecipe("objective 'vad' reads the items' ratings; fit it on a data set with a column 'emotion'")

    def solve_items(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> Solution:
        """A map for each side to its ratings; None for a side that holds ratings already."""
        related, found, notes = pairs.where(label=1), {}, {}
        drawn = bool((related.split != "").any())
        train, held = (related.where("train") if drawn else related), related.where("validation")
        for side, table in (("left", left), ("right", right)):
            found[side] = None
            if table.dim != len(affect.DIMENSIONS):
                rows = {"train": train, "validation": held}
                rows = {name: np.unique(part.left if side == "left" else part.right) for name, part in rows.items()}
                truth = {name: self.ratings(table, some, side, right if side == "left" else left, related)
                         for name, some in rows.items()}  # fmt: skip
                found[side], notes[side] = self._side(table, rows, truth, self._codes(table, rows["train"]))
        return Solution(found["left"], found["right"], notes)

    def _side(
        self,
        table: Embeddings,
        rows: Mapping[str, np.ndarray],
        ratings: Mapping[str, np.ndarray],
        codes: np.ndarray | None = None,
    ) -> tuple[Affine, dict[str, Any]]:
        """The map of the training rows to their ratings, its strength chosen by the validation rows.

        codes: the rows' emotions, where their logits are wanted.
        """
        x, y = _vectors(table, rows["train"]), ratings["train"].astype(np.float64)
        if codes is not None:
            held = _vectors(table, rows["validation"])
            return self._expected(x, y, codes, held, ratings["validation"])
        path = _RidgePath(x, y)
        if len(self.strengths) == 1:
            return path.affine(self.strengths[0]), {"strength": self.strengths[0]}
        if len(rows["validation"]):
            held, truth = _vectors(table, rows["validation"]), ratings["validation"]
            errors = [float(np.square(path.affine(s)(held) - truth).mean()) for s in self.strengths]
            how = "validation"
        else:
            errors, how = [path.gcv(s) for s in self.strengths], "generalised cross-validation"
        best = self.strengths[int(np.argmin(errors))]
        return path.affine(best), {
            "strength": best, "by": "ratings", "chosen_by": how, "tried": dict(zip(self.strengths, errors, strict=True))
        }  # fmt: skip

    def _codes(self, table: Embeddings, rows: np.ndarray) -> np.ndarray | None:
        """Place of each row's emotion among the eight; None where ridge regression is to be used."""
        if self.by != "emotions" or self.column not in table.meta or all(n in table.meta for n in affect.DIMENSIONS):
            return None
        words = [affect.canonical(str(word)) for word in np.asarray(table.meta[self.column])[rows].tolist()]
        if not set(words) <= set(affect.EMOTIONS) or len(set(words)) < 2:
            return None
        return np.array([affect.EMOTIONS.index(word) for word in words], np.int64)

    def _expected(
        self, x: np.ndarray, y: np.ndarray, codes: np.ndarray, held: np.ndarray, truth: np.ndarray
    ) -> tuple[Affine, dict[str, Any]]:
        """Logits of the emotions, the penalty chosen by the error of the ratings that they let expect."""
        from sensorium.objectives._softmax import SoftmaxPath

        count = len(affect.EMOTIONS)
        if len(self.strengths) == 1:
            return SoftmaxPath(x, codes, count).affine(self.strengths[0]), {"strength": self.strengths[0]}
        how, path = "validation", SoftmaxPath(x, codes, count)
        maps = [path.affine(strength) for strength in self.strengths]
        tried = maps
        if not len(held):
            how, out = "every fifth training item", np.arange(len(x)) % 5 == 0
            part = SoftmaxPath(x[~out], codes[~out], count)
            held, truth, tried = x[out], y[out], [part.affine(strength) for strength in self.strengths]
        errors = [float(np.square(_expectation(one(held)) - truth).mean()) for one in tried]
        at = int(np.argmin(errors))
        return maps[at], {"strength": self.strengths[at], "by": "emotions", "chosen_by": how,
                          "tried": dict(zip(self.strengths, errors, strict=True))}  # fmt: skip


def _expectation(logits: np.ndarray) -> np.ndarray:
    """Ratings (n, 3) expected of logits (n, 8) of the emotions."""
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    return share / share.sum(axis=1, keepdims=True) @ affect.vads(affect.EMOTIONS).astype(np.float64)


class _RidgePath:
    """Ridge regressions of y (n, c) on standardised x (n, d), every strength from one decomposition."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.mean, deviation = x.mean(0), x.std(0)
        self.scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-9 * deviation.max())
        x = (x - self.mean) * self.scale
        self.n, self.d, self.middle = len(x), x.shape[1], y.mean(0)
        # The smaller of the two: x xᵀ / n has the same eigenvalues as xᵀ x / n, but for zeros.
        wide = self.d > self.n
        values, vectors = np.linalg.eigh((x @ x.T if wide else x.T @ x) / self.n)
        keep = values > _EXACT * max(float(values[-1]), 1e-300)
        self.eigs, vectors = values[keep], vectors[:, keep]
        basis = x.T @ vectors / np.sqrt(self.eigs * self.n) if wide else vectors
        self.basis, self.target = basis, basis.T @ (x.T @ (y - self.middle)) / self.n
        self.unit = float(np.square(x).mean()) or 1.0  # the mean eigenvalue
        self.total = float(np.square(y - self.middle).mean(0).sum())

    def affine(self, strength: float) -> Affine:
        """x → ratings: W = (xᵀx / n + λ I)⁻¹ xᵀy / n of standardised x, in terms of raw x."""
        penalised = self.eigs + strength * self.unit
        weight = self.scale[:, None] * (self.basis @ (self.target / penalised[:, None]))
        return Affine(weight, self.middle - self.mean @ weight)

    def gcv(self, strength: float) -> float:
        """Generalised cross-validation (Golub, Heath & Wahba 1979): mean squared residual over (1 - freedom / n)²."""
        share = 1 / (self.eigs + strength * self.unit)
        power = np.square(self.target).sum(1)
        residual = self.total - float(np.sum(power * (2 * share - self.eigs * share**2)))
        free = 1.0 - (1.0 + float(np.sum(self.eigs * share))) / self.n
        return max(residual, 0.0) / free**2 if free > 0 else float("inf")


def _vectors(table: Embeddings, rows: np.ndarray) -> np.ndarray:
    return np.asarray(table.vectors[rows], np.float64)
