"""What the corpora known by their file names share: emotions, whole speakers to each split, copies, downloads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium.contracts import Dataset
from sensorium.datasets import _download, _speech
from sensorium.datasets._download import Archive
from sensorium.datasets._speech import Parse, Speakers
from sensorium.errors import BadRecipe
from sensorium.modalities.audio import augment
from sensorium.types import Data


class Corpus(Dataset):
    """Left: clips. Right: the emotions' names, in RAVDESS's words where they are the same. Group: the speaker.

    root: folder of sound files named as in the corpus, at any depth. classes: which emotions to take, all
    that are there when left empty. test_actors, validation_actors, train_actors and copies: as in
    ``ravdess``; without test_actors whole speakers are drawn by data.test and data.validation.
    bad: what to do with recordings that cannot be read, "stop" or "skip".
    download, mirror: fetch what is missing of the public archives into ``root``, from another address if given.

    title: of the corpus. parse: what a file's name says. source: its public archives, or where people
    who want it must ask.
    """

    def __init__(self, title: str, parse: Parse, source: Sequence[Archive] | str, /, root: str,
                 classes: Sequence[str] = (), train_actors: Speakers = (), validation_actors: Speakers = (),
                 test_actors: Speakers = (), copies: int = 0, augment: float = 0.3,
                 augment_kinds: Sequence[str] = augment.KINDS, split_seed: int = 0, allow_other: bool = False,
                 bad: str = "stop", download: bool = False, mirror: str = "") -> None:  # fmt: skip
        _speech.check_bad(bad)
        self.title, self.parse, self.source = title, parse, source
        self.root, self.classes, self.allow_other, self.bad = Path(root).expanduser(), classes, allow_other, bad
        self.lists = {"train": train_actors, "validation": validation_actors, "test": test_actors}
        self.copies = {"copies": copies, "probability": augment, "kinds": augment_kinds, "seed": split_seed}
        self.download, self.mirror = download, mirror

    def obtain(self) -> list[Path]:
        """Fetch what is missing of the archives. Raises BadRecipe where there is none that a program may fetch."""
        if isinstance(self.source, str):
            raise BadRecipe(f"{self.title} is in no public archive that can be fetched: {self.source}")
        return _download.obtain(self.source, self.root, self.mirror)

    def load(self) -> Data:
        """Read names, not sound. Raises BadData for wrong names, BadRecipe for impossible lists."""
        if self.download:
            self.obtain()
        found, notes = _speech.collect(self.root, self.parse, self.title, self.allow_other)
        found, left_out = _speech.readable(found, self.bad)
        data = _speech.corpus(found, self.root, self.classes, self.lists, {**notes, **left_out})
        return augment.with_copies(data, **self.copies)
