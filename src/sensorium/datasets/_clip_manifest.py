"""Tables of clips: which columns hold paths, transcripts, speakers, languages and emotions; which file each row names.

A manifest is any table that :mod:`sensorium.formats` reads: CSV, TSV, JSONL, Parquet, or a list of GPT-SoVITS.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.datasets import _files, _items
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities import walk

#: What each column may be called, in any case; the first that is there is taken.
USUAL = {
    "path": ("path", "file", "file_name", "filename", "audio", "audio_path", "audio_file", "audio_filepath", "wav",
             "wav_path", "clip", "fname", "name", "id"),
    "transcript": ("transcript", "text", "sentence", "transcription", "normalized_text", "ref_text"),
    "speaker": ("speaker", "speaker_id", "speaker_name", "spk", "spk_id", "actor", "client_id"),
    "language": ("language", "lang", "locale"),
    "emotion": ("emotion", "emo", "emotion_label"),
    "split": ("split", "split_set"),
}  # fmt: skip
FOLDER = "folder"  # word in place of a column: the name of a folder that the clip lies in


@dataclass(frozen=True, eq=False)
class Manifest:
    """A table of clips. names: key, such as "speaker" → the column that holds it, where there is one."""

    source: Source
    names: Mapping[str, str]

    @classmethod
    def of(cls, source: Source, given: Mapping[str, str | None]) -> Manifest:
        """The table with its columns. given: key → column that the recipe names, "" for none, None for a usual name.

        Raises BadRecipe, naming the nearest, for a column that is not there, and for a table without paths.
        """
        names = columns_of(list(source.columns), given)
        for key, name in names.items():
            source.column(name, f"data.{key}")
        if "path" not in names:
            raise BadRecipe(f"{source.where} has no column of paths ({', '.join(USUAL['path'][:6])}, …); "
                            f"type: data.path=COLUMN (it has {', '.join(source.columns)})")  # fmt: skip
        return cls(source, names)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.source.n

    def rows(self, rows: Sequence[int]) -> str:
        """Rows as messages call them."""
        return self.source.rows(rows)

    def texts(self, key: str) -> list[str | None] | None:
        """The texts (n,) of a key's column, None where a cell is empty; None without such a column."""
        if key not in self.names:
            return None
        values = self.source.columns.texts(self.names[key]).tolist()
        return [None if value is None or not value.strip() else value.strip() for value in values]

    def others(self) -> dict[str, np.ndarray]:
        """Every further column (n,), as metadata."""
        found = {}
        for name in self.source.columns:
            if name not in self.names.values():
                values = _items.metadata(self.source, name, required=False)
                if values is not None:
                    found[name] = values
        return found


def columns_of(columns: Sequence[str], given: Mapping[str, str | None]) -> dict[str, str]:
    """Key → column, of the columns that a table has: see :meth:`Manifest.of`. Given names need not be there."""
    by_case = {name.lower(): name for name in reversed(columns)}
    found: dict[str, str] = {}
    for key, usual in USUAL.items():
        name = given.get(key)
        if name is None:
            name = next((by_case[one] for one in usual if one in by_case and by_case[one] not in found.values()), "")
        if name and name != FOLDER:
            found[key] = name
    return found


@dataclass(frozen=True)
class Located:
    """Which of the clips each row names, -1 for none. by_name: rows found by the bare name of their file."""

    clip: np.ndarray
    by_name: int


def located(manifest: Manifest, root: Path | None, paths: Sequence[str]) -> tuple[Located, list[str]]:
    """The clip of every row, and the paths of all clips: the given ones, and those that rows alone name.

    A row's path may be absolute, relative to the table's folder, or to ``root``. Where no such file is there, the
    clip below ``root`` of the same relative path without ending, or else of the same file name, stands for it, if
    there is only one: tables keep paths of the machine that they were written on. Raises BadData for rows without
    a path, and for two rows of one clip, with their numbers.
    """
    values = manifest.texts("path")
    if blank := [row for row, value in enumerate(values) if value is None]:
        raise BadData(f"{manifest.source.where}: {len(blank)} of {manifest.n} rows have no path "
                      f"({manifest.rows(blank)}); fill them in, or drop the rows")  # fmt: skip
    known = {path: at for at, path in enumerate(paths)}
    every, stems, names = list(paths), _unique(paths, root, False), _unique(paths, root, True)
    clip, by_name = np.full(manifest.n, -1, np.int64), 0
    for row, value in enumerate(values):
        path = next((p for p in _candidates(value, manifest.source.root, root) if os.path.isfile(p)), None)
        if path is not None:
            if path not in known:
                known[path] = len(every)
                every.append(path)
            clip[row] = known[path]
            continue
        turned = walk.text(value.replace("\\", "/"))
        at = stems.get(turned)
        if at is None and (at := names.get(turned.rpartition("/")[2])) is not None:
            by_name += 1
        clip[row] = -1 if at is None else at
    _refuse_repeated(manifest, clip, values)
    return Located(clip, by_name), every


def _candidates(value: str, *folders: Path | None) -> list[str]:
    """Where a path of the table may lie; as it is written, in the Unicode form of the disk, with slashes turned."""
    return list(dict.fromkeys(_files.on_disk(folder, value) for folder in folders if folder is not None))


def _unique(paths: Sequence[str], root: Path | None, bare: bool) -> dict[str, int]:
    """Path below the root without its ending, or the bare name with and without it → clip, of those met once."""
    found: dict[str, int | None] = {}
    for at, path in enumerate(paths):
        below = walk.text(os.path.relpath(path, root)) if root is not None and not bare else walk.text(path)
        name = below.rpartition("/")[2] if bare else below
        for key in dict.fromkeys((name, os.path.splitext(name)[0]) if bare else (os.path.splitext(name)[0],)):
            found[key] = None if key in found else at
    return {key: at for key, at in found.items() if at is not None}


def _refuse_repeated(manifest: Manifest, clip: np.ndarray, values: Sequence[Any]) -> None:
    there = np.flatnonzero(clip >= 0)
    unique, counts = np.unique(clip[there], return_counts=True)
    repeated = unique[counts > 1]
    if len(repeated):
        rows = there[clip[there] == repeated[0]].tolist()
        raise BadData(f"{manifest.source.where}: {len(repeated)} clips stand in more than one row, such as "
                      f"{values[rows[0]]!r} ({manifest.rows(rows)}); keep one row of each")  # fmt: skip
