"""Splits by whole speakers, from lists of their names or numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.errors import BadRecipe
from sensorium.modalities import walk

#: A list of speakers in a recipe; one of them may stand alone.
Speakers = Sequence[Any] | int | str


def by_speakers(speaker: np.ndarray, lists: Mapping[str, Speakers]) -> tuple[np.ndarray, dict[str, Any]]:
    """Split words (n,) by the lists "train", "validation" and "test" of whole speakers, and notes.

    Train left empty takes all that remain; speakers in no list get the word "" and the caller leaves them
    out. Validation left empty takes whole training speakers: the last sixth, one at least. A training
    speaker who is alone keeps training, and every sixth clip validates, which the notes say.

    Raises BadRecipe for a speaker in two lists or one that has no recording, or when none is left to train on.
    """
    named = {name: as_speakers(names, speaker, f"data.{name}_actors") for name, names in lists.items()}
    owner: dict[str, str] = {}
    for split, names in named.items():
        for name in names:
            if owner.setdefault(name, split) != split:
                raise BadRecipe(f"data: actor '{name}' is both in {owner[name]}_actors and {split}_actors; choose one")
    rest = "" if named["train"] else "train"
    split = np.array([owner.get(name, rest) for name in speaker.tolist()], "<U10")
    train = sorted(set(speaker[split == "train"].tolist()), key=_by_number)
    if not train:
        raise BadRecipe("data: no actor is left to train on; take some out of data.test_actors or validation_actors")
    if named["validation"]:
        return split, {}
    if len(train) > 1:
        split[np.isin(speaker, train[-max(1, round(len(train) / 6)) :])] = "validation"
        return split, {}
    split[np.flatnonzero(split == "train")[::6]] = "validation"
    return split, {"warning": f"the one training actor, {train[0]}, validates too, with every sixth clip"}


def as_speakers(names: Speakers, speaker: np.ndarray, key: str) -> list[str]:
    """Speakers by their names, or by their numbers with or without leading zeros.

    speaker (n,): of every recording. Raises BadRecipe, naming
    ``key``, for one that has no recording.
    """
    known = sorted(set(speaker.tolist()), key=_by_number)
    numbers = {name.lstrip("0"): name for name in known if name.isdecimal()}
    found = []
    for name in [names] if isinstance(names, (str, int)) else names:
        text = walk.text(str(name))
        if text not in known and text.lstrip("0") not in numbers:
            raise BadRecipe(
                f"{key}: '{text}' has no recording; there are {', '.join(known)}: type {key}='{_shown(known)}'"
            )
        found.append(text if text in known else numbers[text.lstrip("0")])
    return found


def _shown(known: Sequence[str]) -> str:
    """The last speakers as a list to type."""
    return "[" + ", ".join(n if n.isdecimal() and n[0] != "0" else f'"{n}"' for n in known[-2:]) + "]"


def _by_number(name: str) -> tuple[int, str]:
    return len(name), name
