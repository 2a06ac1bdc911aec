"""A mixture of unlike heads as one head: its scores are a weighted sum of the members' scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium import parts
from sensorium.contracts import Head
from sensorium.errors import BadRecipe
from sensorium.numerics.moments import InputStats

_MOST = 1000  # members
_POWERS = (0.01, 10.0)


class Mixture(nn.Module, Head):
    """Outputs of unlike members side by side, each times the root of its weight, after a signed power of the input.

    With weights w_k, which are scaled to add up to 1, the output is (√w_1 z_1, …, √w_K z_K). Where the other side is
    such a mixture too, the inner product of two outputs is Σ_k w_k ⟨z_k, z'_k⟩: exactly the weighted sum of the
    members' scores, in one vector that any index takes. Of members of unit length it has unit length.

    members: heads of vectors, each by its name or as ``{name = "mlp", hidden = 512}``.
    weights: of the members, from 0 on; none: all equal.
    power: p of sign(x) · \\|x\\|^p, applied to every number of the input; 1 leaves it as it is. 0.5, the signed square
        root, makes the heavy tails of counts and of ReLU features lighter (Perronnin et al. 2010, section 3.2).
    widths: of the members' outputs, as a fit saves them; none: their own.

    ``objective=mixture`` fits the members, chooses weights and power on validation, and saves this head. Raises
    BadRecipe for invalid values.
    """

    def __init__(
        self,
        members: Sequence[str | Mapping[str, Any]] = ("linear",),
        weights: Sequence[float] = (),
        power: float = 1.0,
        widths: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if isinstance(members, (str, Mapping)) or not 1 <= len(members) <= _MOST:
            raise BadRecipe(f"mixture: members={members!r}; expected a list of 1 to {_MOST} heads, such as "
                            "'[\"linear\", \"mlp\"]'")  # fmt: skip
        self._hold([parts.make("heads", spec, f"mixture.members[{k}]") for k, spec in enumerate(members)],
                   [spec if isinstance(spec, str) else spec["name"] for spec in members],
                   list(weights), power, list(widths))  # fmt: skip

    @classmethod
    def of(cls, names: Sequence[str], members: Sequence[Head], weights: Sequence[float], power: float = 1.0) -> Mixture:
        """The mixture of built heads. names: what ``parts.find("heads", name)`` finds their parts by."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._hold(list(members), list(names), list(weights), power, [member.dim for member in members])
        made._built(members[0].dim_in)
        return made.eval()

    def _hold(
        self, members: list[Any], names: list[str], weights: list[float], power: float, widths: list[int]
    ) -> None:
        weights = [float(w) for w in (weights or [1.0] * len(members))]
        if len(weights) != len(members) or not all(0 <= w < math.inf for w in weights) or not sum(weights) > 0:
            raise BadRecipe(f"mixture: weights={weights}; expected {len(members)} numbers from 0 on, not all 0")
        if not _POWERS[0] <= power <= _POWERS[1]:
            raise BadRecipe(f"mixture: power={power}; expected {_POWERS[0]} to {_POWERS[1]}, such as 0.5")
        if widths and len(widths) != len(members):
            raise BadRecipe(f"mixture: widths={widths}; expected {len(members)} whole numbers, or leave them out")
        for name, member in zip(names, members, strict=True):
            if not member.takes_vectors or member.takes_sets:
                raise BadRecipe(f"mixture: the {name} head does not take single vectors; name another, such as mlp")
        if power != 1.0 and not widths and any(member.needs_statistics for member in members):
            raise BadRecipe("mixture: with power other than 1, members that standardise are fitted by "
                            "objective=mixture; or set the preprocess of each member to none")  # fmt: skip
        specs = [{"name": name, **member.arguments} for name, member in zip(names, members, strict=True)]
        self.arguments = {"members": specs, "weights": weights, "power": float(power), "widths": widths}
        self.members, self.power = nn.ModuleList(members), float(power)
        self.roots = np.sqrt(np.array(weights) / sum(weights)).tolist()
        self.trainable = any(member.trainable for member in members)
        self.normalize = all(member.normalize for member in members)

    def _built(self, dim_in: int) -> None:
        widths = [member.dim for member in self.members]
        self.dim_in, self.dim, self.arguments = dim_in, sum(widths), {**self.arguments, "widths": widths}

    @property
    def needs_statistics(self) -> bool:
        """Whether a member needs the mean and covariance of the training inputs."""
        return any(member.needs_statistics for member in self.members)

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the members' weights. like: without widths, each member is ``like`` / K wide, if that is whole."""
        each = like // len(self.members) if like and like % len(self.members) == 0 else None
        widths = self.arguments["widths"] or [each] * len(self.members)
        for member, width in zip(self.members, widths, strict=True):
            member.build(dim_in, stats, width)
        self._built(dim_in)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, dim)."""
        if self.power != 1.0:
            x = torch.sign(x) * torch.abs(x) ** self.power
        return torch.cat([root * member(x) for root, member in zip(self.roots, self.members, strict=True)], -1)
