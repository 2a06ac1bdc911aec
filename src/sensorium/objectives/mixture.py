"""Mixture: closed forms and trained heads, each fitted alone, their scores added with weights chosen on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium import parts
from sensorium.contracts import Member, MixtureObjective
from sensorium.errors import BadRecipe
from sensorium.pairs import Pairs
from sensorium.types import Embeddings

_MOST = 100  # members, and seeds of one
_POWERS = (0.01, 10.0)


class Mixture(MixtureObjective):
    """score(x, y) = Σ_k w_k ⟨f_k(x), g_k(y)⟩, of members (f_k, g_k) that are fitted one by one.

    The weights come from greedy selection with replacement (Caruana et al. 2004, section 2) on the validation pairs, by
    ``train.monitor``, over scores divided by their standard deviation. It starts at the best member, so on validation
    the mixture is never worse than that; a member that does not help has weight 0 and is left out. The result is one
    ``mixture`` head a side. See :mod:`sensorium.fitting.mixture`.

    members: objectives, each by name or as ``{name = "infonce", temperature = 0.05}``. Of a trained one also ``head``,
        both sides' head where it is not the recipe's own, and ``seeds``, so many fits whose scores are averaged.
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
        if isinstance(members, (str, Mapping)) or not 1 <= len(members) <= _MOST:
            raise BadRecipe(f"mixture: members={members!r}; expected a list of 1 to {_MOST} objectives, such as "
                            "'[\"cca\", \"infonce\"]'")  # fmt: skip
        self.powers = [float(p) for p in powers]
        if not self.powers or not all(_POWERS[0] <= p <= _POWERS[1] for p in self.powers):
            raise BadRecipe(f"mixture: powers={self.powers}; expected one or more numbers from {_POWERS[0]} to "
                            f"{_POWERS[1]}, such as '[1.0, 0.5]'")  # fmt: skip
        self.members = [_member(spec, k) for k, spec in enumerate(members)]

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Every member's own check. Raises BadRecipe."""
        for member in self.members:
            member.objective.check(left, right, pairs)


def _member(spec: str | Mapping[str, Any], k: int) -> Member:
    where = f"objective.members[{k}]"
    keys = {"name": spec} if isinstance(spec, str) else dict(spec)
    head, seeds = keys.pop("head", None), keys.pop("seeds", 1)
    name = keys.get("name")
    if name == "mixture":
        raise BadRecipe(f"{where}: a mixture cannot be a member of a mixture; name its members here")
    objective = parts.make("objectives", keys, where)
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= _MOST:
        raise BadRecipe(f"{where}.seeds={seeds!r}; expected a whole number, 1 to {_MOST}")
    if objective.closed_form and (seeds > 1 or head is not None):
        raise BadRecipe(f"{where}: '{name}' is solved exactly and makes its head itself; leave out head and seeds")
    if head is not None:
        parts.make("heads", head, f"{where}.head")
    return Member(str(name), objective, head, seeds)
