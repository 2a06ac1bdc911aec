"""Mixture: closed forms and trained heads, each fitted alone, their scores added with weights chosen on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.contracts import MixtureObjective
from sensorium.errors import BadRecipe
from sensorium.objectives._members import MOST, member
from sensorium.pairs import Pairs
from sensorium.types import Embeddings

_POWERS = (0.01, 10.0)


class Mixture(MixtureObjective):
    """score(x, y) = Σ_k w_k ⟨f_k(x), g_k(y)⟩, of members (f_k, g_k) that are fitted one by one.

    The weights come from greedy selection with replacement (Caruana et al. 2004, section 2) on the validation pairs, by
    ``train.monitor``, over scores divided by their standard deviation. It starts at the best member, so on validation
    the mixture is never worse than that; a member that does not help has weight 0 and is left out. The result is one
    ``mixture`` head a side. See :mod:`sensorium.fitting.mixture`.

    members: objectives, each by name or as ``{name = "infonce", temperature = 0.05}``. Of a trained one also
        ``head``, both sides' head where it is not the recipe's own, ``right_head`` where the right side's is
        another, ``seeds``, so many fits whose scores are averaged, and ``options``, keys of [train] where the recipe
        leaves their defaults.
    powers: signed powers of the inputs; which one a side has is chosen on validation, with the first closed form.
    corrected: the weights are chosen with scores corrected for hubs, as a run is evaluated and searched where
        ``evaluate.correction`` is not none; false: with the plain scores.

    Raises BadRecipe for invalid values.
    """

    def __init__(
        self,
        members: Sequence[str | Mapping[str, Any]] = ("cca", "infonce"),
        powers: Sequence[float] = (1.0, 0.5),
        corrected: bool = True,
    ) -> None:
        self.corrected = corrected
        if isinstance(members, (str, Mapping)) or not 1 <= len(members) <= MOST:
            raise BadRecipe(f"mixture: members={members!r}; expected a list of 1 to {MOST} objectives, such as "
                            "'[\"cca\", \"infonce\"]'")  # fmt: skip
        self.powers = [float(p) for p in powers]
        if not self.powers or not all(_POWERS[0] <= p <= _POWERS[1] for p in self.powers):
            raise BadRecipe(f"mixture: powers={self.powers}; expected one or more numbers from {_POWERS[0]} to "
                            f"{_POWERS[1]}, such as '[1.0, 0.5]'")  # fmt: skip
        self.members = [member(spec, f"objective.members[{k}]") for k, spec in enumerate(members)]

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Every member's own check. Raises BadRecipe."""
        for one in self.members:
            one.objective.check(left, right, pairs)
