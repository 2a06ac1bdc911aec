"""Ridge regression in closed form: regresses right vectors on left vectors, every strength from one decomposition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.contracts import ClosedFormObjective, Validate
from sensorium.errors import BadRecipe
from sensorium.numerics.moments import Moments
from sensorium.types import Affine, Solution

_REGULAR = 1e-8  # strength from which cov_xx + λ I can be solved plainly even when cov_xx is singular


_STRONGEST = 1e12  # times the mean eigenvalue: what is left of the map is rounding


class Ridge(ClosedFormObjective):
    """min over W, b of  mean |x W + b - y|² + λ |W|²  (Hoerl & Kennard, 1970).

    strengths: λ as multiples of the mean eigenvalue of x's covariance, so that they mean the same
        for every encoder; one number, or several of which validation chooses (and generalised
        cross-validation, Golub, Heath & Wahba 1979, without a validation split), the first at a tie.
    center: the mean of y is taken from both sides. Cosines then compare what sets an item apart,
        not what all items share. Otherwise the right side stays as it is and left has the intercept.

    scikit-learn's ``Ridge(alpha)`` is λ = alpha / n, its intercept always fitted.
    """

    needs = ("xx", "xy")  # of the moments

    def __init__(
        self,
        strengths: float | Sequence[float] = (10.0, 1.0, 0.3, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-5),
        center: bool = True,
    ) -> None:
        self.strengths = [float(s) for s in np.atleast_1d(np.asarray(strengths, np.float64))]
        if not self.strengths or not all(0 <= s <= _STRONGEST for s in self.strengths):
            raise BadRecipe(
                f"ridge: strengths are {self.strengths}; expected one or more finite numbers from 0 on, "
                f"up to {_STRONGEST:g}"
            )
        self.center = center

    def solve(self, moments: Moments, validate: Validate | None = None) -> Solution:
        """The map of left into the right space. Memory (d_x + d_y)², whatever the number of rows.

        Let n rows of x (n, d_x) and y (n, d_y) have the covariances C = cov_xx and S = cov_xy, both
        about the mean, so that the intercept is solved for already. Where the gradient is zero

            W = (C + λ I)⁻¹ S,   b = mean_y - mean_x W.

        With C = q diag(eigs) qᵀ, once, and p = qᵀ S, once, every λ costs one product:

            W = q diag(1 / (eigs + λ)) p.

        With d_x > n, C is singular: eigs are 0 beyond n, where p is 0 too, as S = mean of x yᵀ lies in
        the span of the rows. So no other formula is needed; for λ = 0 those directions are left out.
        One λ alone needs no decomposition, which costs a hundred times a plain solution.
        """
        right = Affine(np.eye(len(moments.mean_y)), -moments.mean_y) if self.center else None
        unit = moments.var_x.mean() or 1.0  # the mean eigenvalue, of which strengths are multiples

        def left_of(weight: np.ndarray) -> Affine:
            return Affine(weight, (0.0 if self.center else moments.mean_y) - moments.mean_x @ weight)

        if len(self.strengths) == 1 and self.strengths[0] >= _REGULAR:
            ridged = moments.cov_xx + self.strengths[0] * unit * np.eye(len(moments.mean_x))
            return Solution(left_of(np.linalg.solve(ridged, moments.cov_xy)), right, {"strength": self.strengths[0]})

        eigs, q = np.linalg.eigh(moments.cov_xx)
        eigs = np.maximum(eigs, 0.0)
        p = q.T @ moments.cov_xy

        def left(strength: float) -> Affine:
            return left_of(q @ (_inverse(eigs, strength * unit)[:, None] * p))

        notes = {}
        if len(self.strengths) == 1:
            best = self.strengths[0]
        elif validate is None:
            power = np.einsum("ij,ij->i", p, p)
            losses = [_gcv(eigs, power, s * unit, moments.var_y.sum(), moments.n) for s in self.strengths]
            best = self.strengths[int(np.argmin(losses))]
            notes = {
                "chosen_by": "generalised cross-validation",
                "tried": dict(zip(self.strengths, losses, strict=True)),
            }
        else:
            rough = q.astype(np.float32)  # validation compares in float32
            tried = [rough @ (_inverse(eigs, s * unit)[:, None] * p).astype(np.float32) for s in self.strengths]
            found = [validate(left_of(weight), right) for weight in tried]
            best = self.strengths[int(np.argmax(found))]
            notes = {"chosen_by": "validation", "tried": dict(zip(self.strengths, found, strict=True))}
        return Solution(left(best), right, {"strength": best, **notes})


def _inverse(eigs: np.ndarray, penalty: float) -> np.ndarray:
    """1 / (eigs + λ), and 0 for directions that neither data nor penalty determine."""
    total = eigs + penalty
    known = total > len(eigs) * np.finfo(np.float64).eps * total.max(initial=0.0)
    return np.divide(1.0, total, out=np.zeros_like(total), where=known)


def _gcv(eigs: np.ndarray, power: np.ndarray, penalty: float, total: float, n: float) -> float:
    """Generalised cross-validation: mean squared residual over (1 - degrees of freedom / n)²."""
    inverse = _inverse(eigs, penalty)
    residual = total - np.sum(power * (2 * inverse - eigs * inverse**2))
    free = 1.0 - (1.0 + np.sum(eigs * inverse)) / n
    return float(max(residual, 0.0) / free**2) if free > 0 else float("inf")
