"""A library of clips: the sound files below a folder, those that a table names, and what is known of each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.datasets import _clip_manifest, _ravdess_names, _recordings
from sensorium.datasets._clip_manifest import FOLDER, Manifest
from sensorium.errors import BadData
from sensorium.modalities import walk
from sensorium.modalities.audio import files, whole
from sensorium.numerics import affect
from sensorium.table import as_column
from sensorium.types import as_ids

KNOWN = ("emotion", "speaker", "language", "transcript", "path")  # columns that every library may have


@dataclass(frozen=True, eq=False)
class Library:
    """n clips. ids (n,): paths below the folder; paths: absolute; columns: name → (n,) values; notes: what was done.

    row (n,): the clip's row of the table, -1 without one; manifest: that table, if any.
    """

    ids: np.ndarray
    paths: list[str]
    columns: Mapping[str, np.ndarray]
    row: np.ndarray
    manifest: Manifest | None
    notes: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, which: np.ndarray, **notes: Any) -> Library:
        """The clips at these positions, with further notes."""
        columns = {name: column[which] for name, column in self.columns.items()}
        paths = [self.paths[i] for i in which]
        return replace(self, ids=self.ids[which], paths=paths, columns=columns, row=self.row[which],
                       notes={**self.notes, **notes})  # fmt: skip

    def having(self, columns: Mapping[str, np.ndarray], **notes: Any) -> Library:
        """The clips with further columns, which take the place of those of the same name, and further notes."""
        if replaced := [name for name in columns if name in self.columns]:
            notes["columns_measured_anew"] = replaced
        return replace(self, columns={**self.columns, **columns}, notes={**self.notes, **notes})

    def called(self, at: int) -> str:
        """A clip in messages: its row of the table, or else its id."""
        row = int(self.row[at])
        return self.manifest.rows([row]) if self.manifest is not None and row >= 0 else f"'{self.ids[at]}'"

    def texts(self, name: str) -> list[str | None]:
        """A column of texts, with None where a value is missing or the column is."""
        column = self.columns.get(name)
        return [None] * len(self) if column is None else [None if v is None else str(v) for v in column.tolist()]

    def without(self, faults: Mapping[int, str], bad: str) -> Library:
        """The clips that can be used. Raises BadData with counts, rows and reasons, unless ``bad`` is "skip"."""
        if not faults:
            return self
        first = next(iter(sorted(faults)))
        said = f"{len(faults)} of {len(self)} clips cannot be used, such as {self.called(first)}: {faults[first]}"
        if bad != "skip" or len(faults) == len(self):
            raise BadData(f"{said}; or leave them out with data.bad=skip")
        kept = np.setdiff1d(np.arange(len(self)), np.array(list(faults)))
        some = [f"{self.called(at)}: {faults[at]}" for at in sorted(faults)[:3]]
        return self.take(kept, left_out=len(faults), left_out_such_as=some)


def collect(root: Path | None, manifest: Manifest | None, given: Mapping[str, str | None], *, bad: str,
            allow_missing: bool) -> Library:  # fmt: skip
    """The clips below ``root``, with the columns of a table where there is one; else those that the table names.

    given: key → column or "folder". Where no table says them, RAVDESS's file names say emotion, speaker and
    sentence. Raises BadData for a folder without clips, rows whose file is not there (unless ``allow_missing``),
    and folders and files that cannot be read (unless ``bad`` is "skip").
    """
    paths, notes = _below(root, bad) if root is not None else ([], {})
    row = np.full(len(paths), -1, np.int64)
    if manifest is not None:
        found, paths = _clip_manifest.located(manifest, root, paths)
        notes |= _of_rows(manifest, found, root, len(paths), allow_missing)
        row = np.full(len(paths), -1, np.int64)
        row[found.clip[found.clip >= 0]] = np.flatnonzero(found.clip >= 0)
    folder = root if root is not None else manifest.source.root
    ids = _ids(paths, folder)
    columns = _columns(paths, folder, manifest, row, given, notes)
    return Library(ids, paths, columns, row, manifest, {"clips": len(paths), **notes})


def faults(paths: Sequence[str], longest: float) -> dict[int, str]:
    """Position → what is wrong, of the files that are no whole recordings or longer than ``longest`` seconds."""

    def fault(path: str) -> str | None:
        try:
            if (seconds := whole.seconds(path)) > longest:
                return f"{path} is {seconds:.0f} s long; at most {longest:.0f} s are read: cut it into parts"
            whole.check(path)
        except BadData as error:
            return str(error)
        return None

    with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0)))) as pool:
        return {at: found for at, found in enumerate(pool.map(fault, paths)) if found is not None}


def _below(root: Path, bad: str) -> tuple[list[str], dict[str, Any]]:
    if not root.is_dir():
        raise BadData(f"no folder {root}; type: data.root=FOLDER with the clips")
    found = _recordings.sound_below(Path(os.path.abspath(root)), bad)
    _recordings.refuse_pointers(root, found.pointers, bad)
    if not found.paths:
        raise BadData(f"no sound file below {root}; expected files that end in {', '.join(sorted(files.SUFFIXES))}")
    return [str(path) for path in found.paths], found.notes()


def _of_rows(manifest: Manifest, found: Any, root: Path | None, clips: int, allow_missing: bool) -> dict[str, Any]:
    """Notes of how rows and clips go together."""
    lost = np.flatnonzero(found.clip < 0)
    where, values = manifest.source.where, manifest.texts("path")
    if len(lost) == manifest.n or (len(lost) and not allow_missing):
        folders = f"{manifest.source.root}" + (f" and {root}" if root is not None else "")
        remedy = "" if len(lost) == manifest.n else ", or leave these rows out: data.allow_missing=true"
        raise BadData(f"{where}: the files of {len(lost)} of {manifest.n} rows are not there, such as "
                      f"{values[lost[0]]!r} ({manifest.rows(lost)}); paths are looked for in {folders}: correct "
                      f"them, name their folder by data.root=FOLDER{remedy}")  # fmt: skip
    notes: dict[str, Any] = {"rows": manifest.n}
    if len(lost):
        notes |= {"rows_without_clip": len(lost), "rows_without_clip_such_as": manifest.rows(lost)}
    if without := clips - (manifest.n - len(lost)):
        notes["clips_without_row"] = without
    if found.by_name:
        notes["rows_found_by_file_name"] = found.by_name
    return notes


def _ids(paths: Sequence[str], folder: Path) -> np.ndarray:
    """Paths below the folder, of other files their absolute paths; in NFC, or as on the disk where these collide."""
    base = os.path.abspath(folder)
    below = [os.path.relpath(path, base) for path in paths]
    below = [path if one.startswith("..") else Path(one).as_posix() for path, one in zip(paths, below, strict=True)]
    ids = [walk.text(one) for one in below]
    if len(set(ids)) < len(ids):
        ids = [one.encode("utf-8", "backslashreplace").decode() for one in below]
    return as_ids(ids)


def _columns(paths: Sequence[str], folder: Path, manifest: Manifest | None, row: np.ndarray,
             given: Mapping[str, str | None], notes: dict[str, Any]) -> dict[str, np.ndarray]:  # fmt: skip
    """Every column of the clips: of the table, else of RAVDESS's names, else of the folders where these are asked."""
    labels: dict[str, list[str | None]] = {key: [None] * len(paths) for key in KNOWN if key != "path"}
    others: dict[str, np.ndarray] = {}
    if any(_ravdess_names.is_name(Path(path)) for path in paths):
        others = _from_names(paths, labels)
    levels = _levels(paths, folder, given)
    for key, names in levels.items():
        labels[key] = names
    if manifest is not None:
        for key in labels:
            values = manifest.texts(key)
            if values is not None:
                labels[key] = [was if at < 0 or values[at] is None else values[at]
                             for was, at in zip(labels[key], row.tolist(), strict=True)]  # fmt: skip
        for name, column in manifest.others().items():
            others[name] = _spread(column, row, name)
    labels["emotion"] = [None if word is None else affect.canonical(word) for word in labels["emotion"]]
    columns = {key: as_column(values, key) for key, values in labels.items() if any(v is not None for v in values)}
    columns["path"] = as_column([walk.text(path) for path in paths], "path")
    split = None if manifest is None else manifest.texts("split")
    if split is not None:
        columns["split"] = as_column([None if at < 0 else split[at] for at in row.tolist()], "split")
    return {**columns, **{name: column for name, column in others.items() if name not in columns}}


def _from_names(paths: Sequence[str], labels: dict[str, list[str | None]]) -> dict[str, np.ndarray]:
    """What RAVDESS's names say: emotion, speaker and transcript into ``labels``, and further columns."""
    parsed = [_ravdess_names.parse(Path(path)) for path in paths]
    for at, one in enumerate(parsed):
        if one is not None:
            labels["emotion"][at], labels["speaker"][at], labels["language"][at] = one.emotion, one.speaker, "en"
            labels["transcript"][at] = _ravdess_names.TRANSCRIPTS[one.columns["statement"]]
    names = ("sex", "intensity", "channel", "statement", "repetition")
    return {name: as_column([None if one is None else one.columns[name] for one in parsed], name) for name in names}


def _levels(paths: Sequence[str], folder: Path, given: Mapping[str, str | None]) -> dict[str, list[str | None]]:
    """Names of folders as emotions and speakers, of the keys that are "folder".

    The emotion is the level of folders whose names are the most often those of emotions, the last one where none is;
    the speaker is the first other level.
    """
    wanted = [key for key in ("emotion", "speaker", "language") if given.get(key) == FOLDER]
    if not wanted:
        return {}
    base = os.path.abspath(folder)
    parts = [[walk.text(one) for one in Path(os.path.relpath(path, base)).parts[:-1]] for path in paths]
    depth = max(map(len, parts))
    if not depth:
        raise BadData(f"data.{wanted[0]}=folder: the clips lie in {folder} itself; expected folders below it")
    share = [np.mean([len(one) > level and affect.vad(one[level]) is not None for one in parts])
             for level in range(depth)]  # fmt: skip
    feeling = int(np.argmax(share)) if max(share) > 0 else depth - 1
    free = [level for level in range(depth) if "emotion" not in wanted or level != feeling]
    level_of = {"emotion": feeling}
    for key in ("speaker", "language"):
        if key in wanted and not free:
            raise BadData(f"data.{key}=folder: below {folder} there is one level of folders, which are the emotions; "
                          f"name a column of a table, or leave data.{key} out")  # fmt: skip
        if key in wanted:
            level_of[key] = free.pop(0)
    return {key: [one[level_of[key]] if len(one) > level_of[key] else None for one in parts] for key in wanted}


def _spread(column: np.ndarray, row: np.ndarray, name: str) -> np.ndarray:
    """A column of the table's rows as one of the clips; missing where a clip has no row."""
    if (row >= 0).all():
        return column[row]
    values = column.tolist() if column.dtype.kind not in "Mm" else list(column)
    return as_column([None if at < 0 else values[at] for at in row.tolist()], name)
