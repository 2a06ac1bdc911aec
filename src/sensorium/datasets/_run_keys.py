"""The keys of [data] that a run itself reads, whatever the data set: how to split, what to leave out, when to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium.errors import BadRecipe

#: Read by the run when the data set does not take them.
SPLITTING = {
    "test": 0.1,  # share of groups (or number, when above 1) held out for the final numbers
    "validation": 0.1,  # the same, for choosing: early stopping, strengths, corrections
    "split_seed": 0,  # the split stays the same whatever the run's seed
}
CACHED = "cached"  #: false reads items anew in each step of the fit, see [finetune]
DROP = "drop"  #: a file of pairs and items that are left out, see :mod:`sensorium.datasets._dropping`
LABELS = "labels"  #: a file of labelled pairs that are added, see :mod:`sensorium.datasets._labelled`
KEYS = {**SPLITTING, CACHED: True, DROP: "", LABELS: ""}
_FILES = {DROP: "drop.csv", LABELS: "labels.csv"}


def checked(spec: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The [data] section without keys that say nothing. known: what the data set takes. Raises BadRecipe."""
    for key, value in spec.items():
        if key == "split_seed":
            whole_number(f"data.{key}", value)
        elif key in SPLITTING and key not in known:
            _share(f"data.{key}", value)
        elif key in _FILES and key not in known and not isinstance(value, str):
            raise BadRecipe(f"data.{key}={value!r}; expected a file, such as {_FILES[key]}")
    return {key: value for key, value in spec.items() if not (key in _FILES and value == "" and key not in known)}


def whole_number(key: str, value: Any) -> int:
    """The value, a whole number from 0 on. Raises BadRecipe for another."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadRecipe(f"{key}={value!r}; expected a whole number, 0 or above")
    return value


def _share(key: str, value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not (0 <= value <= 1 or (1 < value < 1e12 and value == int(value))):
        raise BadRecipe(f"{key}={value!r}; expected a share of the groups from 0 to 1, or their number")
