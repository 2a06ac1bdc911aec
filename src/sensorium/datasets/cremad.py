"""CREMA-D: six emotions at several levels, 91 actors, by its file names; splits by whole speakers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensorium import augment, recordings
from sensorium.types import Data


class Cremad:
    """Left: clips. Right: the emotions' names, in RAVDESS's words where they are the same. Group: the speaker.

    root: folder of sound files named as in CREMA-D, at any depth. classes: which emotions to take, all
    that are there when left empty. test_actors, validation_actors, train_actors and copies: as in
    ``ravdess``; without test_actors whole speakers are drawn by data.test and data.validation.
    """

    def __init__(
        self,
        root: str,
        classes: Sequence[str] = (),
        train_actors: Sequence[Any] = (),
        validation_actors: Sequence[Any] = (),
        test_actors: Sequence[Any] = (),
        copies: int = 0,
        augment: float = 0.3,
        augment_kinds: Sequence[str] = augment.KINDS,
        split_seed: int = 0,
        allow_other: bool = False,
    ) -> None:
        self.root, self.classes, self.allow_other = Path(root).expanduser(), classes, allow_other
        self.lists = {"train": train_actors, "validation": validation_actors, "test": test_actors}
        self.copies = {"copies": copies, "probability": augment, "kinds": augment_kinds, "seed": split_seed}

    def load(self) -> Data:
        """Read names, not sound. Raises BadData for wrong names, BadRecipe for impossible lists."""
        found, other = recordings.collect(self.root, recordings.cremad, "CREMA-D", self.allow_other)
        data = recordings.corpus(found, self.root, self.classes, self.lists, {"named_otherwise": len(other)})
        return augment.with_copies(data, **self.copies)
