"""What objectives must have: closed forms and trained ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sensorium.errors import BadRecipe
from sensorium.types import Affine, Embeddings, Solution

if TYPE_CHECKING:  # annotations only: nothing here is imported when the package is
    from torch import Tensor, nn

    from sensorium.numerics.moments import Moments
    from sensorium.pairs import Pairs
    from sensorium.pairs.positives import Positives

from sensorium.contracts._heads import Head

Validate = Callable[[Affine | None, Affine | None], float]  #: measures a pair of maps on held-out pairs


class Objective(Protocol):
    """What a fit optimises: :class:`ClosedFormObjective`, :class:`TrainedObjective` or :class:`MixtureObjective`."""

    closed_form: bool
    mixture: bool = False  #: made of members with objectives of their own
    keeps_own: bool = False  #: has a key ``own``: the trained objective of a recipe in whose place it comes
    gives_probabilities: bool = False  #: scores of all classes can be turned into their probabilities

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Called before anything is embedded, with zeros as vectors and the training pairs. Raises BadRecipe."""

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Scores (n, c) as probabilities (n, c), float64, rows adding up to 1. Raises BadRecipe where undefined."""
        name = type(self).__name__.lower()
        raise BadRecipe(f"objective '{name}' gives no probabilities of classes; type: objective=cross_entropy")


class ClosedFormObjective(Objective, Protocol):
    """An objective with an exact solution from the means and covariances of the training pairs.

    Example::

        import numpy as np
        from sensorium.contracts import ClosedFormObjective
        from sensorium.types import Affine, Solution

        class LeastSquares(ClosedFormObjective):
            def solve(self, moments, validate=None):
                weight = np.linalg.lstsq(moments.cov_xx, moments.cov_xy, rcond=None)[0]
                return Solution(Affine(weight, moments.mean_y - moments.mean_x @ weight), None, {})
    """

    closed_form: bool = True
    tied: bool = False  #: has ``solve_tied``: one map for both sides of one table
    reads_items: bool = False  #: has ``solve_items``: reads the items' columns beside their vectors
    needs: Sequence[str] = ("xx", "xy")  #: covariances it reads, of "xx", "yy" and "xy"
    seconds_left: Callable[[], float] | None = None  #: told by a fit with a limit; what iterates ends by then

    @abstractmethod
    def solve(self, moments: Moments, validate: Validate | None = None) -> Solution:
        """A map for each side. validate: scores two maps on held-out pairs; None without validation pairs."""

    def solve_tied(self, moments: Moments, validate: Validate | None = None) -> Solution:
        """One map for both sides of one table, each pair counted in both orders."""
        raise BadRecipe(f"objective '{type(self).__name__.lower()}' maps one table into another; type: objective=cca")

    def solve_items(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> Solution:
        """A map for each side, of tables with their columns and all pairs with their splits; in place of ``solve``."""
        raise BadRecipe(f"objective '{type(self).__name__}' sets reads_items but has no solve_items(); unset it")


class TrainedObjective(Objective, Protocol):
    """A loss of a batch of pairs, minimised by gradient descent: a ``torch.nn.Module``, named first among the bases.

    Example::

        import torch
        from sensorium.contracts import TrainedObjective

        class Distance(torch.nn.Module, TrainedObjective):
            def loss(self, zl, zr, positives):
                return (zl - zr).square().sum(1).mean()
    """

    closed_form: bool = False
    gives_gradients: bool = False  #: has ``gradients`` and ``learned``, for the fused training step
    takes_mixtures: bool = True  #: works on mixtures of items (train.mixup)
    score_temperature: float = 0.07  #: scores divided by this are its logits; what an ensemble is distilled with

    def prepare(self, left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Head, right_head: Head) -> None:
        """Called once before training, with the training pairs and the built heads."""

    @abstractmethod
    def loss(self, zl: Tensor, zr: Tensor, positives: Positives) -> Tensor:
        """Loss of a batch, 0-d: zl, zr (b, d), row i of each a true pair; positives: all true pairs among them."""

    def gradients(self, zl: Tensor, zr: Tensor, positives: Positives, sides: tuple[bool, bool] = (True, True),
                  bound: float | None = None) -> Any:  # fmt: skip
        """The loss with its gradients to zl and zr; see ``objectives._contrastive.Gradients``."""
        raise BadRecipe(f"objective '{type(self).__name__}' sets gives_gradients but has no gradients(); unset it")

    def learned(self, found: Any) -> list[tuple[nn.Parameter, Tensor]]:
        """The objective's own parameters, each with its gradient, of what :meth:`gradients` returned."""
        return []


@dataclass(frozen=True)
class Member:
    """A member of a mixture: an objective, and what it fits.

    name: what the report calls it. head: part of both sides' heads, by name or with keys; None for the recipe's own,
    keys without a name for the recipe's own with these changed.
    A closed form makes its head itself, unless it works on the output of one that is not trained. seeds: so many fits,
    each with a seed of its own, whose scores are averaged; of a closed form one. right_head: of the right side where it
    is another, or has other keys changed. options: keys of [train] for this member where the recipe leaves them at
    their defaults. variance: of ``auto``, a share: a perceptron of standardised inputs is trained on the principal
    components that hold it of their variance, where these are at most a fourth of the inputs' numbers; 0 for none.
    """

    name: str
    objective: ClosedFormObjective | TrainedObjective
    head: str | Mapping[str, Any] | None = None
    seeds: int = 1
    right_head: str | Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    variance: float = 0.0


class MixtureObjective(Objective, Protocol):
    """Several objectives, each fitted alone; their scores are added with weights that validation chooses.

    Example::

        from sensorium import parts
        from sensorium.contracts import Member, MixtureObjective

        class Both(MixtureObjective):
            def __init__(self):
                names = ("ridge", "cca")
                self.members = [Member(name, parts.make("objectives", name)) for name in names]
    """

    closed_form: bool = False
    mixture: bool = True
    members: Sequence[Member]
    corrected: bool = True  #: weights are chosen with scores corrected for hubs, as a run is searched
    powers: Sequence[float] = (1.0,)  #: signed powers of the inputs that are tried; the first without a closed form
    own: TrainedObjective | None = None  #: of the recipe's own heads, of an adaptive one that keeps it
    adaptive: bool = False  #: members are chosen by the data with ``chosen``, and those that do not apply left out
    seconds: float = 0.0  #: that an adaptive one may take where train.seconds does not say; 0 for no limit
    most: int = 5  #: trained fits of an adaptive one in all
    least: int = 0  #: training items of a side from which trained members of an adaptive one are tried

    def chosen(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> Sequence[Member]:
        """The members for these data, in the order in which they are tried; the same for vectors of zeros."""
        return self.members
