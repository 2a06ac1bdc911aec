"""RAVDESS: 24 actors, 8 emotions, speech and song, by its file names; splits by whole actors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.contracts import Dataset
from sensorium.datasets import _download, _recordings, _speech
from sensorium.datasets._ravdess_names import parse
from sensorium.datasets._recordings import EMOTIONS, Recording
from sensorium.datasets._speakers import Speakers, by_speakers
from sensorium.errors import BadRecipe, nearest
from sensorium.modalities.audio import augment
from sensorium.pairs.folds import actor_folds
from sensorium.types import Data

_CHANNELS = {"speech": ("speech",), "song": ("song",), "both": ("speech", "song")}
_FOLDS = {"emobox": "emobox", "five-fold": "luna"}
_PROTOCOLS = (*_FOLDS, "leaky-random")


#: The audio-only archives of the record https://zenodo.org/records/1188976 (CC BY-NC-SA 4.0), 434 MB.
ARCHIVES = {
    "speech": _download.Archive("https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
                            "md5:bc696df654c87fed845eb13823edef8a"),
    "song": _download.Archive("https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip",
                          "md5:5411230427d67a21e18aa4d466e6d1b9"),
}  # fmt: skip


def leaky(n: int, seed: int = 0) -> np.ndarray:
    """Split words (n,) drawn clip by clip: 80% train, 10% validation, 10% test, speakers on all sides."""
    order, share = np.random.default_rng(seed).permutation(n), max(1, round(n / 10))
    split = np.full(n, "train", "<U10")
    split[order[:share]], split[order[share : 2 * share]] = "test", "validation"
    return split


class Ravdess(Dataset):
    """Left: clips of one actor each. Right: the eight emotions' names. Group: the actor.

    root: folder with ``Actor_01`` …, of wav, FLAC or any other sound files named as RAVDESS's.
    channel: "speech", "song" or "both". classes: which emotions to take, all eight when left empty.
    fold: of a protocol, from 1. split_seed: of what is drawn.
    protocol: "emobox" (six folds, Ma et al. 2024), "five-fold" (Luna-Jiménez et al.
        2021), in which the next fold's actors validate; or "leaky-random", which puts clips of one actor on
        both sides, as many a paper does, and says so.
    test_actors, validation_actors, train_actors: whole actors instead of a protocol. Validation left
        empty takes a sixth of the training actors, train left empty all that remain. 6, "6" and "06" are one.
    copies: so many changed copies of each training clip. augment: probability with which each kind of change is
        applied to a copy. augment_kinds: kinds of change, of speed, pitch, gain and noise.
    allow_other: leave out sound files that are not named as RAVDESS's, instead of refusing them.
    bad: what to do with recordings that cannot be read: "stop" at them, or "skip" them, having tried each.
    download: fetch what is missing of the public archives into ``root``. mirror: address to fetch it from instead.
    """

    def __init__(
        self,
        root: str,
        channel: str = "speech",
        classes: Sequence[str] = (),
        protocol: str = "emobox",
        fold: int | str = 1,
        train_actors: Speakers = (),
        validation_actors: Speakers = (),
        test_actors: Speakers = (),
        copies: int = 0,
        augment: float = 0.3,
        augment_kinds: Sequence[str] = ("speed", "pitch", "noise", "gain"),
        split_seed: int = 0,
        allow_other: bool = False,
        bad: str = "stop",
        download: bool = False,
        mirror: str = "",
    ) -> None:
        _recordings.check_bad(bad)
        if channel not in _CHANNELS:
            raise BadRecipe(f"data.channel='{channel}'; expected speech, song or both")
        for name in classes:
            if name not in EMOTIONS:
                raise BadRecipe(f"data.classes: no recording is '{name}'; {nearest(name, EMOTIONS)}")
        if protocol not in _PROTOCOLS:
            raise BadRecipe(f"data.protocol='{protocol}'; expected {', '.join(_PROTOCOLS)}")
        if (train_actors or validation_actors) and not test_actors:
            raise BadRecipe("data: train_actors or validation_actors without test_actors; type: data.test_actors=[…]")
        self.root, self.channel, self.classes = Path(root).expanduser(), channel, list(classes)
        self.protocol, self.fold = protocol, fold
        self.lists = {"train": train_actors, "validation": validation_actors, "test": test_actors}
        self.copies, self.augment, self.augment_kinds = copies, augment, augment_kinds
        self.split_seed, self.allow_other, self.bad = split_seed, allow_other, bad
        self.download, self.mirror = download, mirror

    def obtain(self) -> list[Path]:
        """Fetch what is missing of the archives of the channel."""
        return _download.obtain([ARCHIVES[name] for name in _CHANNELS[self.channel]], self.root, self.mirror)

    def folds(self) -> int:
        """How many folds the protocol has for the actors that are there; ``fold`` is one of 1 to this."""
        if self.protocol not in _FOLDS or self.lists["test"]:
            raise BadRecipe(f"data.fold=all needs data.protocol={' or '.join(_FOLDS)}, and no data.test_actors")
        speakers = {r.speaker for r in self._of_channel()[0]}
        return len(actor_folds(np.array(sorted(speakers)), _FOLDS[self.protocol]))

    def load(self) -> Data:
        """Read names, not sound. Raises BadData for wrong names or missing actors, BadRecipe for impossible lists."""
        recordings, notes = self._of_channel()
        recordings, left_out = _recordings.readable(recordings, self.bad)
        split, more = self._split(np.array([r.speaker for r in recordings], np.str_))
        notes = {**more, "channel": self.channel, **notes, **left_out}
        data = _speech.data(recordings, self.root, self.classes or EMOTIONS, split, notes)
        return augment.with_copies(data, self.copies, self.augment, self.augment_kinds, self.split_seed)

    def _of_channel(self) -> tuple[list[Recording], dict[str, Any]]:
        """The recordings of the channel and the classes that hold sound, and notes of what was left out.

        What is there as sound is not taken from its video too.
        """
        if self.download:
            self.obtain()
        found, notes = _recordings.collect(self.root, parse, "RAVDESS", self.allow_other, self.bad)
        classes = set(self.classes or EMOTIONS)
        chosen = [r for r in found if r.columns["channel"] in _CHANNELS[self.channel] and r.emotion in classes]
        alone = {r.path.stem[2:] for r in chosen if r.columns["modality"] == "audio-only"}
        recordings = [r for r in chosen if r.columns["modality"] == "audio-only" or
                 (r.columns["modality"] == "full-av" and r.path.stem[2:] not in alone)]  # fmt: skip
        if not recordings:
            raise BadRecipe(
                f"data.channel='{self.channel}': none of {len(found)} recordings below {self.root} is of it"
            )
        return recordings, notes

    def _split(self, speaker: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        if self.lists["test"]:
            split, more = by_speakers(speaker, self.lists)
            return split, {"protocol": "actors", **more}
        if self.protocol == "leaky-random":
            return leaky(len(speaker), self.split_seed), {
                "protocol": "leaky-random",
                "warning": "clips of one actor are in training and test: these numbers flatter",
            }
        splits = actor_folds(speaker, _FOLDS[self.protocol])
        if not isinstance(self.fold, int) or self.fold not in range(1, len(splits) + 1):
            raise BadRecipe(
                f"data.fold={self.fold}; {self.protocol} has folds 1 to {len(splits)} for these actors; each in turn: "
                "sensorium run RECIPE data.fold=all, or sensorium.experiments.folds.every"
            )
        return splits[self.fold - 1], {"protocol": self.protocol, "fold": self.fold}
