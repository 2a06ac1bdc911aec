"""A folder whose sub-folders are classes: pictures, sounds or videos, and the names of their classes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from sensorium import formats, modalities
from sensorium.contracts import Dataset
from sensorium.datasets import _cells, _grouping, _items, _links
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.formats import Column, Columns
from sensorium.modalities import walk
from sensorium.types import Data

_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
_WORDS = {"training": "train", "testing": "test"}


class Folder(Dataset):
    """Left: files of ``root/CLASS/…/file``, each with its path as id. Right: the names of the classes.

    Where the folders in ``root`` are called train, validation (val, dev) and test, they are the splits, and the
    classes lie in them. Without them files are drawn at random, those of equal content together; group: "folder"
    keeps the files of one folder below the class, such as a speaker or a product, in one split.
    root: the folder. kind: image, audio, …, where there are files of several kinds.
    bad: what to do with files that cannot be read, "stop" or "skip".
    """

    def __init__(self, root: str, kind: str | None = None, group: str = "", bad: str = "stop") -> None:
        if bad not in ("stop", "skip"):
            raise BadRecipe(f"data.bad='{bad}'; expected stop or skip")
        if group not in ("", "folder"):
            raise BadRecipe(f"data.group='{group}'; expected folder, for the folders below each class")
        files = [name for name, one in modalities.found().items() if one.is_file]
        if kind is not None and kind not in files:
            raise BadRecipe(f"data.kind='{kind}' has no files; {nearest(kind, files)}")
        self.root, self.kind, self.group, self.bad = Path(root).expanduser(), kind, group, bad

    def load(self) -> Data:
        """Find and check the files. Raises BadData for a folder without classes, or with files of several kinds."""
        paths, kind, notes = self._files()
        split, classes, folders = self._told(paths)
        columns = {"path": paths, "class": classes, "folder": folders, **({"split": split} if split else {})}
        table = Source.of(self.root.name, Columns(
            {name: Column((len(paths),), lambda v=values: formats.objects(v)) for name, values in columns.items()},
            self.root), self.root)  # fmt: skip
        left = _items.prepared(_cells.read("left", table, ["path"], kind, False), "", True, self.bad)
        right = _items.prepared(_cells.read("right", table, ["class"], "text", True), "", True, self.bad)
        group = "folder" if self.group else None
        pairs, more = _grouping.pairs(left, right, _links.by_row(left, right), group, "split" if split else "", "right")
        if len(right.values) < 2:
            raise BadData(f"{self.root} has one class, '{right.values[0]}'; expected a folder for each class")
        kept = ["class", *(["folder"] if any(folders) else [])]
        items = left.items(left.name, kept, (), False), right.items("class", None, (), True)
        counts = {"files": len(left.values), "classes": len(right.values)}
        return Data(*items, pairs, {**counts, **notes, **more, **left.notes})

    def _files(self) -> tuple[list[str], str, dict[str, Any]]:
        """Paths below the root, their kind, and what was left out."""
        if not self.root.is_dir():
            raise BadData(f"no folder {self.root}; type: data.root=FOLDER with a folder for each class")
        endings = {ending for one in modalities.found().values() for ending in one.media_types}
        found = walk.files_below(self.root, endings)
        if found.pointers and self.bad != "skip":
            raise BadData(f"{self.root}: {len(found.pointers)} files are Git LFS pointers, such as "
                          f"{walk.text(found.pointers[0])}; type: git lfs pull, or leave them out with data.bad=skip"
                          )  # fmt: skip
        paths = [path.relative_to(self.root).as_posix() for path in found.paths if path.parent != self.root]
        kinds = Counter(_cells.kind_of_file(path) for path in paths)
        if not paths:
            some = ", ".join(sorted(endings)[:8])
            raise BadData(f"{self.root}: no file in a folder of its class; expected such as {self.root}/dog/a.jpg "
                          f"(files end in {some}, …)")  # fmt: skip
        of = [name for name in kinds if self.kind is None or _same_files(name, self.kind)]
        if len(of) != 1:
            listed = ", ".join(f"{count} {name}" for name, count in kinds.most_common())
            raise BadData(f"{self.root} holds files of several kinds or of none: {listed} files; "
                          f"type: data.kind={kinds.most_common()[0][0]}")  # fmt: skip
        others = sum(kinds.values()) - kinds[of[0]]
        notes = {**found.notes(), **({"files_of_other_kinds": others} if others else {})}
        return [path for path in paths if _cells.kind_of_file(path) == of[0]], self.kind or of[0], notes

    def _told(self, paths: list[str]) -> tuple[list[str], list[str], list[str]]:
        """Split ([] where the folders are no splits), class, and folder below the class of each path."""
        parts = [path.split("/") for path in paths]
        words: list[str] = []
        if {one[0].lower() for one in parts} <= _SPLITS and len({one[0] for one in parts}) > 1:
            words = [_WORDS.get(one[0].lower(), one[0].lower()) for one in parts]
            parts = [one[1:] for one in parts]
            if lost := [path for path, one in zip(paths, parts, strict=True) if len(one) < 2]:
                raise BadData(f"{self.root}: {len(lost)} files lie in no folder of a class, such as {lost[0]}")
        folders = ["/".join(one[1:-1]) if len(one) > 2 else "" for one in parts]
        return words, [walk.text(one[0]) for one in parts], folders


def _same_files(name: str, kind: str) -> bool:
    """Whether files that are recognised as one kind may be taken as another: pictures as faces."""
    known = modalities.found()
    return name == kind or bool(name and set(known[name].media_types) & set(known[kind].media_types))
