"""Members of mixtures from their specs in a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium import parts
from sensorium.contracts import Member
from sensorium.errors import BadRecipe

MOST = 100  # members, and seeds of one


def member(spec: str | Mapping[str, Any], where: str) -> Member:
    """A member of its spec. where: its place in the recipe. Raises BadRecipe."""
    keys = {"name": spec} if isinstance(spec, str) else dict(spec)
    heads = {key: keys.pop(key, None) for key in ("head", "right_head")}
    seeds, options = keys.pop("seeds", 1), keys.pop("options", {})
    variance, name = keys.pop("variance", 0.0), keys.get("name")
    if name in ("mixture", "auto"):
        raise BadRecipe(f"{where}: a mixture cannot be a member of a mixture; name its members here")
    objective = parts.make("objectives", keys, where)
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= MOST:
        raise BadRecipe(f"{where}.seeds={seeds!r}; expected a whole number, 1 to {MOST}")
    if isinstance(variance, bool) or not isinstance(variance, (int, float)) or not 0 <= variance <= 1:
        raise BadRecipe(f"{where}.variance={variance!r}; expected a share from 0 to 1, such as 0.92")
    keyed = [key for key, head in heads.items() if isinstance(head, Mapping) and "name" not in head]
    own = "head" in keyed  # keys of the recipe's own heads
    named = {key: head for key, head in heads.items() if head is not None and not (own and key in keyed)}
    made = [parts.make("heads", head, f"{where}.{key}") for key, head in named.items()]
    if objective.closed_form and (seeds > 1 or own or any(head.trainable and not head.solved for head in made)):
        raise BadRecipe(f"{where}: '{name}' is solved exactly and makes its head itself; leave out head and seeds, or "
                        "name a head that it is written into, such as random_features")  # fmt: skip
    if not isinstance(options, Mapping):
        raise BadRecipe(f"{where}.options={options!r}; expected keys of [train], such as {{epochs = 5}}")
    return Member(str(name), objective, heads["head"], seeds, heads["right_head"], dict(options),
                  float(variance))  # fmt: skip
