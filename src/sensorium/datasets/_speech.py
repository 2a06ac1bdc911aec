"""Recordings of emotions: what RAVDESS's names say, whole speakers to each split, unreadable ones left out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.modalities.audio import files
from sensorium.pairs import Pairs
from sensorium.types import Data, Items, as_ids

#: The eight emotions in RAVDESS's order; other corpora use the same words, and "bored".
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


@dataclass(frozen=True)
class Recording:
    """One clip: where it is, what is felt, who speaks, and further columns."""

    path: Path
    emotion: str
    speaker: str
    columns: Mapping[str, str] = field(default_factory=dict)


#: Test actors of each fold of RAVDESS. emobox: Ma et al. 2024; luna: Luna-Jiménez et al. 2021.
FOLDS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "emobox": ((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22)),
    "luna": ((2, 5, 14, 15, 16), (3, 6, 7, 13, 18), (10, 11, 12, 19, 20), (8, 17, 21, 23, 24), (1, 4, 9, 22)),
}

#: A list of speakers in a recipe; one of them may stand alone.
Speakers = Sequence[Any] | int | str

#: A file's path → what its name says; None when it is not named like the corpus.
Parse = Callable[[Path], "Recording | None"]


def ravdess(path: Path) -> Recording | None:
    """``03-01-06-02-01-01-12.wav``: modality, channel, emotion, intensity, statement, repetition, actor.

    Raises BadData for a number that the corpus does not use.
    """
    if not re.fullmatch(r"\d\d(-\d\d){6}", path.stem):
        return None
    codes = [int(part) for part in path.stem.split("-")]
    for code, most, what in zip(codes, (3, 2, 8, 2, 2, 2, 24), _RAVDESS, strict=True):
        if not 1 <= code <= most:
            raise BadData(f"{path}: {what} {code:02d}; RAVDESS has 01 to {most:02d}; mend the name, or leave it out")
    actor = codes[6]
    return Recording(path, EMOTIONS[codes[2] - 1], str(actor), {
        "modality": ("full-av", "video-only", "audio-only")[codes[0] - 1],
        "channel": ("speech", "song")[codes[1] - 1],
        "intensity": ("normal", "strong")[codes[3] - 1],
        "statement": ("kids", "dogs")[codes[4] - 1],
        "repetition": str(codes[5]),
        "sex": "male" if actor % 2 else "female",
    })  # fmt: skip


_RAVDESS = ("modality", "channel", "emotion", "intensity", "statement", "repetition", "actor")


def collect(
    root: Path | str, parse: Parse, corpus: str, allow_other: bool = False
) -> tuple[list[Recording], dict[str, Any]]:
    """Every recording below ``root`` in the order of its path, and notes of what was left out.

    A clip that lies there more than once, as in a copy of the folder within itself or as wav and FLAC, is
    taken once: names say which clip it is. Raises BadData when there is none, or, unless ``allow_other``,
    when some files are named otherwise.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise BadData(f"no folder {root}; type: data.root=FOLDER with the recordings of {corpus}")
    paths = files.files_below(root)
    parsed = [(path, parse(path)) for path in paths]
    found = {(r.speaker, r.path.stem): r for _, r in reversed(parsed) if r is not None}
    other = [path for path, recording in parsed if recording is None]
    expected = f"expected names such as {parse.__doc__.split(':')[0].replace('``', '')}"
    if not paths:
        raise BadData(f"no sound file below {root}; {expected}, or type: sensorium download RECIPE data.root={root}")
    if not found:
        raise BadData(
            f"{root}: none of {len(paths)} sound files is named as in {corpus}; {expected}; "
            "for other names use data=speech_folder"
        )
    if other and not allow_other:
        raise BadData(
            f"{root}: {len(other)} of {len(paths)} sound files are not named as in {corpus}, such as "
            f"{other[0].name}; move them away, or type: data.allow_other=true"
        )
    notes: dict[str, Any] = {"named_otherwise": len(other)}
    if repeated := len(paths) - len(other) - len(found):
        notes["repeated"] = repeated
    return sorted(found.values(), key=lambda r: r.path), notes


def check_bad(bad: str) -> None:
    """Raise BadRecipe for a word that says not what to do with unreadable recordings."""
    if bad not in ("stop", "skip"):
        raise BadRecipe(f"data.bad='{bad}'; expected stop or skip")


def readable(found: Sequence[Recording], bad: str) -> tuple[list[Recording], dict[str, Any]]:
    """With "skip", the recordings that can be read, each being tried, and notes of the others; else all of them.

    Raises BadData when none can be read.
    """
    broken = files.unreadable([r.path for r in found]) if bad == "skip" else {}
    if broken and len(broken) == len(found):
        raise BadData(f"none of {len(found)} recordings can be read, such as: {broken[0]}")
    notes = {"unreadable": len(broken), "unreadable_such_as": list(broken.values())[:3]} if broken else {}
    return [r for i, r in enumerate(found) if i not in broken], notes


def actor_folds(actor: np.ndarray, protocol: str = "emobox") -> list[np.ndarray]:
    """Split words (n,) of each fold: the next fold's test actors validate, so every actor does once.

    actor (n,): numbers 1 to 24, as text or not. Folds of which no actor is present are left out.
    Raises BadRecipe for an unknown protocol, BadData when fewer than 3 folds have actors.
    """
    if protocol not in FOLDS:
        raise BadRecipe(f"protocol '{protocol}'; {nearest(protocol, FOLDS)}")
    actor = np.asarray(actor).astype(np.int64)
    present = [f for f in FOLDS[protocol] if np.isin(f, actor).any()]
    if len(present) < 3:
        raise BadData(
            f"{protocol}: actors of {len(present)} of {len(FOLDS[protocol])} folds are present; at least 3 are "
            "needed to train, validate and test apart"
        )
    splits = []
    for test, validation in zip(present, present[1:] + present[:1], strict=True):
        word = np.where(np.isin(actor, validation), "validation", "train")
        splits.append(np.where(np.isin(actor, test), "test", word))
    return splits


def leaky(n: int, seed: int = 0) -> np.ndarray:
    """Split words (n,) drawn clip by clip: 80% train, 10% validation, 10% test, speakers on all sides."""
    order, share = np.random.default_rng(seed).permutation(n), max(1, round(n / 10))
    split = np.full(n, "train", "<U10")
    split[order[:share]], split[order[share : 2 * share]] = "test", "validation"
    return split


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
        text = str(name)
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


def classes_of(found: Sequence[Recording]) -> list[str]:
    """The emotions present: the eight in their order, then others by name."""
    present = {recording.emotion for recording in found}
    return [e for e in EMOTIONS if e in present] + sorted(present.difference(EMOTIONS))


def data(
    found: Sequence[Recording],
    root: Path,
    classes: Sequence[str],
    split: np.ndarray | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Data:
    """Clips on the left, class names on the right, a pair for each clip; the group is the speaker.

    split (n,): "" leaves a clip out where others have a word. Ids are paths below ``root``.
    """
    kept = list(range(len(found))) if split is None else np.flatnonzero(split != "").tolist()
    chosen = [found[i] for i in kept]
    names = sorted({name for recording in chosen for name in recording.columns})
    columns = {name: np.array([r.columns.get(name, "") for r in chosen], np.str_) for name in names}
    speaker, emotion = (np.array([getattr(r, k) for r in chosen], np.str_) for k in ("speaker", "emotion"))
    ids = as_ids([Path(os.path.relpath(r.path, root)).as_posix() for r in chosen])
    left = Items(ids, [str(r.path) for r in chosen], "audio", {"emotion": emotion, "speaker": speaker, **columns})
    right = Items(as_ids(list(classes)), list(classes), "text")
    place = {name: row for row, name in enumerate(classes)}
    pairs = Pairs.of(np.arange(len(chosen)), [place[e] for e in emotion.tolist()], group=speaker,
                     split=None if split is None else split[kept])  # fmt: skip
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
    """The data of a corpus: the emotions wanted, and splits by lists of speakers where a test list is given.

    Otherwise the splits are those given, (n,) words, or none.

    Raises BadRecipe for an emotion that no recording has, or for lists without test speakers.
    """
    present = classes_of(found)
    for name in classes:
        if name not in present:
            raise BadRecipe(f"data.classes: no recording is '{name}'; {nearest(name, present)}")
    kept = [i for i, r in enumerate(found) if not classes or r.emotion in classes]
    chosen = [found[i] for i in kept]
    speaker = np.array([r.speaker for r in chosen], np.str_)
    split, told = None if split is None else split[kept], {}
    if lists["test"]:
        split, told = by_speakers(speaker, lists)
    elif lists["train"] or lists["validation"]:
        raise BadRecipe("data: train_actors or validation_actors without test_actors; type: data.test_actors=[…]")
    return data(chosen, root, classes or present, split, {**(notes or {}), **told})
