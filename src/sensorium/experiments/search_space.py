"""Search spaces on the command line: KEY=LOW..HIGH[:log], KEY=A|B|C, and KEY=VALUE for what is fixed.

>>> parse(["train.lr=1e-4..1e-2:log", "left.head.depth=1..3", "objective=infonce|siglip", "train.epochs=5"])
({'train.lr': Range(low=0.0001, high=0.01, log=True), 'left.head.depth': Range(low=1, high=3, log=False), \
'objective': Choice(values=('infonce', 'siglip'))}, ['train.epochs=5'])
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sensorium.errors import BadRecipe

_RANGE = re.compile(r"(?P<low>[^|:]+?)\.\.(?P<high>[^|:]+?)(?P<log>:log)?")


@dataclass(frozen=True)
class Range:
    """Whole numbers where both ends are written as such, else real numbers; both ends included."""

    low: int | float
    high: int | float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of several values, as they are written on the command line."""

    values: tuple[str, ...]


Space = Mapping[str, Range | Choice]


def parse(texts: Sequence[str]) -> tuple[dict[str, Range | Choice], list[str]]:
    """What varies, by key, and the overrides that are fixed.

    A range needs numbers on both sides of the dots: ``data.root=../clips`` stays a value.
    Raises BadRecipe for a range or choice that is invalid, and for a key given twice.
    """
    space: dict[str, Range | Choice] = {}
    fixed = []
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise BadRecipe(f"'{text}' is neither a range nor a value; expected KEY=LOW..HIGH, KEY=A|B or KEY=VALUE")
        varied = _range(text, value) or _choice(text, value)
        if varied is None:
            fixed.append(text)
            continue
        if key in space:
            raise BadRecipe(f"'{key}' varies twice; give it one range or one list of choices")
        space[key] = varied
    return space, fixed


def overrides(values: Mapping[str, Any]) -> list[str]:
    """Drawn values as ``key=value``; parts come before their keys, as swapping a part drops those.

    >>> overrides({"left.head.hidden": 256, "left.head": "mlp", "train.lr": 1e-3})
    ['left.head=mlp', 'train.lr=0.001', 'left.head.hidden=256']
    """
    return [f"{key}={values[key]}" for key in sorted(values, key=lambda key: key.count("."))]


def _range(text: str, value: str) -> Range | None:
    matched = _RANGE.fullmatch(value)
    if matched is None:
        return None
    low, high = _number(matched["low"]), _number(matched["high"])
    if low is None or high is None:
        return None
    if isinstance(low, float) or isinstance(high, float):
        low, high = float(low), float(high)
    log = matched["log"] is not None
    if not low < high or (log and low <= 0):
        raise BadRecipe(f"'{text}' is no range; expected LOW < HIGH{', both above 0 for :log' if log else ''}")
    return Range(low, high, log)


def _choice(text: str, value: str) -> Choice | None:
    if "|" not in value:
        return None
    values = tuple(v.strip() for v in value.split("|"))
    if "" in values or len(set(values)) < len(values):
        raise BadRecipe(f"'{text}' repeats a choice or leaves one empty; expected different values, such as 256|512")
    return Choice(values)


def _number(text: str) -> int | float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
