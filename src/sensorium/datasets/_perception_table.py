"""A table of faces: a path with a label or prompt a row, parts of videos by begin and end, or FER2013's pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.datasets import _items, _perception_labels
from sensorium.datasets._perception_folder import SPLITS
from sensorium.datasets._perception_media import Medium, Said
from sensorium.datasets._source import Source, Sources
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import Column, Columns
from sensorium.modalities.face import video
from sensorium.types import is_missing

#: Names of the columns, in the order in which they are looked for.
USUAL: Mapping[str, Sequence[str]] = {
    "path": ("path", "file", "filename", "file_name", "image", "image_path", "video", "video_path", "picture",
             "subDirectory_filePath"),
    "label": ("label", "emotion", "class", "expression"),
    "prompt": ("prompt", "text", "caption", "description"),
    "person": ("person", "actor", "subject", "speaker", "identity", "user"),
    "split": ("split", "usage", "Usage"),
    "begin": ("begin", "start", "onset", "start_time"),
    "end": ("end", "stop", "offset", "end_time"),
    "id": ("id",),
}  # fmt: skip
_SIDE = 48  # pixels of FER2013's pictures


def listing(
    where: str, root: Path | None, group: str, group_by_folder: bool = False
) -> tuple[list[Medium], dict[str, Any]]:
    """The pictures and videos of a table, each once however many rows name it, and notes.

    root: folder of relative paths, by default the table's own. group: a further column, "" for none. group_by_folder:
    the folders of the paths are kept.
    Raises BadRecipe where a column is missing, BadData, with rows, for cells that cannot be used, and for parts of a
    video that overlap.
    """
    source = _stripped(Sources(None if root is None else str(root)).open(where))
    names = {what: next((one for one in usual if one in source.columns), None) for what, usual in USUAL.items()}
    if group:
        source.column(group, "data.group")
    if "pixels" in source.columns and names["label"]:
        return _fer2013(source, names, group), {}
    if names["path"] is None or (names["label"] is None and names["prompt"] is None):
        lacks = "path" if names["path"] is None else "label or prompt"
        raise BadRecipe(f"{source.where} has no column {lacks}; expected path and label or prompt, and perhaps person, "
                        f"split, begin and end (it has {', '.join(source.columns)})")  # fmt: skip
    cells = {what: _texts(source, name) for what, name in names.items()}
    for row in range(source.n):
        if not cells["path"][row] or not (cells["label"][row] or cells["prompt"][row]):
            raise BadData(f"{source.where}: {source.rows([row])} has no "
                          f"{'path' if not cells['path'][row] else 'label or prompt'}; fill it in, or drop the row"
                          )  # fmt: skip
    labels = _labels(cells["label"], names)
    rows: dict[str, list[int]] = {}
    for row, path in enumerate(cells["path"]):
        rows.setdefault(str(path), []).append(row)
    said = {path: [_said(source, cells, labels, row) for row in of] for path, of in rows.items()}
    columns = _columns(source, {*filter(None, names.values()), group})
    words = _words(cells["split"], source)
    media = []
    for path, of in rows.items():
        first, value = of[0], Path(path).expanduser()
        value = value if value.is_absolute() else source.root / value
        parts = _checked(source, said[path], video.is_video(value))
        media.append(Medium(
            cells["id"][first] or path, str(value), parts, cells["person"][first],
            None if not group else _texts(source, group)[first] or None, words[first],
            folder=Path(path).parent.as_posix() if group_by_folder else "",
            columns={name: column[first] for name, column in columns.items()},
        ))  # fmt: skip
    return media, {}


def _said(source: Source, cells: Mapping[str, list[str | None]], labels: Sequence[str | None], row: int) -> Said:
    begin, end = (_seconds(source, cells[what][row], what, row) for what in ("begin", "end"))
    begin, end = 0.0 if begin is None else begin, math.inf if end is None else end
    if not 0 <= begin < end:
        raise BadData(f"{source.where}: {source.rows([row])}: from {begin:g} s to {end:g} s; the end must be later")
    return Said(labels[row], cells["prompt"][row], begin, end, row)


def _checked(source: Source, said: list[Said], is_video: bool) -> list[Said]:
    """What is said of one file in the order of time. Raises BadData where two rows are of one picture or moment."""
    said = sorted(set(said), key=lambda one: (one.begin, one.row))
    for before, after in pairwise(said):
        if not is_video:
            if before[:2] != after[:2]:
                raise BadData(f"{source.where}: {source.rows([before.row, after.row])} are of one picture and say "
                              "different things of it; keep one of them")  # fmt: skip
        elif after.begin < before.end:
            raise BadData(f"{source.where}: {source.rows([before.row, after.row])} are of one video, and the parts "
                          f"from {before.begin:g} s and from {after.begin:g} s overlap; correct begin and end"
                          )  # fmt: skip
    return said if is_video else said[:1]


def _seconds(source: Source, text: str | None, what: str, row: int) -> float | None:
    """Seconds, of a number or of ``minutes:seconds``."""
    if not text:
        return None
    try:
        parts = [float(part) for part in text.split(":")]
        found = sum(part * 60**power for power, part in enumerate(reversed(parts)))
        if not math.isfinite(found):
            raise ValueError
        return found
    except ValueError:
        raise BadData(f"{source.where}: {source.rows([row])}: {what} is {text!r}; expected seconds, such as 12.5"
                      ) from None  # fmt: skip


def _labels(cells: Sequence[str | None], names: Mapping[str, str | None]) -> list[str | None]:
    """Labels by the document's names; AffectNet's codes where the columns are called as in its lists."""
    codes = names["label"] == "expression" and names["path"] == "subDirectory_filePath"
    return [None if not one else _coded(one, _perception_labels.AFFECTNET) if codes else
            _perception_labels.canonical(one) for one in cells]  # fmt: skip


def _coded(code: str, labels: Sequence[str]) -> str:
    if not code.isdigit():
        return code
    if int(code) >= len(labels):
        raise BadData(f"the code {code} of an emotion; expected 0 to {len(labels) - 1} ({', '.join(labels)}); drop "
                      "such rows")  # fmt: skip
    return labels[int(code)]


def _fer2013(source: Source, names: Mapping[str, str | None], group: str) -> list[Medium]:
    """FER2013's list: a code of the emotion, 48 x 48 grey values as text, and Usage."""
    cells = {what: _texts(source, names[what]) for what in ("label", "split", "person", "id")}
    pixels, words = _texts(source, "pixels"), _words(cells["split"], source)
    media = []
    for row in range(source.n):
        try:
            grey = np.array((pixels[row] or "").split(), np.int64)
        except (ValueError, OverflowError):
            grey = np.zeros(0, np.int64)
        if grey.shape != (_SIDE**2,) or grey.min() < 0 or grey.max() > 255:
            raise BadData(f"{source.where}: {source.rows([row])} has no {_SIDE} x {_SIDE} pixels of 0 to 255; correct "
                          "it, or drop the row")  # fmt: skip
        label = _perception_labels.canonical(_coded(cells["label"][row] or "", _perception_labels.FER2013))
        id = cells["id"][row] or f"row-{row + source.columns.first:05d}"
        media.append(Medium(id, grey.astype(np.uint8).reshape(_SIDE, _SIDE), [Said(label)], cells["person"][row],
                            None if not group else _texts(source, group)[row], words[row]))  # fmt: skip
    return media


def _texts(source: Source, name: str | None) -> list[str | None]:
    """A column (n,) as texts without spaces around them; None where there is none, or a cell is empty."""
    if name is None:
        return [None] * source.n
    return [
        None if is_missing(v) or not str(v).strip() else str(v).strip() for v in source.columns.texts(name).tolist()
    ]


def _words(cells: Sequence[str | None], source: Source) -> list[str]:
    """Split words (n,). Raises BadData, naming the row, for a word that is none."""
    words = []
    for row, cell in enumerate(cells):
        word = "" if cell is None else SPLITS.get(cell.casefold().replace(" ", ""), "?")
        if word == "?":
            raise BadData(
                f"{source.where}: {source.rows([row])}: split {cell!r}; expected train, dev|validation or test"
            )
        words.append(word)
    if "" in words and any(words):
        row = words.index("")
        raise BadData(f"{source.where}: {source.rows([row])} has no split, and others have; fill it in")
    return words


def _columns(source: Source, taken: set[str]) -> dict[str, np.ndarray]:
    """The further columns as metadata."""
    found = {name: _items.metadata(source, name, required=False) for name in source.columns if name not in taken}
    return {name: column for name, column in found.items() if column is not None}


def _stripped(source: Source) -> Source:
    """The table under column names without spaces around them, as in some copies of FER2013."""
    names = {name: name.strip() for name in source.columns}
    if all(name == plain for name, plain in names.items()) or len(set(names.values())) < len(names):
        return source
    taken: dict[str, Column] = source.columns.taken()
    renamed = Columns({names[name]: column for name, column in taken.items()}, source.where, first=source.columns.first)
    return Source.of(source.where, renamed, source.root)
