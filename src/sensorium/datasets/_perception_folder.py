"""Pictures and videos below a folder, one sub-folder a label; RAVDESS's videos by their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensorium import modalities
from sensorium.datasets import _perception_labels, _ravdess_names
from sensorium.datasets._perception_media import Medium, Said
from sensorium.errors import BadData
from sensorium.modalities import walk
from sensorium.modalities.face import video

#: Folders that are splits, as FER2013 and others call them.
SPLITS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "publictest": "validation", "test": "test", "testing": "test", "privatetest": "test",
}  # fmt: skip


def listing(root: Path, bad: str) -> tuple[list[Medium], dict[str, Any]]:
    """The pictures and videos of a folder with their labels, sorted by path, and notes.

    ``LABEL/…/file``, below folders of splits or not; the folders below a label's are kept. Where all files are videos
    that are named as RAVDESS's, emotion and actor are those of the name, and of a take that is there with sound and
    without one is left out. Raises BadData for a folder without such files, and for those without a label.
    """
    if not root.is_dir():
        raise BadData(f"no folder {root}; type: data.root=FOLDER with a folder of pictures or videos for each label")
    endings = {*modalities.find("image").media_types, *video.ENDINGS, ".npy"}
    found = walk.files_below(root, endings)
    if found.pointers and bad != "skip":
        raise BadData(f"{root}: {len(found.pointers)} files are Git LFS pointers, such as "
                      f"{walk.text(found.pointers[0])}; type: git lfs pull, or leave them out with data.bad=skip"
                      )  # fmt: skip
    paths, notes = found.paths, found.notes()
    if not paths:
        raise BadData(f"{root}: no picture or video below it; expected such as {root}/happy/a.jpg or "
                      f"{root}/happy/a.mp4")  # fmt: skip
    if all(video.is_video(path) and _ravdess_names.is_name(path) for path in paths):
        media = _ravdess(root, paths)
        if len(media) < len(paths):
            notes["takes_without_sound_left_out"] = len(paths) - len(media)
        return media, notes
    return _labelled(root, paths), notes


def _ravdess(root: Path, paths: Sequence[Path]) -> list[Medium]:
    """One medium a take. Raises BadData for a name with a number that the corpus does not use."""
    with_sound = {path.stem[3:] for path in paths if path.stem.startswith("01-")}
    media = []
    for path in paths:
        recording = _ravdess_names.parse(path)
        if recording is not None and not (path.stem.startswith("02-") and path.stem[3:] in with_sound):
            label = _perception_labels.canonical(recording.emotion)
            media.append(Medium(_id(root, path), str(path), [Said(label)], person=recording.speaker,
                                columns=recording.columns))  # fmt: skip
    return media


def _labelled(root: Path, paths: Sequence[Path]) -> list[Medium]:
    parts = [path.relative_to(root).parts for path in paths]
    first = {one[0].casefold() for one in parts}
    split = len(first) > 1 and first <= SPLITS.keys()
    depth = 2 if split else 1
    if bare := [path for path, one in zip(paths, parts, strict=True) if len(one) <= depth]:
        raise BadData(f"{root}: {len(bare)} of {len(paths)} files lie in no folder of a label, such as "
                      f"{walk.text(bare[0])}; expected such as {root}/happy/a.jpg, or type data.table=TABLE with path "
                      "and label or prompt")  # fmt: skip
    return [
        Medium(
            _id(root, path), str(path), [Said(_perception_labels.canonical(walk.text(one[depth - 1])))],
            split=SPLITS[one[0].casefold()] if split else "", folder="/".join(map(walk.text, one[depth:-1])),
        )
        for path, one in zip(paths, parts, strict=True)
    ]  # fmt: skip


def _id(root: Path, path: Path) -> str:
    return walk.text(path.relative_to(root).as_posix())
