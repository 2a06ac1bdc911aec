"""Files that a table names: found, checked before anything is embedded, and distinguished."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash

from sensorium import modalities
from sensorium.datasets._cells import Cells
from sensorium.errors import BadData
from sensorium.modalities import walk

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_ENDS = 1 << 12  # bytes at both ends of a file by which files of one size are compared first


class Files(NamedTuple):
    """The files of a side. paths (m,): absolute, as named; real (m,): links followed.

    same (m,): equal for files of equal content.
    """

    cells: Cells
    paths: np.ndarray
    real: np.ndarray
    same: np.ndarray
    notes: dict[str, Any]


def checked(cells: Cells, bad: str, within: Path | None = None, compare: bool = True) -> Files:
    """The files of the cells.

    within: the folder that every file must lie in, links followed. compare: whether contents are compared.

    Raises BadData, with counts and rows, for files that are missing, remote, empty, not readable, or not of the
    side's kind; ``bad="skip"`` leaves them out. Files of equal content are counted in the notes.
    """
    root, faults = cells.source.root, {}
    inside = "" if within is None else os.path.join(os.path.realpath(within), "")
    found: dict[str, tuple[str, str]] = {}  # path as written → where it is, or the fault
    # What is left after "skip" must not stop the encoder, so that each file is read whole.
    check = modalities.find(cells.kind).read if bad == "skip" else modalities.check_file(cells.kind)
    for value in dict.fromkeys(cells.values.tolist()):
        found[value] = _found(root, value, check, inside)
    for i, value in enumerate(cells.values.tolist()):
        if fault := found[value][1]:
            faults.setdefault(fault.split(":", 1)[0], []).append(i)
    notes: dict[str, Any] = {}
    if faults:
        text = _said(cells, faults, found)
        lost = sum(map(len, faults.values()))
        if bad != "skip":
            raise BadData(text)
        if lost == len(cells):
            raise BadData(f"{text}; nothing would be left")
        gone = np.concatenate([np.array(rows) for rows in faults.values()])
        notes = {f"{cells.side}_left_out": lost, f"{cells.side}_left_out_such_as": text}
        cells = cells.take(np.setdiff1d(np.arange(len(cells)), gone))
    paths = np.array([found[value][0] for value in cells.values.tolist()], object)
    real = np.array([os.path.realpath(path) for path in paths], object)
    same, copies = _same(real) if compare else (np.arange(len(real)), [])
    if copies:
        notes[f"{cells.side}_files_of_equal_content"] = len(copies)
        notes[f"{cells.side}_files_of_equal_content_such_as"] = [walk.text(path) for path in copies[:3]]
    return Files(cells, paths, real, same, notes)


def _found(root: Path, value: str | None, check: Callable[[str], None], inside: str = "") -> tuple[str, str]:
    """Where a file lies, and what is wrong with it, "" when nothing is. inside: the real folder it must lie in."""
    if value is None or not value.strip():
        return "", "have no path"
    if _REMOTE.match(value):
        return "", "are remote"
    path = on_disk(root, value)
    if inside and not os.path.realpath(path).startswith(inside):
        lies = path.startswith(os.path.join(os.path.abspath(root), ""))
        return path, f"lead out of {inside}{' by a link' if lies else ''}"
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return path, "are not there"
    if not stat.S_ISREG(status.st_mode):
        return path, "are folders or devices"
    if not status.st_size:
        return path, "are empty (0 bytes)"
    if status.st_size <= 1024 and walk.is_pointer(Path(path)):
        return path, "are Git LFS pointers (fetch them by git lfs pull)"
    if not os.access(path, os.R_OK):
        return path, "may not be read (permissions)"
    try:
        check(path)
    except BadData as error:
        return path, f"cannot be read: {error}"
    return path, ""


def on_disk(root: Path, value: str) -> str:
    """A path as it is written, in the Unicode form that the disk has, or with the slashes of Windows turned."""
    forms = [value, *(unicodedata.normalize(form, value) for form in ("NFC", "NFD"))]
    forms += [value.replace("\\", "/")] if "\\" in value else []
    paths = [os.path.join(root, os.path.expanduser(form)) for form in forms]
    return os.path.abspath(next((path for path in paths if os.path.lexists(path)), paths[0]))


def _said(cells: Cells, faults: dict[str, list[int]], found: dict[str, tuple[str, str]]) -> str:
    """One line: how many files cannot be used and why, with rows."""
    parts = []
    for fault, at in sorted(faults.items(), key=lambda one: -len(one[1])):
        value = cells.values[at[0]]
        why = found[value][1].partition(": ")[2]
        example = "" if value is None or not value.strip() else f" {walk.text(value)!r}"
        example += f" ({why})" if why else ""
        parts.append(f"{len(at)} {fault}, such as{example} in {cells.source.rows(cells.rows[at])}")
    remedy = "correct them"
    if any("not there" in fault for fault in faults):
        remedy = f"paths are relative to {cells.source.root}, another folder is data.root=FOLDER"
    if "are remote" in faults:
        remedy = "remote files are not fetched, as they may change from run to run; download them, and name their folder by data.root=FOLDER"  # noqa: E501
    return (f"{cells.key}: of {len(cells)} {cells.kind} files in {cells.called} of {cells.source.where}, "
            f"{'; '.join(parts)}; {remedy}, or leave them out with data.bad=skip")  # fmt: skip


def _same(real: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """A code (m,) for each file, equal where contents are, and the paths whose content an earlier one has."""
    unique, code = np.unique(real.astype(np.str_) if len(real) else np.zeros(0, np.str_), return_inverse=True)
    sizes: dict[Any, list[int]] = {}
    for i, path in enumerate(unique.tolist()):
        sizes.setdefault(os.stat(path).st_size, []).append(i)
    for key in (_ends, _whole):
        finer: dict[Any, list[int]] = {}
        for size, files in sizes.items():
            for i in files if len(files) > 1 else ():
                finer.setdefault((size, key(unique[i])), []).append(i)
        sizes = finer
    alike, copies = np.arange(len(unique)), []
    for files in sizes.values():
        alike[files] = files[0]
        copies += unique[files[1:]].tolist()
    return alike[code], copies


def _ends(path: str) -> bytes:
    with open(path, "rb") as file:
        first = file.read(_ENDS)
        file.seek(max(0, os.fstat(file.fileno()).st_size - _ENDS))
        return xxhash.xxh3_128_digest(first + file.read(_ENDS))


def _whole(path: str) -> bytes:
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.digest()
