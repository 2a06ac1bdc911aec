"""Canonical correlation analysis in closed form: projects both sides onto their most correlated directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sensorium.contracts import ClosedFormObjective, Validate
from sensorium.errors import BadData, BadRecipe
from sensorium.numerics.moments import Moments
from sensorium.pairs import Pairs
from sensorium.types import Affine, Embeddings, Solution

#: Larger ones leave nothing but rounding of the map.
_MOST = {"strengths": 1e12, "powers": 64}
_WIDE = 1024  # from this width on, a fourth or less of the components are found by subspace iteration
_ITERATIONS = 6
_CONSTANT = 0.5  # of scores by size, in root mean squares of the components
_ROUNDING = 1e-6  # singular values, of the largest, below which there is nothing but rounding

#: Of a strength, and exactly or not: maps of both sides (d, k), and the correlations (k,) of their columns.
Components = Callable[[float, bool], tuple[np.ndarray, np.ndarray, np.ndarray]]


class CCA(ClosedFormObjective):
    """max over A, B of  corr(x A, y B), component by component (Hotelling 1936; ridge: Vinod 1976).

    dim: number of components; None takes the width of the narrower side.
    strengths: ridge added to each side's covariance, as multiples of its mean eigenvalue.
    powers: component i counts by its correlation to this power on each side (Gong et al. 2014);
        0 counts all alike, more fades out the weak ones, so that ``dim`` need not be tuned.

    Each is one number, or several of which validation chooses; the middle one is taken where there
    is no validation split. As strengths grow CCA becomes the Procrustes rotation onto shared directions, so the
    path between the two (netrep's alpha) is among the strengths. It also solves pairs within one table.

    Where one component is left, as of two classes, the cosine of two numbers is 1 or -1 and says nothing more. Each
    side then has a constant beside its component, see :func:`_scored`, so that scores are graded. Where rows are
    related by class this holds for several components too, if validation finds it better or there is none.
    """

    needs = ("xx", "yy", "xy")  # of the moments
    tied = True  # can fit one head for both sides of one table

    def __init__(
        self,
        dim: int | None = None,
        strengths: float | Sequence[float] = (1e-4, 1e-3, 1e-2, 0.1, 1.0),
        powers: float | Sequence[float] = (0.0, 0.5, 1.0, 2.0, 4.0),
    ) -> None:
        self.dim = dim
        self.strengths = [float(s) for s in np.atleast_1d(np.asarray(strengths, np.float64))]
        self.powers = [float(s) for s in np.atleast_1d(np.asarray(powers, np.float64))]
        if dim is not None and dim < 1:
            raise BadRecipe(f"cca: dim is {dim}; expected at least 1, or leave it out")
        for name, values in (("strengths", self.strengths), ("powers", self.powers)):
            if not values or not all(0 <= v <= _MOST[name] for v in values):
                raise BadRecipe(
                    f"cca: {name} are {values}; expected one or more finite numbers from 0 on, up to {_MOST[name]:g}"
                )

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Raises BadRecipe for more components than the narrower side has."""
        self._check_dim(min(left.dim, right.dim))

    def solve(self, moments: Moments, validate: Validate | None = None) -> Solution:
        """A map for each side, means subtracted.

        Let X = cov_xx + r_x I and Y = cov_yy + r_y I be the ridged covariances. In the whitened
        coordinates x X^-½ and y Y^-½ correlation is covariance, which an SVD diagonalises:

            X^-½ cov_xy Y^-½ = u diag(s) vᵀ,   A = X^-½ u,   B = Y^-½ v.

        Any root of X⁻¹ will do. With cov_xx = q_x diag(e_x) q_xᵀ it is q_x diag(1 / √(e_x + r_x)), so that
        both decompositions and the product q_xᵀ cov_xy q_y are made once for all strengths.
        """
        e_x, q_x = _decompose(moments.cov_xx)
        e_y, q_y = _decompose(moments.cov_yy)
        cross = q_x.T @ moments.cov_xy @ q_y
        self._check_dim(min(cross.shape))
        rough_x, rough_y = q_x.astype(np.float32), q_y.astype(np.float32)

        def components(strength: float, exact: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            root_x, root_y = _root(e_x, strength), _root(e_y, strength)
            u, s, v = _leading(root_x[:, None] * cross * root_y, self.dim, exact)
            a, b = root_x[:, None] * u[:, : self.dim], root_y[:, None] * v[:, : self.dim]
            if exact:
                a, b = q_x @ a, q_y @ b
            else:
                a, b = rough_x @ a.astype(np.float32), rough_y @ b.astype(np.float32)
            return a, b, np.clip(s[: self.dim], 0.0, 1.0)

        return self._choose(components, moments, validate)

    def solve_tied(self, moments: Moments, validate: Validate | None = None) -> Solution:
        """One map for both sides of one table: moments in which every pair stands in both orders.

        cov_xy is then symmetric and u diag(s) uᵀ of its whitened form an eigendecomposition. Components
        of negative s separate positives, which no tied head can express, so they are left out.
        """
        e, q = _decompose(moments.cov_xx)
        cross = q.T @ moments.cov_xy @ q
        self._check_dim(len(e))

        def components(strength: float, exact: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # always exact
            root = _root(e, strength)
            s, u = np.linalg.eigh(root[:, None] * cross * root)
            keep = np.argsort(-s)[: self.dim]
            keep = keep[s[keep] > 0]
            if not len(keep):
                raise BadData("cca: the two items of a pair correlate positively in no direction; check the pairs")
            a = q @ (root[:, None] * u[:, keep])
            return a, a, s[keep]

        return self._choose(components, moments, validate, tied=True)

    def _choose(
        self, components: Components, moments: Moments, validate: Validate | None, tied: bool = False
    ) -> Solution:
        """The best strength at the middle power, then the best power at that strength, then the form of the scores.

        What was chosen is solved anew, exactly; tied: of one head for both sides all are exact.
        """
        strength, power, refined = _middle(self.strengths), _middle(self.powers), not tied
        tried: dict[tuple[float, float], float] = {}
        best = None

        def scored(a: np.ndarray, b: np.ndarray, s: np.ndarray, power: float, form: str) -> tuple[Affine, Affine]:
            left, right = _scored(a, b, s, power, moments, form)
            return (left, left) if tied else (left, right)

        if validate is not None and len(self.strengths) > 1:
            for r in self.strengths:
                a, b, s = components(r, False)
                tried[r, power] = validate(*scored(a, b, s, power, _forms(s, moments, tied)[0]))
                if best is None or tried[r, power] > tried[strength, power]:
                    strength, best = r, (a, b, s)
        if validate is not None and len(self.powers) > 1:
            a, b, s = components(strength, False) if best is None else best
            for w in self.powers:
                if (strength, w) not in tried:
                    tried[strength, w] = validate(*scored(a, b, s, w, _forms(s, moments, tied)[0]))
            power = max(self.powers, key=lambda w: tried[strength, w])
        a, b, s = components(strength, True) if refined or best is None else best
        forms = _forms(s, moments, tied)
        notes = {"strength": strength, "power": power, "dim": len(s), "correlations": s.tolist()[:10]}
        if tried:
            each = {f"strength {r:g}, power {w:g}": score for (r, w), score in tried.items()}
            notes |= {"chosen_by": "validation", "tried": each}
        if len(forms) > 1 and validate is not None:
            found = {form: validate(*scored(a, b, s, power, form)) for form in forms}
            forms = sorted(forms, key=lambda form: -found[form])
            notes |= {"chosen_by": "validation", "tried_forms": found}
        if forms != ["cosine"]:
            notes |= {"scores_by": forms[0]}
        return Solution(*scored(a, b, s, power, forms[0]), notes)

    def _check_dim(self, most: int) -> None:
        if self.dim is not None and self.dim > most:
            raise BadRecipe(f"cca: dim is {self.dim}, but the narrower side has {most} components; lower objective.dim")


def _leading(matrix: np.ndarray, dim: int | None, exact: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thin SVD u (a, k), s (k,), v (b, k) of a matrix (a, b); of its ``dim`` leading components, where these are few.

    Few of many are found by subspace iteration from random directions (Halko, Martinsson & Tropp 2011, algorithm 4.4),
    half as many again as asked for. Where it need not be exact, by the eigenvectors of the smaller of MᵀM and M Mᵀ, in
    a fourth of the time: it squares the singular values, so that what is below 1e-6 of the first one is rounding.
    Singular vectors of such values say nothing of the matrix, and are 0 in both.
    """
    if dim is not None and min(matrix.shape) >= _WIDE and 4 * dim <= min(matrix.shape):
        span = matrix @ np.random.default_rng(0).standard_normal((matrix.shape[1], dim + dim // 2 + 8))
        for _ in range(_ITERATIONS):
            span = matrix @ np.linalg.qr(matrix.T @ np.linalg.qr(span)[0])[0]
        span = np.linalg.qr(span)[0]
        u, s, vt = np.linalg.svd(span.T @ matrix, full_matrices=False)
        u, v = span @ u, vt.T
    elif exact:
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        v = vt.T
    elif len(matrix) < len(matrix.T):
        v, s, u = _leading(matrix.T, dim, False)
    else:
        squares, v = np.linalg.eigh(matrix.T @ matrix)
        s, v = np.sqrt(np.maximum(squares[::-1], 0.0)), v[:, ::-1][:, :dim]
        s = s[:dim]
        u = matrix @ (v / np.maximum(s, _ROUNDING * s[0] or 1.0))
    known = (s > _ROUNDING * s[0]) | (s[0] == 0)
    return np.where(known, u, 0.0), s, np.where(known, v, 0.0)


def _middle(values: Sequence[float]) -> float:
    return values[len(values) // 2]


def _decompose(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    eigs, q = np.linalg.eigh(covariance)
    eigs = np.maximum(eigs, 0.0)
    if not eigs[-1] > 0:
        raise BadData(
            "cca: one side is constant over the training pairs, or there is one pair alone; check its vectors, or hold "
            "less out: data.test= data.validation="
        )
    return eigs, q


def _root(eigs: np.ndarray, strength: float) -> np.ndarray:
    """1 / √(eigs + r), and 0 for directions that neither data nor ridge determine."""
    total = eigs + strength * eigs.mean()
    known = total > len(eigs) * np.finfo(np.float64).eps * total.max()
    return np.divide(1.0, np.sqrt(total), out=np.zeros_like(total), where=known)


def _forms(correlations: np.ndarray, moments: Moments, tied: bool) -> list[str]:
    """What the scores of these components may be by, the surest first; see :func:`_scored`."""
    if np.count_nonzero(correlations > _ROUNDING * correlations[0]) == 1:  # the others are rounding
        if tied:
            return ["distance"]
        return ["distance", "size"] if moments.centres is None else ["size", "distance"]
    return ["cosine"] if tied or moments.centres is None else ["size", "cosine"]


def _scored(
    a: np.ndarray, b: np.ndarray, correlations: np.ndarray, power: float, moments: Moments, form: str
) -> tuple[Affine, Affine]:
    """Maps of both sides, columns times their correlations to ``power``, whose cosines are scores.

    With z = x a and w = y b, of a mean square of 1, form "cosine" has these alone. "size": (z, c, 0) and (w, 0, c), so
    that the score is z·w / √((|z|² + c²) (|w|² + c²)): of a query it grows with the candidate's length, as the
    probability of its class does. Of two classes, with one component, this is the order of linear discriminants.
    z and w are about the mean of the class means, where classes are known, so that these count alike. "distance":
    (z, 1) and (w, 1), of one component: the score falls with |arctan z - arctan w|, so that near ones go together.
    """
    weights = correlations**power
    if form == "cosine":
        return _weighted(a, b, weights, moments)
    known = correlations > _ROUNDING * correlations[0]
    means = (moments.mean_x, moments.mean_y) if moments.centres is None else moments.centres
    sides = []
    for k, (map_, mean, covariance) in enumerate(zip((a, b), means, (moments.cov_xx, moments.cov_yy), strict=True)):
        columns = np.asarray(map_[:, known], np.float64) * weights[known]
        columns /= np.sqrt(max(float(np.sum(columns * (covariance @ columns))), 0.0)) or 1.0
        constant = np.array([1.0]) if form == "distance" else _CONSTANT * np.eye(2)[k]
        weight = np.hstack([columns, np.zeros((len(columns), len(constant)))])
        sides.append(Affine(weight, np.concatenate([-mean @ columns, constant])))
    return sides[0], sides[1]


def _weighted(a: np.ndarray, b: np.ndarray, weights: np.ndarray, moments: Moments) -> tuple[Affine, Affine]:
    a, b = a * weights, b * weights
    return Affine(a, -moments.mean_x @ a), Affine(b, -moments.mean_y @ b)
