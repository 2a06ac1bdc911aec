"""A table of captioned media: several captions a row, or one; the rows of one file are one clip."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.datasets import _hub_data, _items
from sensorium.datasets._merged import merged
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import SPLIT_NAMES, objects
from sensorium.modalities import walk
from sensorium.types import as_ids

#: Names of columns that are looked for, in this order, whatever their case.
PATHS = ("file_name", "filename", "fname", "file", "path", "file_path", "filepath", "audio_path", "audio_file",
         "audio_filename", "audio", "wav", "wav_path", "sound", "image_path", "image_file", "image_filename", "image",
         "img", "picture", "photo", "media", "id")  # fmt: skip
CAPTIONS = ("captions", "caption", "raw_text", "sentences", "sentence", "text", "description")
IDS = ("id", "clip_id", "audio_id", "image_id", "sound_id")
SPLITS = (*SPLIT_NAMES, "subset")
_NUMBERED = re.compile(r"(?:caption|sentence|text)s?[_\-. ]?(\d+)", re.IGNORECASE)
KEYS = ("path", "caption", "id", "split", "group")


@dataclass(frozen=True, eq=False)
class Listing:
    """The m captions of a table. row (m,): of the table; number (m,): of the caption in its row, from 1.

    names: key → column, as found. paths (r,): of the table's rows, as they are written, or of the files that cells
    hold; titles (r,): what cells that hold files call them, None where cells hold paths.
    texts (m,): captions, None where one is missing. wide: one row has several captions.
    """

    source: Source
    names: Mapping[str, Any]
    paths: np.ndarray
    titles: np.ndarray | None
    row: np.ndarray
    number: np.ndarray
    texts: np.ndarray
    wide: bool

    def metadata(self, code: np.ndarray, first: np.ndarray, row: np.ndarray):
        """Further columns of the n clips, and those of the m captions whose clips they are not the same for.

        code (m,): the clip of each caption; first (n,): its first caption; row (m,): the caption's row.
        """
        used = {self.names["path"], *self.names["caption"], self.names.get("split"), self.names.get("id")}
        of_clips, of_captions, left_out = {}, {}, []
        for name in self.source.columns:
            values = None if name in used else _items.metadata(self.source, name, required=False)
            if name in used:
                continue
            found = None if values is None else merged(values[row], code, first, name)
            if found is None:
                left_out.append(name)
                continue
            of_clips[name] = found
            if _has_lists(found) and not _has_lists(values):  # the rows of a clip differ in it
                of_captions[name] = values[row]
        return of_clips, of_captions, left_out


def read(source: Source, given: Mapping[str, Any]) -> Listing:
    """The captions of a table. given: key of KEYS → column, None where it is to be found by its usual name.

    Raises BadRecipe for a column that is not there (naming the nearest), BadData for cells that are neither text nor
    lists of texts.
    """
    names = columns_of(list(source.columns), given, source)
    paths, titles = _paths(source, names["path"])
    row, number, texts, wide = _texts(source, names["caption"])
    return Listing(source, names, paths, titles, row, number, texts, wide)


def columns_of(columns: Sequence[str], given: Mapping[str, Any], source: Source | None = None) -> dict[str, Any]:
    """Key → column, of "caption" a list of columns.

    source: the table itself; then BadRecipe is raised where a column is not there.
    """
    by_case = {name.lower(): name for name in reversed(columns)}
    numbered = sorted((int(found[1]), name) for name in columns if (found := _NUMBERED.fullmatch(name)))
    names: dict[str, Any] = {}
    asked = given.get("caption")
    if asked:
        pieces = [asked] if isinstance(asked, str) else list(asked)
        if isinstance(asked, str) and asked not in columns:
            pieces = [one.strip() for one in asked.split(",") if one.strip()]
        names["caption"] = [n for piece in pieces for n in (source.names(piece, "data.caption") if source else [piece])]
    else:
        names["caption"] = [n for _, n in numbered] or [by_case[one] for one in CAPTIONS if one in by_case][:1]
    for key, usual in (("path", PATHS), ("split", SPLITS), ("group", ()), ("id", IDS)):
        name = given.get(key)
        if name and source is not None and key != "id":
            source.column(name, f"data.{key}")
        if name is None:
            taken = {names.get("path"), *names["caption"]}
            name = next((by_case[one] for one in usual if one in by_case and by_case[one] not in taken), None)
        names[key] = name or None
    if source is not None:
        for key, said in (("path", "files"), ("caption", "captions")):
            if not names[key]:
                raise BadRecipe(f"{source.where} has no column of {said} that is known by its name; type: "
                                f"data.{key}=COLUMN ({', '.join(source.columns)})")  # fmt: skip
    return names


def ids(listing: Listing, row: np.ndarray, code: np.ndarray, first: np.ndarray, paths: Sequence[str],
        given: str | None) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """Ids of the n clips and, where the column has one for each caption, of the m captions, else None.

    row, code (m,): of each caption its row of the table and its clip; first (n,): the first caption of each clip.

    The column of ids is taken where it has one id for each clip, or one for each caption, which then begins with its
    clip's (``x.wav#1``); else clips are called as their files. Raises BadData, with rows, where the named one has
    neither.
    """
    name, source = listing.names.get("id"), listing.source
    if name:
        column = _items.ids_of(source, name, "left") if given else _usual(source, name)
        if column is not None:
            found = column[row]
            if np.array_equal(found[first][code], found):
                if len(np.unique(found[first])) == len(first):
                    return found[first], None
            elif len(np.unique(found)) == len(found):
                stems = as_ids([one.rpartition("#")[0] or one for one in found.tolist()])
                if np.array_equal(stems[first][code], stems) and len(np.unique(stems[first])) == len(first):
                    return stems[first], found
                return as_ids(list(paths)), found
        if given:
            raise BadData(f"data.id={name}: {source.where} has the same id for several clips; every clip needs its "
                          "own: name another column, or leave data.id out to call clips as their files")  # fmt: skip
    return as_ids(list(paths)), None


def words(listing: Listing, key: str) -> list[str | None] | None:
    """The texts (r,) of the column of splits or groups, row by row, None where a cell is empty; None without one."""
    name = listing.names.get(key)
    if not name:
        return None
    texts = listing.source.columns.texts(name).tolist()
    return [None if one is None or not one.strip() else one.strip() for one in texts]


def _usual(source: Source, name: str) -> np.ndarray | None:
    try:
        return _items.ids_of(source, name, "left")
    except BadData:
        return None


def _has_lists(column: np.ndarray) -> bool:
    return column.dtype.kind == "O" and any(isinstance(value, list) for value in column.tolist())


def _paths(source: Source, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    array = source.columns[name]
    if array.dtype.kind == "O" and any(isinstance(v, dict) for v in array[:100].tolist()):
        made = _hub_data.files_of(array.tolist(), f"data.path: '{name}' of {source.where}")
        return objects(made[0]), objects([None if one is None else walk.text(one) for one in made[1]])
    source.column(name, "data.path")
    return source.columns.texts(name), None


def _texts(source: Source, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Row, number and text of every caption, row by row; and whether a row has several of them."""
    row, number, texts = [], [], []
    columns = [_cells(source, name) for name in names]
    for at in range(source.n):
        each = [one for column in columns for one in column[at]]
        row += [at] * len(each)
        number += range(1, len(each) + 1)
        texts += each
    wide = len(names) > 1 or any(len(cell) != 1 for cell in columns[0])
    return np.array(row, np.int64), np.array(number, np.int64), objects(texts), wide


def _cells(source: Source, name: str) -> list[list[str | None]]:
    """The captions of each cell of a column: one, or as many as its list has."""
    values = source.columns.exact(name).tolist()
    where = f"data.caption: column '{name}' of {source.where}"
    texts: list[Any] | None = None
    made: list[list[str | None]] = []
    for at, value in enumerate(values):
        if isinstance(value, (list, tuple)):
            if any(one is not None and not isinstance(one, str) for one in value):
                raise BadData(f"{where} has a list of {type(value[0]).__name__} in {source.rows([at])}; expected texts")
            made.append(list(value) or [None])
        elif value is None or isinstance(value, str):
            made.append([value])
        elif isinstance(value, dict):
            raise BadData(f"{where} has an object in {source.rows([at])}; expected a text, or a list of texts")
        else:  # a number, such as the caption "1984"
            texts = source.columns.texts(name).tolist() if texts is None else texts
            made.append([texts[at]])
    return made
