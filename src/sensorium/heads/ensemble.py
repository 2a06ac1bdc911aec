"""An ensemble of equal heads as one head: its scores are the means of the members' scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sensorium import parts
from sensorium.contracts import Head, State
from sensorium.errors import BadRecipe
from sensorium.numerics.moments import InputStats

COMBINE = ("concatenate", "mean")
_MOST = 1000  # members


class Ensemble(nn.Module, Head):
    """Outputs of the members side by side / √K, or their mean.

    head: the members' part, by its name or as ``{name = "mlp", hidden = 512}``. members: their number K.
    combine: "concatenate", where the other side is such an ensemble too: the inner product of two outputs is then the
    mean of the members' inner products (deep ensembles, Lakshminarayanan et al. 2017, of scores). "mean", where the
    other side has one head for all members: of such a side, mean_k ⟨z_k, y⟩ = ⟨mean_k z_k, y⟩.

    ``train.members=K`` fits each member alone, with a seed of its own, and saves this head. Named in a recipe as a
    side's head, all members are trained together. Queries of sets, sequences and streams work where the members'
    part has them. Raises BadRecipe for invalid values.
    """

    def __init__(
        self, head: str | Mapping[str, Any] = "linear", members: int = 2, combine: str = "concatenate"
    ) -> None:
        super().__init__()
        if not 1 <= members <= _MOST:
            raise BadRecipe(f"ensemble: members={members}; expected a whole number, 1 to {_MOST}")
        if combine not in COMBINE:
            raise BadRecipe(f"ensemble: combine={combine!r}; expected {' or '.join(COMBINE)}")
        name = head if isinstance(head, str) else head.get("name", "")
        if name == "ensemble":
            raise BadRecipe("ensemble: its members cannot be ensembles; name another head, such as mlp")
        self._hold(name, [parts.make("heads", head, "ensemble.head") for _ in range(members)], combine)

    @classmethod
    def of(cls, name: str, members: Sequence[Head], combine: str = "concatenate") -> Ensemble:
        """The ensemble of built heads. name: what ``parts.find("heads", name)`` finds their part by."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._hold(name, members, combine)
        made._widths()
        return made.eval()

    def _hold(self, name: str, members: Sequence[Any], combine: str) -> None:
        first = members[0]
        self.arguments = {"head": {"name": name, **first.arguments}, "members": len(members), "combine": combine}
        self.members, self.joined = nn.ModuleList(members), combine == "concatenate"
        self.trainable, self.takes_vectors, self.takes_sequences = (
            first.trainable, first.takes_vectors, first.takes_sequences)  # fmt: skip
        self.streams, self.takes_sets = first.streams, first.takes_sets
        self.normalize = first.normalize and (self.joined or len(members) == 1)

    def _widths(self) -> None:
        self.dim_in = self.members[0].dim_in
        self.dim = sum(member.dim for member in self.members) if self.joined else self.members[0].dim

    @property
    def categories(self) -> Sequence[str]:
        """The words of the items' categories, of members that take sets."""
        return self.members[0].categories

    def set_categories(self, categories: Sequence[str]) -> None:
        """Give these words to every member, before :meth:`build`."""
        for member in self.members:
            member.set_categories(categories)
        self.arguments = {**self.arguments, "head": {**self.arguments["head"], **self.members[0].arguments}}

    @property
    def needs_statistics(self) -> bool:
        """Whether the members need the mean and covariance of the training inputs."""
        return self.members[0].needs_statistics

    @property
    def open_width(self) -> bool:
        """Whether the output takes the width of the other side."""
        return not self.joined and self.members[0].open_width

    @property
    def frozen(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """What no weight takes part in, which is the same for all members."""
        return self.members[0].frozen

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the members' weights. like: where members are concatenated, each is ``like`` / K wide, if that is whole.

        Raises BadRecipe where the members cannot be built.
        """
        if self.joined:
            like = like // len(self.members) if like and like % len(self.members) == 0 else None
        for member in self.members:
            member.build(dim_in, stats, like)
        self._widths()

    def forward(self, *inputs: Tensor) -> Tensor:
        """x (n, d_in), or frames x (b, t, d_in) and their lengths (b,), to (n, dim)."""
        if self.frozen is not None and len(inputs) > 1:
            inputs = (self.frozen(*inputs),)
        return self._combine([member(*inputs) for member in self.members])

    def compose(self, x: Tensor, lengths: Tensor, category: Tensor, slot: Tensor) -> Tensor:
        """Contexts as queries (b, dim): see :class:`sensorium.contracts.SetHead`."""
        return self._combine([member.compose(x, lengths, category, slot) for member in self.members])

    def start(self, b: int = 1) -> State:
        """The state of b new streams: those of the members, one after the other."""
        return tuple(part for member in self.members for part in member.start(b))

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """More frames x (b, t, d_in) of b streams → the output after each of them (b, t, dim), and the state."""
        return self._each(self.start(len(x)) if state is None else state, lambda member, own: member.step(x, own))

    def advance(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, State]:
        """More frames x (b, t, d_in), ``lengths`` (b,) of each real → output after the last (b, dim), and the state."""
        return self._each(state, lambda member, own: member.advance(x, lengths, own))

    def _each(self, state: State, move: Callable[[Any, State], tuple[Tensor, State]]) -> tuple[Tensor, State]:
        """Every member moved on from its own share of the state: their outputs together, and all states."""
        each = len(state) // len(self.members)
        moved = [move(member, state[k * each : (k + 1) * each]) for k, member in enumerate(self.members)]
        return self._combine([z for z, _ in moved]), tuple(part for _, after in moved for part in after)

    def _combine(self, outputs: list[Tensor]) -> Tensor:
        if self.joined:
            return torch.cat(outputs, -1) * len(outputs) ** -0.5
        return torch.stack(outputs).mean(0)
