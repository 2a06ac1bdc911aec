"""The keys of [data] that a run itself reads, whatever the data set: how to split, what to leave out, when to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium.errors import BadRecipe
from sensorium.pairs import Pairs

#: Read by the run when the data set does not take them.
SPLITTING = {
    "test": 0.1,  # share of groups (or number, when above 1) held out for the final numbers
    "validation": 0.1,  # the same, for choosing: early stopping, strengths, corrections
    "split_seed": 0,  # the split stays the same whatever the run's seed
}
#: Cross-validation: fold 1 to ``folds``, of whole groups, or "all" for each in turn; 0 draws by the shares above.
FOLDING = {"fold": 0, "folds": 5}
ALL = "all"
CACHED = "cached"  #: false reads items anew in each step of the fit, see [finetune]
DROP = "drop"  #: a file of pairs and items that are left out, see :mod:`sensorium.datasets._dropping`
LABELS = "labels"  #: a file of labelled pairs that are added, see :mod:`sensorium.datasets._labelled`
SPLITTING |= FOLDING
KEYS = {**SPLITTING, CACHED: True, DROP: "", LABELS: ""}
_FILES = {DROP: "drop.csv", LABELS: "labels.csv"}


def checked(spec: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The [data] section without keys that say nothing. known: what the data set takes. Raises BadRecipe."""
    for key, value in spec.items():
        if key == "split_seed":
            whole_number(f"data.{key}", value)
        elif key in FOLDING:
            if key not in known:
                _fold(key, value, spec)
        elif key in SPLITTING and key not in known:
            _share(f"data.{key}", value)
        elif key in _FILES and key not in known and not isinstance(value, str):
            raise BadRecipe(f"data.{key}={value!r}; expected a file, such as {_FILES[key]}")
    return {key: value for key, value in spec.items() if not (key in _FILES and value == "" and key not in known)}


def split(pairs: Pairs, keys: Mapping[str, Any]) -> tuple[Pairs, bool]:
    """Pairs with splits, and whether these were drawn by group, by the shares or the fold: where the data bring none.

    keys: of :data:`SPLITTING`. Raises BadRecipe for a fold of data that bring their own split, for every fold at once,
    and where there are too few groups.
    """
    drawn, fold = not (pairs.split != "").any(), keys["fold"]
    if fold and not drawn:
        raise BadRecipe(f"data.fold={fold}, but the data bring their own split; leave data.fold out, or "
                        "draw folds, where the data set takes it: data.split=")  # fmt: skip
    if fold == ALL:
        raise BadRecipe(f"data.fold={ALL} is {keys['folds']} runs; type: sensorium run RECIPE data.fold={ALL}, or use "
                        "sensorium.experiments.folds.every")  # fmt: skip
    if fold:
        return pairs.fold(fold, keys["folds"], keys["split_seed"]), True
    if drawn:
        shares = {"test": keys["test"], "validation": keys["validation"]}
        return pairs.split_by_group(shares, keys["split_seed"]), True
    if not (pairs.split == "validation").any() and keys["validation"] and (pairs.split == "train").any():
        return pairs.hold_out("validation", keys["validation"], keys["split_seed"]), False
    return pairs, False


def whole_number(key: str, value: Any) -> int:
    """The value, a whole number from 0 on. Raises BadRecipe for another."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadRecipe(f"{key}={value!r}; expected a whole number, 0 or above")
    return value


def _fold(key: str, value: Any, spec: Mapping[str, Any]) -> None:
    if key == "folds" and whole_number("data.folds", value) < 3:
        raise BadRecipe(f"data.folds={value}; expected 3 or more: one to test, one to validate, the others to train")
    if key == "fold" and value != ALL:
        folds = spec.get("folds", FOLDING["folds"])
        if isinstance(value, str):
            raise BadRecipe(f"data.fold={value!r}; expected 1 to {folds}, or {ALL}")
        if whole_number("data.fold", value) > whole_number("data.folds", folds):
            raise BadRecipe(
                f"data.fold={value}; expected 1 to {folds}, or {ALL}; for more folds type: data.folds={value}"
            )


def _share(key: str, value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not (0 <= value <= 1 or (1 < value < 1e12 and value == int(value))):
        raise BadRecipe(f"{key}={value!r}; expected a share of the groups from 0 to 1, or their number")
