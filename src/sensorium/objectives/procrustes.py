"""Procrustes rotation in closed form: the rotation that best maps left vectors onto their related right vectors."""

from __future__ import annotations

import numpy as np

from sensorium.contracts import ClosedFormObjective, Validate
from sensorium.errors import BadData
from sensorium.numerics.moments import Moments
from sensorium.types import Affine, Solution


class Procrustes(ClosedFormObjective):
    """max over W of  mean ⟨x W, y⟩  with orthonormal rows or columns (Schönemann, 1966).

    Distances on the left are preserved, so it needs few pairs and overfits little, but the geometry of
    both spaces must be similar. With d_x ≠ d_y W is semi-orthogonal: it has orthonormal columns when
    x is the wider (and is then a projection, too), orthonormal rows when y is.

    center: both means are subtracted first. Otherwise W turns about the origin, the right side
        stays as it is, and the result is ``scipy.linalg.orthogonal_procrustes``'s.
    scaling: lengths are matched too, by the least-squares scale. Cosines do not depend on it.
    """

    def __init__(self, center: bool = True, scaling: bool = False) -> None:
        self.center, self.scaling = center, scaling
        self.needs = ("xx", "xy") if scaling else ("xy",)  # of the moments

    def solve(self, moments: Moments, validate: Validate | None = None) -> Solution:
        """The rotation of left into the right space; there are no hyperparameters, so ``validate`` is not used.

        ⟨x W, y⟩ is tr Wᵀ S on average, S being the mean of xᵀ y. With S = u diag(s) vᵀ (thin) that is
        tr (vᵀ Wᵀ u) diag(s), at most Σ s, which W = u vᵀ reaches. The scale that then minimises
        mean |c x W - y|² is Σ s over mean |x W|².
        """
        about = 0.0 if self.center else 1.0  # the moments are about the mean
        xy = moments.cov_xy + about * np.outer(moments.mean_x, moments.mean_y)
        u, s, vt = np.linalg.svd(xy, full_matrices=False)
        if not s[0] > 0:
            raise BadData("procrustes: the cross-covariance of the two sides is zero; check the pairs")
        weight = u @ vt
        if self.scaling:
            xx = moments.cov_xx + about * np.outer(moments.mean_x, moments.mean_x)
            weight *= s.sum() / np.einsum("ij,ij->", weight, xx @ weight)
        if not self.center:
            return Solution(Affine(weight, np.zeros(len(vt.T))), None, {"singular_values": s.tolist()[:10]})
        return Solution(
            Affine(weight, -moments.mean_x @ weight),
            Affine(np.eye(len(moments.mean_y)), -moments.mean_y),
            {"singular_values": s.tolist()[:10]},
        )
