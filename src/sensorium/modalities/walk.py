"""Listing of data folders: files below a folder, without hidden and system files, and what could not be read."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

#: Folders of systems, network drives and tools, in any case, beside all whose name begins with a dot.
SYSTEM = frozenset(
    name.casefold()
    for name in (
        "__MACOSX", "@eaDir", "@Recycle", "@Recently-Snapshot", "@tmp", "#recycle", "#snapshot", "$RECYCLE.BIN",
        "RECYCLER", "System Volume Information", "lost+found", "__pycache__",
    )
)  # fmt: skip
_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_BYTES = 1024  # the largest that Git LFS writes
_EXAMPLES = 3


class Walk(NamedTuple):
    """Files found, sorted. pointers: Git LFS pointers among files of the same endings, of which the content is absent.

    unreadable: folders that may not be entered. broken: symbolic links to nothing.
    """

    paths: list[Path]
    pointers: list[Path]
    unreadable: list[Path]
    broken: list[Path]

    def notes(self) -> dict[str, Any]:
        """Counts and examples of what was left out, for the notes of a data set; empty when nothing was."""
        found: dict[str, Any] = {}
        for name in ("pointers", "unreadable", "broken"):
            if left_out := getattr(self, name):
                what = {"pointers": "lfs_pointers", "unreadable": "folders_unreadable", "broken": "links_broken"}[name]
                found |= {what: len(left_out), f"{what}_such_as": [text(path) for path in left_out[:_EXAMPLES]]}
        return found


def files_below(folder: Path, endings: Collection[str]) -> Walk:
    """Every file below a folder with one of these endings (lower case, with the dot), at any depth.

    Hidden files and folders, and those of systems (``SYSTEM``), are left out. Links are followed; a folder that
    is reached twice is entered once.
    """
    walk, entered = Walk([], [], [], []), set()
    for at, below, names in os.walk(folder, followlinks=True, onerror=lambda error: _unreadable(walk, error)):
        real = os.path.realpath(at)
        if real in entered:
            below.clear()
            continue
        entered.add(real)
        below[:] = sorted(name for name in below if not _left_out(name))
        for name in names:
            if _left_out(name) or os.path.splitext(name)[1].lower() not in endings:
                continue
            path = Path(at, name)
            try:
                status = path.stat()
            except OSError:
                walk.broken.append(path)
                continue
            if stat.S_ISREG(status.st_mode):
                pointer = status.st_size <= _POINTER_BYTES and is_pointer(path)
                (walk.pointers if pointer else walk.paths).append(path)
    return Walk(*(sorted(paths) for paths in walk))


def is_pointer(path: Path) -> bool:
    """Whether a file is a Git LFS pointer: a text that stands for content that was not downloaded."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def text(path: str | os.PathLike[str]) -> str:
    """A file name as text that can be written as UTF-8, in NFC; bytes that are not UTF-8 become ``\\xNN``.

    >>> text("caf\\udce9.wav")
    'caf\\\\xe9.wav'
    """
    name = os.fspath(path)
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _left_out(name: str) -> bool:
    return name.startswith(".") or name.casefold() in SYSTEM


def _unreadable(walk: Walk, error: OSError) -> None:
    walk.unreadable.append(Path(error.filename))
