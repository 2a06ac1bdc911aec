"""Closed forms on tables: moments of the related training pairs, one solution, two fitted heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sensorium import parts
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting import partial_moments
from sensorium.fitting.features import Mapped, seen
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.held_out import HeldOut
from sensorium.numerics import unit
from sensorium.numerics.moments import InputStats, Moments
from sensorium.pairs import Pairs, csr
from sensorium.types import Affine, Embeddings, Solution, blocks, rows_within

_BLOCK = 8192  # pairs gathered at once
_MANY = 10_000  # pairs of float32 vectors from which float32 products are exact enough: see Moments


Statistics = Callable[[Embeddings, np.ndarray], InputStats | None]  #: of some rows of a table


def of_rows(table: Embeddings, rows: np.ndarray) -> InputStats:
    """Statistics of some rows, each counted once."""
    return InputStats.of(table.vectors, csr.distinct(rows))


def solve(
    left: Embeddings,
    right: Embeddings,
    pairs: Pairs,
    left_head: Any,
    right_head: Any,
    objective: Any,
    moments: Moments | None = None,
) -> Fitted:
    """Fit both heads by a closed-form objective in one pass over the related training pairs.

    The components of a pca head stay fixed, and the objective works on its output; so do random features. Any other
    head is replaced by the ``linear`` (or ``identity``) head that holds the solution. Pairs of the split
    "train" (of all, when none is assigned) with label 1 count, each once, so an item in five
    pairs counts five times. The objective's hyperparameters are chosen by mean reciprocal rank,
    in both directions, over at most 1,000 validation pairs, a seeded draw. moments: of :func:`moments_between`
    with the same heads, when several objectives are solved from one pass.

    Raises BadData without related training pairs or on sequences of frames; BadRecipe when the
    objective cannot fit one head for both sides of one table, or the widths do not fit.
    """
    solution, sides = closed_form(left, right, pairs, left_head, right_head, objective, moments)
    notes = {"pairs": int(np.count_nonzero(training_pairs(pairs).label == 1)), **solution.notes}
    heads, names = {}, {}
    for name, side, affine in zip(("left", "right"), sides, (solution.left, solution.right), strict=True):
        heads[name], part = side.fitted(affine)
        if part is not None:
            names[name] = part
    if pairs.same_table:
        heads["right"] = heads["left"]
    return Fitted(heads["left"], heads["right"], [], notes, names)


def closed_form(
    left: Embeddings,
    right: Embeddings,
    pairs: Pairs,
    left_head: Any,
    right_head: Any,
    objective: Any,
    moments: Moments | None = None,
) -> tuple[Solution, tuple[Side, Side]]:
    """The solution, one map per side of that side's input (raw, or the output of an untrained pca head); both sides."""
    _check_tied(pairs, objective)
    sides, training = sides_of(left, right, pairs, left_head, right_head)
    if objective.reads_items:
        return objective.solve_items(sides[0].seen(), sides[1].seen(), pairs), sides
    if moments is None:
        moments = moments_of(sides, training, objective.needs)
    solve_form = objective.solve_tied if pairs.same_table else objective.solve
    return solve_form(moments, validation(sides, pairs)), sides


def check(
    left: Embeddings,
    right: Embeddings,
    pairs: Pairs,
    left_head: Any,
    right_head: Any,
    objective: Any,
    statistics: Statistics = of_rows,
) -> None:
    """Raise what :func:`solve` would for these heads, widths and pairs; the vectors' values are not read."""
    _check_tied(pairs, objective)
    sides, training = sides_of(left, right, pairs, left_head, right_head, statistics)
    tables = [replace(side.table, vectors=zeros(len(side.table), side.dim)) for side in sides]
    objective.check(*tables, training)


def zeros(n: int, dim: int) -> np.ndarray:
    """(n, dim) float32 zeros that take no memory."""
    return np.broadcast_to(np.zeros((), np.float32), (n, dim))


def _check_tied(pairs: Pairs, objective: Any) -> None:
    """Raise BadRecipe where both sides are one table and the objective cannot fit one head for both."""
    if pairs.same_table and not objective.tied:
        raise BadRecipe(
            f"objective '{type(objective).__name__.lower()}' maps one table into another, but both sides are one table "
            "here; type: objective=cca"
        )


def moments_between(
    left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Any, right_head: Any, needs: Sequence[str]
) -> Moments:
    """Moments of the related training pairs, after pca heads if any, from which several objectives can be solved."""
    sides, training = sides_of(left, right, pairs, left_head, right_head)
    return moments_of(sides, training, needs)


def sides_of(
    left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Any, right_head: Any, statistics: Statistics = of_rows
) -> tuple[tuple[Side, Side], Pairs]:
    """Both sides and the related training pairs; raises BadData where a closed form has nothing to take."""
    for name, table in (("left", left), ("right", right)):
        if table.offsets is not None:
            raise BadData(
                f"the {name} items are sequences of frames, which no closed form takes; pool them in the encoder, "
                "or train a head that takes frames (lstm) with objective=cross_entropy or infonce"
            )
    training = training_pairs(pairs).where(label=1)
    if not len(training):
        raise BadData("no related pair (label 1) in the train split, so there is nothing to fit")
    if pairs.same_table:
        one = Side.of(left, left_head, np.concatenate([training.left, training.right]), statistics)
        sides = (one, one)
    else:
        sides = (
            Side.of(left, left_head, training.left, statistics),
            Side.of(right, right_head, training.right, statistics),
        )
    return sides, training


def training_pairs(pairs: Pairs) -> Pairs:
    """The pairs of the split "train", or all when no split is assigned."""
    return pairs.where("train") if (pairs.split != "").any() else pairs


@dataclass(frozen=True)
class Side:
    """One table and the map of its rows before the objective: that of a head that is not trained.

    before: the linear map of a head that is not trained, or None. unit: rows are scaled to unit length instead. Of a
    head with ``features`` the table is what its layers take. lifted: rows are features of a head with ``lift``.
    """

    table: Embeddings
    head: Any
    before: Affine | None
    unit: bool
    lifted: bool = False

    @classmethod
    def of(cls, table: Embeddings, head: Any, rows: np.ndarray, statistics: Statistics = of_rows) -> Side:
        """A side; a head that is not trained is built from the training rows where it has no weights yet."""
        if head is not None and head.features is not None:
            if head.dim is None:
                head.build(table.dim, statistics(seen(table, head), rows))
            inputs = Mapped(table.vectors, head.affine_layers().preprocess)
            return cls(replace(table, vectors=inputs), head, None, False)
        if head is not None and head.lift_dim is not None:
            if head.dim is None:
                head.build(table.dim, statistics(table, rows))
            return cls(table, head, None, False, True)
        if head is None or head.trainable:
            return cls(table, head, None, False)
        if isinstance(head, parts.find("heads", "identity")):
            head.build(table.dim)
            return cls(table, head, None, head.normalize)
        if head.dim is None:
            head.build(table.dim, statistics(table, rows))
        before = head.affine()
        if before is None:
            raise BadRecipe(
                f"the {type(head).__name__} head is not trained and its affine() is None, but a closed form needs a "
                "linear map; use identity, pca or linear, or train the other side"
            )
        return cls(table, head, before, False)

    @property
    def dim(self) -> int:
        """Width of a row as the objective sees it."""
        if self.lifted:
            return self.head.lift_dim
        return self.table.dim if self.before is None else len(self.before.bias)

    def rows(self, which: np.ndarray) -> np.ndarray:
        """Rows (b, d) as the objective sees them: of the table's precision, or float64 after ``before``."""
        x = np.asarray(self.table.vectors[which])
        x = x.astype(np.float32) if x.dtype == np.float16 else x
        if self.unit:
            return unit(x)
        if self.lifted:
            return lifted(self.head, x)
        return x if self.before is None else self.before(x.astype(np.float64))

    def seen(self) -> Embeddings:
        """The table as the objective sees it."""
        if self.before is None and not self.unit and not self.lifted:
            return self.table
        return replace(self.table, vectors=self.rows(np.arange(len(self.table))))

    def fitted(self, affine: Affine | None) -> tuple[Any, str | None]:
        """The head that applies these steps and then ``affine``; and its part's name where the recipe names another."""
        if affine is None and self.lifted:
            affine = Affine(np.eye(self.dim), np.zeros(self.dim))
        if affine is None and self.head is not None and not self.head.trainable:
            return self.head, None
        if self.head is not None and (self.head.solved or self.head.features is not None):
            if self.head.dim is None:
                self.head.build(self.table.dim)
            if affine is not None:
                self.head.initialise(affine)
            return self.head, None
        if affine is None:
            head = parts.make("heads", "identity")
            head.build(self.table.dim)
            return head, "identity"
        if self.before is not None:
            affine = Affine(self.before.weight @ affine.weight, affine(self.before.bias))
        normalize = True if self.head is None else self.head.arguments.get("normalize", True)
        head = parts.make("heads", {"name": "linear", "dim": len(affine.bias), "normalize": normalize,
                                    "preprocess": "unit" if self.unit else "none"})  # fmt: skip
        head.build(self.table.dim)
        head.set_affine(affine)
        return head, "linear"


def lifted(head: Any, x: np.ndarray) -> np.ndarray:
    """Features (b, m) float32 of rows x (b, d) by a head with ``lift``."""
    import torch

    with torch.inference_mode():
        return head.lift(torch.from_numpy(np.asarray(x, np.float32))).numpy()


def moments_of(sides: tuple[Side, Side], training: Pairs, needs: Sequence[str]) -> Moments:
    """Moments of the related pairs, gathered in blocks; in both orders within one table."""
    both = training.left, training.right
    first = int(len(csr.distinct(both[1])) < len(csr.distinct(both[0])))  # the side whose rows repeat more often
    # Neighbouring rows together, so that a memory map is read forwards.
    order = np.lexsort((both[1 - first], both[first]))
    kinds = {side.rows(rows[order[:1]]).dtype for side, rows in zip(sides, both, strict=True)}
    narrow = len(order) >= _MANY and kinds == {np.dtype(np.float32)}
    moments = partial_moments.of(partial_moments.Pass(
        sides, first, both[first][order], both[1 - first][order], training.same_table, tuple(needs),
        "float32" if narrow else "float64",
    ))  # fmt: skip
    if training.classes is not None:
        moments.set_cross(*between_classes(sides, training, moments))
    return moments


def between_classes(
    sides: tuple[Side, Side], training: Pairs, moments: Moments
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Covariance of x with y, (d_x, d_y), where a row goes with every row of its class; the means of class means.

    With p_k the share of class k among the listed pairs it is Σ_k p_k (mean_x,k - mean_x) (mean_y,k - mean_y)ᵀ: of a
    row of x with the mean of its partners.
    """
    code = np.unique(training.classes.left[training.left], return_inverse=True)[1]
    share = np.bincount(code) / len(code)
    means = []
    for side, rows, mean in zip(sides, (training.left, training.right), (moments.mean_x, moments.mean_y), strict=True):
        total = np.zeros((len(share), len(mean)))
        for part in blocks(len(rows), rows_within(side.table.dim, _BLOCK)):
            np.add.at(total, code[part], side.rows(rows[part]))
        means.append(total / (share * len(code))[:, None] - mean)
    centres = moments.mean_x + means[0].mean(0), moments.mean_y + means[1].mean(0)
    return means[0].T @ (share[:, None] * means[1]), centres


def validation(sides: tuple[Side, Side], pairs: Pairs) -> Callable[[Affine | None, Affine | None], float] | None:
    """Scores two maps by retrieval of held-out positives, see :class:`.held_out.HeldOut`; None without any."""
    held_out = HeldOut.of(sides, pairs)
    return None if held_out is None else held_out.measure()
