"""Encoders of a run against the items that it has: what each takes, and which are left aside where vectors came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sensorium.errors import BadRecipe, nearest
from sensorium.types import SIDES, Data, Items

if TYPE_CHECKING:
    from sensorium.recipe import Built, Recipe


def settled(
    plan: Recipe, data: Data, built: Built, overrides: Sequence[str] = ()
) -> tuple[Recipe, Built, list[str]]:  # fmt: skip
    """Recipe and parts as they are used on these data, checked, and notes.

    Where a side's items came as vectors, an encoder that the recipe itself names is left aside, and a note says so;
    one that an override names is refused. So it is with a column for ``center`` that the items do not have. Then the
    encoders' open keys are settled: see ``Recipe.settle``.
    Raises BadRecipe as :func:`check` does.
    """
    named = {side for side in SIDES for one in overrides if _names(one, f"{side}.encoder")}
    values, encoders, notes = dict(plan.values), dict(built.encoders), []
    for side, items in _sides(data):
        if items.kind == "vector" and encoders[side] is not None and side not in named:
            encoders[side] = None
            values[side] = {key: value for key, value in values[side].items() if key != "encoder"}
            name = plan.part_name(f"{side}.encoder")
            notes.append(f"the {items.name or side} items are vectors already: encoder '{name}' is unused")
    for side, items in _sides(data):
        by = values[side].get("center")
        if by and by not in items.meta:
            if any(one.partition("=")[0] == f"{side}.center" for one in overrides):
                raise BadRecipe(f"{side}.center={by}: the {items.name or side} items have no such column; "
                                f"{nearest(by, items.meta)}")  # fmt: skip
            values[side] = {key: value for key, value in values[side].items() if key != "center"}
            notes.append(f"the {items.name or side} items have no column '{by}', so they are not centred by it; "
                         f"type: {side}.center=COLUMN")  # fmt: skip
    if notes:
        plan = replace(plan, values=values, asked=plan.asked or plan.hash)
        built = replace(built, encoders=encoders)
    check(plan, data, built.encoders)
    return plan.settle(data, built), built, notes


def check(plan: Recipe, data: Data, encoders: Mapping[str, Any]) -> list[tuple[str, Items]]:
    """The sides that are there; raises what refuses either of them before the first takes its time."""
    sides = _sides(data)
    for side, items in sides:
        check_side(side, items, plan, encoders[side])
    return sides


def check_side(side: str, items: Items, plan: Recipe, encoder: Any) -> None:
    """Raise BadRecipe when a side's encoder does not take its kind of item; vectors have None."""
    slot, called = f"{side}.encoder", items.name or side
    if items.kind == "vector":
        if encoder is not None:
            raise BadRecipe(f"{slot} is set, but the {called} items are vectors already; type: {slot}=none")
    elif encoder is None:
        raise BadRecipe(f"the {called} items are {items.kind}; name what encodes them: {slot}=NAME")
    else:
        encoder.choose(items.kind)
        if encoder.takes != items.kind:
            name = plan.part_name(slot)
            raise BadRecipe(f"{slot} '{name}' takes {encoder.takes}, but the {called} items are {items.kind}")
        encoder.check(items.values)


def _sides(data: Data) -> list[tuple[str, Items]]:
    return [(side, items) for side, items in zip(SIDES, (data.left, data.right), strict=True) if items is not None]


def _names(override: str, slot: str) -> bool:
    """Whether an override sets an encoder or a key of it."""
    key, _, value = override.partition("=")
    return (key == slot and value not in ("", "none")) or key.startswith(f"{slot}.")
