"""Speech data sets: clips on the left, class names on the right; corpora that are known by their file names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.contracts import Dataset
from sensorium.datasets import _download, _recordings
from sensorium.datasets._download import Archive
from sensorium.datasets._recordings import Parse, Recording
from sensorium.datasets._speakers import Speakers, by_speakers
from sensorium.errors import BadRecipe, nearest
from sensorium.modalities import walk
from sensorium.modalities.audio import augment
from sensorium.pairs import Pairs
from sensorium.types import Data, Items, as_ids


class Corpus(Dataset):
    """Left: clips. Right: the emotions' names, in RAVDESS's words where they are the same. Group: the speaker.

    root: folder of sound files named as in the corpus, at any depth. classes: which emotions to take, all
    that are there when left empty.
    test_actors, validation_actors, train_actors: whole speakers of a split; without test_actors they are drawn
        by data.test and data.validation. split_seed: of that draw.
    copies: so many changed copies of each training clip. augment: probability with which each kind of change is
        applied to a copy. augment_kinds: kinds of change, of speed, pitch, gain and noise.
    allow_other: leave out sound files that are not named as in the corpus, instead of refusing them.
    bad: what to do with recordings that cannot be read, "stop" or "skip".
    download: fetch what is missing of the public archives into ``root``. mirror: address to fetch it from instead.

    title: of the corpus. parse: what a file's name says. source: its public archives, or where people
    who want it must ask.
    """

    def __init__(self, title: str, parse: Parse, source: Sequence[Archive] | str, /, root: str,
                 classes: Sequence[str] = (), train_actors: Speakers = (), validation_actors: Speakers = (),
                 test_actors: Speakers = (), copies: int = 0, augment: float = 0.3,
                 augment_kinds: Sequence[str] = augment.KINDS, split_seed: int = 0, allow_other: bool = False,
                 bad: str = "stop", download: bool = False, mirror: str = "") -> None:  # fmt: skip
        _recordings.check_bad(bad)
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
        found, notes = _recordings.collect(self.root, self.parse, self.title, self.allow_other, self.bad)
        found, left_out = _recordings.readable(found, self.bad)
        data = corpus(found, self.root, self.classes, self.lists, {**notes, **left_out})
        return augment.with_copies(data, **self.copies)


def data(
    found: Sequence[Recording],
    root: Path,
    classes: Sequence[str],
    split: np.ndarray | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Data:
    """Clips on the left, class names on the right, a pair for each clip; the group is the speaker.

    split (n,): "" leaves a clip out where others have a word. Ids are paths below ``root``, in NFC.
    """
    rows = list(range(len(found))) if split is None else np.flatnonzero(split != "").tolist()
    chosen = [found[i] for i in rows]
    names = sorted({name for recording in chosen for name in recording.columns})
    columns = {name: np.array([r.columns.get(name, "") for r in chosen], np.str_) for name in names}
    speaker, emotion = (np.array([getattr(r, k) for r in chosen], np.str_) for k in ("speaker", "emotion"))
    below = [Path(os.path.relpath(r.path, root)).as_posix() for r in chosen]
    ids = [walk.text(path) for path in below]
    if len(set(ids)) < len(ids):  # one name in two Unicode forms: as they are on the disk
        ids = [path.encode("utf-8", "backslashreplace").decode() for path in below]
    left = Items(
        as_ids(ids), [str(r.path) for r in chosen], "audio", {"emotion": emotion, "speaker": speaker, **columns}
    )
    right = Items(as_ids(list(classes)), list(classes), "text")
    place = {name: row for row, name in enumerate(classes)}
    pairs = Pairs.of(np.arange(len(chosen)), [place[e] for e in emotion.tolist()], group=speaker,
                     split=None if split is None else split[rows])  # fmt: skip
    counts = {"recordings": len(chosen), "speakers": len(set(speaker.tolist()))}
    if len(chosen) < len(found):
        counts["in_no_split"] = len(found) - len(chosen)
    return Data(left, right, pairs, {**counts, **(notes or {})})


def corpus(
    found: Sequence[Recording],
    root: Path,
    classes: Sequence[str],
    lists: Mapping[str, Speakers],
    notes: Mapping[str, Any] | None = None,
    split: np.ndarray | None = None,
) -> Data:
    """The data of a corpus: the chosen emotions, and splits by lists of speakers where there is a test list.

    Otherwise the splits are the argument's, (n,) words, or none.

    Raises BadRecipe for an emotion that no recording has, or for lists without test speakers.
    """
    present, classes = _recordings.classes_of(found), [walk.text(name) for name in classes]
    for name in classes:
        if name not in present:
            raise BadRecipe(f"data.classes: no recording is '{name}'; {nearest(name, present)}")
    rows = [i for i, r in enumerate(found) if not classes or r.emotion in classes]
    chosen = [found[i] for i in rows]
    speaker = np.array([r.speaker for r in chosen], np.str_)
    split, more = None if split is None else split[rows], {}
    if lists["test"]:
        split, more = by_speakers(speaker, lists)
    elif lists["train"] or lists["validation"]:
        raise BadRecipe("data: train_actors or validation_actors without test_actors; type: data.test_actors=[…]")
    return data(chosen, root, classes or present, split, {**(notes or {}), **more})
