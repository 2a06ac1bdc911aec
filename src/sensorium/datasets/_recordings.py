"""Recordings of emotions below a folder: found by name, each clip once, unreadable ones reported or left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensorium.errors import BadData, BadRecipe
from sensorium.modalities import walk
from sensorium.modalities.audio import files

#: The eight emotions in RAVDESS's order; other corpora use the same words, and "bored".
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


@dataclass(frozen=True)
class Recording:
    """One clip: its path, emotion, speaker, and further columns."""

    path: Path
    emotion: str
    speaker: str
    columns: Mapping[str, str] = field(default_factory=dict)


#: A file's path → what its name says; None when it is not named like the corpus.
Parse = Callable[[Path], "Recording | None"]


def sound_below(root: Path, bad: str) -> walk.Walk:
    """Sound files below a folder. Raises BadData for folders that may not be entered, unless ``bad`` is "skip"."""
    found = walk.files_below(root, files.SUFFIXES)
    if found.unreadable and bad != "skip":
        raise BadData(
            f"{root}: {len(found.unreadable)} of its folders may not be entered, such as "
            f"{walk.text(found.unreadable[0])}; change their permissions, or leave them out with data.bad=skip"
        )
    return found


def refuse_pointers(root: Path, pointers: Sequence[Path], bad: str) -> None:
    """Raise BadData for recordings of which only the Git LFS pointer is there, unless ``bad`` is "skip"."""
    if pointers and bad != "skip":
        raise BadData(
            f"{root}: {len(pointers)} recordings are Git LFS pointers without their sound, such as "
            f"{walk.text(pointers[0])}; type: git lfs pull, or leave them out with data.bad=skip"
        )


def collect(
    root: Path | str, parse: Parse, corpus: str, allow_other: bool = False, bad: str = "stop"
) -> tuple[list[Recording], dict[str, Any]]:
    """Every recording below ``root`` in the order of its path, and notes of what was left out.

    A clip that is there more than once, as in a copy of the folder within itself or as WAV and FLAC, is
    taken once: names say which clip it is. A Git LFS pointer never stands for a clip whose sound is there.

    Raises BadData when there is none, or, unless ``allow_other``, when some files are named otherwise; and,
    unless ``bad`` is "skip", for folders that may not be entered and clips of which only a pointer is there.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise BadData(f"no folder {root}; type: data.root=FOLDER with the recordings of {corpus}")
    below = sound_below(root, bad)
    parsed = [(path, parse(path)) for path in below.paths]
    found = {(r.speaker, r.path.stem): r for _, r in reversed(parsed) if r is not None}
    pointers = [r for path in below.pointers if (r := parse(path)) is not None]
    refuse_pointers(root, [r.path for r in pointers if (r.speaker, r.path.stem) not in found], bad)
    other = [path for path, recording in parsed if recording is None]
    expected = f"expected names such as {parse.__doc__.split(':')[0].replace('``', '')}"
    if not below.paths:
        pulled = f"{len(pointers)} are Git LFS pointers, type: git lfs pull; " if pointers else ""
        raise BadData(
            f"no sound file below {root}; {pulled}{expected}, or type: sensorium download RECIPE data.root={root}"
        )
    if not found:
        raise BadData(
            f"{root}: none of {len(below.paths)} sound files is named as in {corpus}; {expected}; "
            "for other names use data=speech_folder"
        )
    if other and not allow_other:
        raise BadData(
            f"{root}: {len(other)} of {len(below.paths)} sound files are not named as in {corpus}, such as "
            f"{walk.text(other[0].name)}; move them away, or type: data.allow_other=true"
        )
    notes: dict[str, Any] = {"named_otherwise": len(other), **below.notes()}
    if repeated := len(below.paths) - len(other) - len(found):
        notes["repeated"] = repeated
    return sorted(found.values(), key=lambda r: r.path), notes


def check_bad(bad: str) -> None:
    """Raise BadRecipe for an unknown policy for unreadable recordings."""
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


def classes_of(found: Sequence[Recording]) -> list[str]:
    """The emotions present: the eight in their order, then others by name."""
    present = {recording.emotion for recording in found}
    return [e for e in EMOTIONS if e in present] + sorted(present.difference(EMOTIONS))
