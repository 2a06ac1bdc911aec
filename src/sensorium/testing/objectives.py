"""Rules of objectives, closed-form and trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import BadRecipe
from sensorium.heads.identity import Identity
from sensorium.numerics import affect, unit
from sensorium.numerics.moments import Moments
from sensorium.pairs import Pairs
from sensorium.pairs.positives import BatchPositives, Positives
from sensorium.testing.rules import Skip
from sensorium.types import Affine, Embeddings, Solution

_N, _D = 24, 8


class Subject:
    """An objective, and 24 items of width 8 on each side, related one to one."""

    def __init__(self, make: Callable[[], Any], values: Sequence[Any] | None) -> None:
        random = np.random.default_rng(0)
        self.make, self.objective = make, make()
        self.right = unit(random.standard_normal((_N, _D)))
        self.left = unit(self.right + 0.3 * random.standard_normal((_N, _D)))
        ids = np.arange(_N).astype(str)
        self.tables = [Embeddings(ids, x.astype(np.float32), {"name": "sample"}) for x in (self.left, self.right)]
        self.pairs = Pairs.of(np.arange(_N), np.arange(_N))
        self.positives = BatchPositives(self.pairs).of(np.arange(_N), np.arange(_N))

    def prepared(self) -> Any:
        """A new objective, prepared with the training pairs."""
        objective = self.make()
        heads = [Identity(normalize=False) for _ in range(2)]
        for head in heads:
            head.build(_D)
        objective.prepare(*self.tables, self.pairs, *heads)
        return objective

    def loss(self, zl: np.ndarray, zr: np.ndarray, positives: Positives | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The loss in float64 and its gradients to both sides; the same random numbers each time."""
        torch.manual_seed(0)
        left, right = (torch.tensor(z, dtype=torch.float64, requires_grad=True) for z in (zl, zr))
        loss = self.prepared().loss(left, right, positives or self.positives)
        grads = torch.autograd.grad(loss, (left, right), allow_unused=True)
        return loss.detach(), *(
            torch.zeros_like(z) if g is None else g for g, z in zip(grads, (left, right), strict=True)
        )


def finite(s: Subject) -> None:
    """The loss of a batch is one finite number."""
    loss, *_ = s.loss(s.left, s.right)
    assert loss.ndim == 0, f"shape {tuple(loss.shape)}, expected one number"
    assert torch.isfinite(loss), f"the loss is {loss.item()}"


def gradients_finite(s: Subject) -> None:
    """Its gradients are finite for usual rows, equal rows, perfect pairs and rows that are all one vector."""
    one = np.tile(s.right[:1], (_N, 1))
    cases = {"usual rows": (s.left, s.right), "perfect pairs": (s.right, s.right),
             "opposite pairs": (-s.right, s.right), "rows that are all one vector": (one, one)}  # fmt: skip
    for what, (zl, zr) in cases.items():
        loss, *grads = s.loss(zl, zr)
        assert torch.isfinite(loss), f"for {what} the loss is {loss.item()}"
        assert all(torch.isfinite(grad).all() for grad in grads), f"for {what} a gradient is NaN or infinite"


def gradients_right(s: Subject) -> None:
    """Its gradient is the slope of its loss, by finite differences."""
    random = np.random.default_rng(1)
    _, *grads = s.loss(s.left, s.right)
    for side in range(2):
        direction = random.standard_normal((_N, _D))
        moved = []
        for sign in (1, -1):
            z = [s.left, s.right]
            z[side] = z[side] + sign * 1e-5 * direction
            moved.append(float(s.loss(*z)[0]))
        slope, gradient = (moved[0] - moved[1]) / 2e-5, float((grads[side] * torch.from_numpy(direction)).sum())
        assert abs(slope - gradient) <= 1e-3 * max(1.0, abs(slope)), f"gradient {gradient:.6g}, slope {slope:.6g}"


def prefers(s: Subject) -> None:
    """True pairs have a lower loss than the same rows paired wrongly."""
    right, wrong = s.loss(s.right, s.right)[0], s.loss(np.roll(s.right, 1, axis=0), s.right)[0]
    assert right < wrong, f"loss {right:.4g} of true pairs, {wrong:.4g} of wrong ones"


def gradients_agree(s: Subject) -> None:
    """The gradients that it computes itself equal those of autograd."""
    if not s.objective.gives_gradients:
        raise Skip("gives_gradients is False")
    loss, *expected = s.loss(s.left, s.right)
    torch.manual_seed(0)
    left, right = (torch.tensor(z, dtype=torch.float64) for z in (s.left, s.right))
    with torch.no_grad():
        found = s.prepared().gradients(left, right, s.positives)
    assert abs(float(found.loss - loss)) <= 1e-6 * max(1.0, abs(float(loss))), f"loss {found.loss} against {loss}"
    for name, got, want in zip(("left", "right"), (found.zl, found.zr), expected, strict=True):
        off = float((got - want).abs().max() / want.abs().max().clamp_min(1e-12))
        assert off <= 1e-5, f"the gradient to the {name} side differs by {off:.2g} of its largest number"


def probable(s: Subject) -> None:
    """Probabilities are from 0 to 1, add up to 1, and grow with the scores; or are refused by BadRecipe."""
    scores = np.random.default_rng(0).standard_normal((6, 5))
    if not s.objective.gives_probabilities:
        try:
            s.objective.probabilities(scores)
        except BadRecipe:
            raise Skip("gives_probabilities is False") from None
        raise AssertionError("gives_probabilities is False, but probabilities() answers")
    p = s.objective.probabilities(scores)
    assert p.shape == scores.shape, f"shape {p.shape} of scores {scores.shape}"
    assert ((p >= 0) & (p <= 1)).all() and np.allclose(p.sum(1), 1), f"rows add up to {p.sum(1)}"
    assert (np.argsort(p, axis=1) == np.argsort(scores, axis=1)).all(), "a lower score has a higher probability"
    far = s.objective.probabilities(1e4 * scores)
    assert np.isfinite(far).all(), "not finite for scores of 10,000"


def solved(s: Subject) -> None:
    """Solving needs no more than the covariances it names (or columns), and gives finite maps of the right shapes."""
    for affine, d in zip(_solved(s), (_D, _D), strict=True):
        if affine is not None:
            assert affine.weight.shape[0] == d, f"weight of shape {affine.weight.shape} for inputs of {d}"
            assert affine.bias.shape == affine.weight.shape[1:], (
                f"bias {affine.bias.shape}, weight {affine.weight.shape}"
            )
            assert np.isfinite(affine.weight).all() and np.isfinite(affine.bias).all(), "NaN or infinity"


def solved_well(s: Subject) -> None:
    """After the solution true pairs are nearer than wrong ones."""
    left, right = _solved(s)
    x, y = _related()
    zl, zr = unit(x if left is None else left(x)), unit(y if right is None else right(y))
    assert zl.shape == zr.shape, f"outputs of width {zl.shape[1]} and {zr.shape[1]}"
    true, wrong = (zl * zr).sum(1).mean(), (zl * np.roll(zr, 1, axis=0)).sum(1).mean()
    assert true > wrong + 0.1, f"mean cosine {true:.3f} of true pairs, {wrong:.3f} of wrong ones"


def tied(s: Subject) -> None:
    """One map serves both sides of one table where it says so; else that is refused by BadRecipe."""
    x, y = _related()
    y = x + 0.1 * (y - y.mean(0))
    moments = Moments(_D, _D, ("xx", "yy", "xy")).update(x, y).update(y, x)
    if not s.objective.tied:
        try:
            s.objective.solve_tied(moments)
        except BadRecipe:
            raise Skip("tied is False") from None
        raise AssertionError("tied is False, but solve_tied() answers")
    solution = s.objective.solve_tied(moments)
    assert isinstance(solution.left, Affine), f"the left map is {type(solution.left).__name__}"
    np.testing.assert_allclose(solution.left.weight, solution.right.weight, atol=1e-9)


def _related() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    x = random.standard_normal((200, _D))
    rotation = np.linalg.qr(random.standard_normal((_D, _D)))[0]
    return x, x @ rotation + 0.2 * random.standard_normal((200, _D)) + 1


def _solved(s: Subject) -> tuple[Affine | None, Affine | None]:
    x, y = _related()
    if s.objective.reads_items:
        solution = s.make().solve_items(*_labelled(x, y), Pairs.of(np.arange(len(x)), np.arange(len(x))))
    else:
        solution = s.make().solve(Moments(_D, _D, tuple(s.objective.needs)).update(x, y))
    assert isinstance(solution, Solution), f"solve gives {type(solution).__name__}"
    return solution.left, solution.right


def _labelled(x: np.ndarray, y: np.ndarray) -> list[Embeddings]:
    """Tables of related rows with a column of emotions, which the rows decide."""
    known = list(affect.RATINGS)
    distances = np.square(x[:, None, :3] / 2 - affect.vads(known)[None]).sum(2)
    meta = {"emotion": np.array(known)[distances.argmin(1)]}
    ids = np.arange(len(x)).astype(str)
    return [Embeddings(ids, z.astype(np.float32), {"name": "sample"}, meta) for z in (x, y)]


def mixed(s: Subject) -> None:
    """It has members, each a closed form or a trained objective, and powers of the inputs above 0."""
    assert len(s.objective.members) >= 1, "it has no members"
    for member in s.objective.members:
        assert not member.objective.mixture, f"member {member.name} is a mixture"
        assert member.seeds >= 1, f"member {member.name} has {member.seeds} seeds"
        assert member.seeds == 1 or not member.objective.closed_form, f"member {member.name} is solved exactly"
    assert all(power > 0 for power in s.objective.powers), f"powers {s.objective.powers}"


def RULES(s: Subject) -> tuple[Callable[[Subject], None], ...]:
    """The rules of a closed form, of a mixture, or of a trained objective."""
    if s.objective.mixture:
        return mixed, probable
    if s.objective.closed_form:
        return solved, solved_well, tied, probable
    return finite, gradients_finite, gradients_right, prefers, gradients_agree, probable
