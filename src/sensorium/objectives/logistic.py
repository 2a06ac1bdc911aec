"""Multinomial logistic regression of both sides: classes of the relation, each side by its own vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sensorium.contracts import ClosedFormObjective, Validate
from sensorium.errors import BadRecipe
from sensorium.numerics.moments import Moments
from sensorium.objectives._class_codes import ClassWords, average_precision, sure_logits
from sensorium.pairs import Pairs
from sensorium.types import Affine, Embeddings, Solution

_MOST = 1e6  # strength
_ROUNDS = 60  # of L-BFGS
_AT_ONCE = 5  # rounds between two looks at the time


class Logistic(ClosedFormObjective):
    """min over W, b of  -mean log softmax(x W + b)_class + λ/2 |W|²  of standardised inputs, classes counting alike.

    The problem is convex: its solution is found to machine precision by L-BFGS (Liu & Nocedal 1989), whatever the
    start. Where a fit has a limit of time (``seconds_left``), it ends with what it has by then. For heads
    ``posterior``, whose scores are then probabilities that both items are of one class. Where the right items are a
    class table, they are the classes, and only the left side is solved for.

    column: of class words, on both sides, where the data say no classes by data.relevant.
    strengths: λ, from 0.000001 to 1,000,000; one, or several of which each side takes the one whose classes find its
        validation items best (mean average precision), the middle one without validation items.
    """

    needs = ()
    reads_items = True

    def __init__(
        self, column: str = "emotion", strengths: float | Sequence[float] = (0.0003, 0.003, 0.01, 0.03, 0.3)
    ) -> None:
        self.strengths = [float(s) for s in np.atleast_1d(np.asarray(strengths, np.float64))]
        if not self.strengths or not all(1 / _MOST <= s <= _MOST for s in self.strengths):
            raise BadRecipe(f"objective.strengths={self.strengths}; expected one or more numbers from {1 / _MOST:f} to "
                            f"{_MOST:,.0f}")  # fmt: skip
        self.words = ClassWords("logistic", column)

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Raises BadRecipe without classes on a side, BadData for fewer than two that both sides have."""
        self.words.classes(left, right, pairs)

    def solve(self, moments: Moments, validate: Validate | None = None) -> Solution:
        """Raises BadRecipe: moments of vectors do not hold the classes; :meth:`solve_items` reads them."""
        raise BadRecipe("objective 'logistic' reads the items' classes; type: data.relevant=COLUMN")

    def solve_items(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> Solution:
        """Logits of the raw vectors of each side."""
        related = pairs.where(label=1)
        drawn = bool((related.split != "").any())
        train, held = (related.where("train") if drawn else related), related.where("validation")
        codes, names = self.words.classes(left, right, train, related)
        affines, notes = [], {"classes": len(names)}
        for side, table, code in zip(("left", "right"), (left, right), codes, strict=True):
            if side == "right" and self.words.of_table(left, right, pairs):
                affines.append(sure_logits(right.vectors, code, len(names)))
                continue
            rows, others = (np.unique(part.left if side == "left" else part.right) for part in (train, held))
            affine, notes[side] = self._side(table, rows[code[rows] >= 0], others[code[others] >= 0], code, len(names))
            affines.append(affine)
        return Solution(*affines, notes)

    def _over(self) -> bool:
        return self.seconds_left is not None and self.seconds_left() <= 0

    def _side(
        self, table: Embeddings, rows: np.ndarray, held: np.ndarray, code: np.ndarray, c: int
    ) -> tuple[Affine, dict[str, Any]]:
        x = np.asarray(table.vectors[rows], np.float64)
        mean, deviation = x.mean(0), x.std(0)
        scale = np.divide(
            1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-9 * deviation.max(initial=0)
        )
        z, found, path, start = (x - mean) * scale, {}, {}, None
        chosen = len(self.strengths) > 1 and len(held) > 0
        for strength in sorted(self.strengths, reverse=True) if chosen else [self.strengths[len(self.strengths) // 2]]:
            if path and self._over():
                break
            start = minimum(z, code[rows], c, strength, start, self._over)
            weight = scale[:, None] * start[:-1]
            path[strength] = Affine(weight, start[-1] - mean @ weight)
            if chosen:
                found[strength] = average_precision(
                    path[strength](np.asarray(table.vectors[held], np.float64)), code[held]
                )
        best = max(found, key=found.__getitem__) if chosen else next(iter(path))
        return path[best], {"strength": best, **({"chosen_by": "validation", "tried": found} if chosen else {})}


def minimum(
    x: np.ndarray, code: np.ndarray, c: int, strength: float, start: np.ndarray | None = None,
    over: Callable[[], bool] = lambda: False,
) -> np.ndarray:  # fmt: skip
    """W with b below it, (d + 1, c), at which the loss is smallest. x (n, d); code (n,) of c classes.

    over: whether the time is over: the loss is then what the iterations so far have made it.
    """
    import torch

    x, code = torch.from_numpy(x), torch.from_numpy(code)
    count = torch.bincount(code, minlength=c).double()
    each = torch.where(count > 0, 1 / count.clamp_min(1), 0.0)[code]
    each = each / each.sum()
    both = torch.zeros(x.shape[1] + 1, c, dtype=torch.float64) if start is None else torch.from_numpy(start.copy())
    both.requires_grad_(True)
    solver = torch.optim.LBFGS([both], max_iter=_AT_ONCE, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        logits = torch.addmm(both[-1], x, both[:-1])
        value = -(each * logits.log_softmax(1).gather(1, code[:, None])[:, 0]).sum()
        value = value + strength / 2 * both[:-1].square().sum()
        value.backward()
        return value

    for _ in range(_ROUNDS // _AT_ONCE):
        solver.step(loss)  # it goes on with the curvature it knows
        if over():
            break
    return both.detach().numpy()
