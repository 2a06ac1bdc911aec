"""Fits of ``objective=mixture``: the inputs' powers, the members one by one, their weights; served as one head.

The order is that of what is sure: closed forms take seconds and are solved first, trained members follow.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sensorium import parts
from sensorium.contracts import Member
from sensorium.errors import BadRecipe
from sensorium.fitting import closed_form, mixing
from sensorium.fitting.finetune import Finetune
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.members import join, seeds
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.several import Fits, Log
from sensorium.heads.mixture import Mixture
from sensorium.numerics.signed_power import Powered
from sensorium.pairs import Pairs
from sensorium.progress import say
from sensorium.types import SIDES, Embeddings


@dataclass(frozen=True)
class Done:
    """A fitted member. names: of its heads' parts, by side."""

    member: Member
    fitted: Fitted
    names: Mapping[str, str]


def fit(
    left: Embeddings,
    right: Embeddings,
    pairs: Pairs,
    left_head: Any,
    right_head: Any,
    objective: Any,
    options: TrainOptions,
    folder: Path | None = None,
    seed: int = 0,
    *,
    names: Mapping[str, str],
    progress: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    tensorboard: bool = False,
    finetune: Finetune | None = None,
) -> Fitted:
    """Fit every member, and join them with the weights that are best on the validation pairs.

    Arguments as of :func:`sensorium.fitting.members.train`; an interrupted fit reads trained members from ``folder``
    and solves closed forms again. Raises what the members' fits do.
    """
    check(objective, options, finetune)
    of = sum(member.seeds for member in objective.members if not member.objective.closed_form)
    log = Log(folder, replace(options, members=max(of, 1)), seed, on_epoch, tensorboard)
    powers = choose_powers(left, right, pairs, left_head, right_head, objective)
    left, right = tables = powered(left, right, powers)
    fits, drawn, done, k = Fits(*tables, pairs, folder, log, of, progress), seeds(seed, max(of, 1)), [], 0
    try:
        for member in sorted(objective.members, key=lambda member: not member.objective.closed_form):
            both, called = member_heads(member, left_head, right_head, pairs.same_table, names)
            if member.objective.closed_form:
                if progress:
                    say("fit", f"{member.name}, in closed form")
                fitted = closed_form.solve(*tables, pairs, *both, member.objective)
            else:
                each = [fits.one(k + i, copy.deepcopy(both), called, copy.deepcopy(member.objective), options,
                                 drawn[k + i]) for i in range(member.seeds)]  # fmt: skip
                k += member.seeds
                fitted = each[0] if len(each) == 1 else replace(join(each, called), notes=each[0].notes)
            done.append(Done(member, fitted, {**called, **fitted.names}))
    finally:
        log.history.close()
    mixed = mixing.mix([one.fitted for one in done], *tables, pairs, options, objective.corrected)
    if log.events:
        log.close({"validation": mixed.validation, options.monitor: mixed.validation})
    heads = {side: joined(side, done, mixed.weights, powers[side]) for side in SIDES}
    if pairs.same_table:
        heads["right"] = heads["left"]
    made = notes(done, mixed, powers, options, drawn[:of])
    return Fitted(heads["left"], heads["right"], log.events, made, dict.fromkeys(SIDES, "mixture"))


def check(objective: Any, options: TrainOptions, finetune: Any = None) -> None:
    """Raise BadRecipe for options of [train] and [data] that a mixture does not take."""
    name = "auto" if objective.adaptive else "mixture"
    if options.members > 1 or (options.distill and not objective.adaptive):
        more = (
            "objective.most=20"
            if objective.adaptive
            else "seeds of a member, such as '{name = \"infonce\", seeds = 3}'"
        )
        keys = "train.members=1" if objective.adaptive else "train.members=1 train.distill=false"
        raise BadRecipe(f"objective={name} counts seeds by member: type: {keys}, and set {more}")
    if finetune is not None:
        raise BadRecipe(f"objective={name} works on vectors that stay the same; type: data.cached=true")


def choose_powers(
    left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Any, right_head: Any, objective: Any,
    judge: Any = None,
) -> dict[str, float]:  # fmt: skip
    """The signed power of each side's inputs with the highest validation measure of ``judge``.

    judge: a closed form; the objective's first where it is None.
    The left side's is chosen first, then the right side's; 1.0 or else the first stays where nothing is measured.
    """
    chosen = dict.fromkeys(SIDES, objective.powers[0])
    if judge is None:
        judge = next((member.objective for member in objective.members if member.objective.closed_form), None)
    heldout = len(pairs.where("validation", label=1)) > 0
    if judge is None or not heldout or len(objective.powers) == 1 or judge.reads_items:
        return chosen
    known: dict[tuple[float, ...], float] = {}

    def measure(powers: Mapping[str, float]) -> float:
        key = tuple(powers.values())
        if key not in known:
            solution, sides = closed_form.closed_form(
                *powered(left, right, powers), pairs, *copy.deepcopy((left_head, right_head)), judge
            )
            known[key] = closed_form.validation(sides, pairs)(solution.left, solution.right)
        return known[key]

    for side in SIDES[:1] if pairs.same_table else SIDES:
        tried = {power: measure(_with(chosen, side, power, pairs.same_table)) for power in objective.powers}
        chosen = _with(chosen, side, max(tried, key=tried.__getitem__), pairs.same_table)
    return chosen


def powered(left: Embeddings, right: Embeddings, powers: Mapping[str, float]) -> tuple[Embeddings, Embeddings]:
    """Both tables with signed powers of their vectors, one and the same where both sides are."""
    made = [
        table if powers[side] == 1.0 else replace(table, vectors=Powered(table.vectors, powers[side]))
        for side, table in zip(SIDES, (left, right), strict=True)
    ]
    return (made[0], made[0]) if left is right else (made[0], made[1])


def _with(powers: Mapping[str, float], side: str, power: float, tied: bool) -> dict[str, float]:
    return dict.fromkeys(SIDES, power) if tied else {**powers, side: power}


def heads_of(member: Member, left_head: Any, right_head: Any, tied: bool) -> tuple[Any, Any]:
    """Unbuilt heads of its own for a member; one and the same within one table.

    Raises BadRecipe where the member changes keys that the recipe's own trained heads do not have.
    """
    if own_heads(member):
        keys = member.head or {}, member.head or {} if member.right_head is None else member.right_head
        left, right = (_changed(head, own) for head, own in zip((left_head, right_head), keys, strict=True))
    else:
        specs = (member.head, member.right_head or member.head)
        left, right = (parts.make("heads", spec, "objective.members.head") for spec in specs)
    return (left, left) if tied else (left, right)


def own_heads(member: Member) -> bool:
    """Whether a member has the recipe's own heads, perhaps with other values of some keys."""
    return member.head is None or (not isinstance(member.head, str) and "name" not in member.head)


def _changed(head: Any, keys: Mapping[str, Any]) -> Any:
    """A copy of an unbuilt head, a trained one with other values of some keys."""
    if not keys or not head.trainable:
        return copy.deepcopy(head)
    missing = [key for key in keys if key not in head.arguments]
    if missing:
        raise BadRecipe(f"the {type(head).__name__} head takes no '{missing[0]}'")
    return type(head)(**{**head.arguments, **keys})


def member_heads(
    member: Member, left_head: Any, right_head: Any, tied: bool, names: Mapping[str, str]
) -> tuple[tuple[Any, Any], Mapping[str, str]]:
    """Unbuilt heads of its own for a member, and the names of their parts by side."""
    both = heads_of(member, left_head, right_head, tied)
    if own_heads(member):
        return both, names
    specs = (member.head, member.right_head or member.head)
    return both, {
        side: spec if isinstance(spec, str) else spec["name"] for side, spec in zip(SIDES, specs, strict=True)
    }


def joined(side: str, done: list[Done], weights: list[float], power: float) -> Mixture:
    """The members of one side with weights above 0 as one head."""
    kept = [(one, weight) for one, weight in zip(done, weights, strict=True) if weight > 0]
    heads = [one.fitted.left_head if side == "left" else one.fitted.right_head for one, _ in kept]
    return Mixture.of([one.names[side] for one, _ in kept], heads, [weight for _, weight in kept], power)


def notes(
    done: list[Done], mixed: mixing.Mixed, powers: Mapping[str, float], options: TrainOptions, drawn: list[int]
) -> dict[str, Any]:
    """What the report says of a mixture: a row a member, and what was chosen."""
    trained = [one.fitted for one in done if not one.member.objective.closed_form]
    rows = [{"member": one.member.name, "seeds": one.member.seeds, **row}
            for one, row in zip(done, mixed.rows, strict=True)]  # fmt: skip
    found = {"mixture": rows, "powers": dict(powers), "monitor": options.monitor, "validation": mixed.validation,
             "member_seeds": drawn}  # fmt: skip
    return found | ({"precision": trained[0].notes["precision"]} if trained else {})
