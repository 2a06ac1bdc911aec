"""The recipe of a fit in memory: a closed form or the defaults of the recipe arrays, with what the caller set."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from sensorium import parts
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe
from sensorium.recipe import Recipe
from sensorium.values.items import CLASSES

OBJECTIVE = "cca"  # where the caller names none: exact in one pass, and strong on few pairs
_BASE = "arrays"  # the heads of an objective that is trained
_TRAIN: Mapping[str, Any] = {"epochs": 20, "lr": 5e-4, "patience": 5}  # its training; auto has its own
_SUCH_AS = {
    "left": "{'encoder': 'minilm', 'head': 'linear'}",
    "right": "{'encoder': 'minilm', 'head': 'linear'}",
    "train": "{'epochs': 5}",
    "evaluate": "{'plots': True}",
}
#: Of a classification, in place of the recipe's own.
_CLASSES: Mapping[str, Mapping[str, Any]] = {
    "left": {"head": {"name": "mlp", "hidden": 512, "dropout": 0.5, "normalize": False}},
    "right": {"head": {"name": "identity", "normalize": False}},
    "objective": {"name": "cross_entropy"},
    "train": {"monitor": "hit@1", "direction": "left->right"},
    "evaluate": {"directions": ["left->right"], "measures": ["hit@1", "MRR"], "baselines": [], "correction": "none"},
}


def recipe(
    given: Mapping[str, Any], keys: Mapping[str, Any], seed: Any, classes: Sequence[str] | None = None
) -> dict[str, Any]:
    """The values of a recipe without [data]: the defaults, then each given section, then dotted ``keys``.

    classes: names of the classes of a classification. Raises BadRecipe, naming the argument, for a section of another
    type.
    """
    values = copy.deepcopy(dict(recipes.load(_BASE).values))
    del values["data"]
    values |= {"name": "memory", "seed": seed}
    values["evaluate"]["plots"] = False  # they take longer than all the rest
    objective = given.get("objective")
    if (objective.get("name") if isinstance(objective, Mapping) else objective) != "auto":
        values["train"] |= _TRAIN
    if objective is None and classes is None:
        values["objective"] = {"name": OBJECTIVE}
    if _is_closed_form(objective or OBJECTIVE):
        values |= {side: {"head": {"name": "linear"}} for side in ("left", "right")}
    if classes is not None:
        for section, own in copy.deepcopy(dict(_CLASSES)).items():
            values[section] = dict(own) if section == "objective" else {**values[section], **own}
    for name, value in given.items():
        if value is None:
            continue
        if name in ("objective", "index"):
            if not isinstance(value, (str, Mapping)):
                raise BadRecipe(f"{name} is {type(value).__name__}; expected a name or keys, such as {name}='ridge'")
            values[name] = value
        elif not isinstance(value, Mapping):
            raise BadRecipe(f"{name}={value!r:.60}; expected a section, such as {name}={_SUCH_AS[name]}")
        else:
            values[name] = {**values[name], **value}
    for key, value in keys.items():
        _set(values, key, value)
    if classes is not None:
        encoder = values["right"].get("encoder") or {}
        own = dict(encoder) if isinstance(encoder, Mapping) else {}
        values["right"]["encoder"] = {"name": CLASSES, "classes": list(classes), **own}
    return values


def _is_closed_form(objective: Any) -> bool:
    name = objective.get("name") if isinstance(objective, Mapping) else objective
    return isinstance(name, str) and bool(parts.find("objectives", name).closed_form)


def resolved(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of these values, validated, with the data set still to come. Raises BadRecipe."""
    if isinstance(overrides, (str, bytes)) or not all(isinstance(one, str) for one in overrides):
        raise BadRecipe(f"overrides={overrides!r:.60}; expected a list of texts, such as ['train.lr=1e-3']")
    for one in overrides:
        if one.startswith("data"):
            raise BadRecipe(f"'{one}': the data are X and Y; set them by arguments, such as test=0.1, group=…")
    return recipes.load({**values, "data": {"name": "memory"}}, overrides)


def takes(plan: Recipe, side: str) -> tuple[str, ...]:
    """The kinds of item that a side's encoder may take, several where it has towers; none for vectors."""
    encoder = plan.part(f"{side}.encoder")
    if encoder is None:
        return ()
    chosen = plan.values[side]["encoder"].get("tower")
    return (str(encoder.takes),) if chosen or not encoder.towers else tuple(encoder.towers)


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    """One key of a recipe, such as "train.lr". Whether it is known is the recipe's to say."""
    *path, last = key.split(".")
    target = values
    for step in path:
        inner = target.setdefault(step, {})
        if isinstance(inner, str):
            inner = {"name": inner}
        if not isinstance(inner, Mapping):
            raise BadRecipe(f"'{key}': '{step}' is not a section")
        target[step] = target = dict(inner)
    target[last] = value
