"""Captioned sound and picture files: found below their folder, checked, each once, with the captions of a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import modalities
from sensorium.datasets import _captions_claims, _captions_faults, _captions_table, _cells, _files
from sensorium.datasets._captions import Corpus
from sensorium.datasets._captions_faults import Usable
from sensorium.datasets._captions_table import Listing
from sensorium.errors import BadData
from sensorium.formats import objects
from sensorium.modalities import walk
from sensorium.pairs import Pairs
from sensorium.pairs.components import components
from sensorium.table import as_column

KINDS = ("auto", "audio", "image")


def corpus(listing: Listing, root: Path, kind: str, bad: str, *, ids: str | None = None, split: str = "") -> Corpus:
    """The clips of a table whose files lie below ``root``, with their captions.

    kind: "audio", "image", or "auto" for what the endings of the files say. ids: the column of ids that the recipe
    names. split: the split of all clips, where not a column says it.

    Raises BadData, with rows, for files that are missing, damaged, or not as the table says; empty captions, and
    captions or files that stand twice; a clip in two splits or groups. ``bad="skip"`` leaves these out, with notes.
    """
    source = listing.source
    values = located(root, listing)
    cells = _cells.Cells("path", source, [listing.names["path"]], _kind(listing, values, kind), np.arange(source.n),
                         values, listing.titles)  # fmt: skip
    files = _files.checked(cells, bad)
    at_row = np.full(source.n, -1, np.int64)  # position among the usable files, of each row of the table
    at_row[files.cells.rows] = np.arange(len(files.cells))
    real = np.unique(files.real.astype(np.str_), return_inverse=True)[1]
    clip = real[at_row[listing.row]]  # of each caption; of those without a file anything
    usable = Usable(listing, clip, np.flatnonzero(at_row[listing.row] >= 0), bad)
    number = listing.number if listing.wide else _count(clip, usable.kept, len(listing.row))
    _captions_faults.check(usable)
    if cells.kind == "audio":
        _captions_claims.check(usable, [files.paths[at] if at >= 0 else None for at in at_row.tolist()])
    kept = usable.kept
    row = listing.row[kept]
    code, first = _by_first(clip[kept])
    at = at_row[row[first]]
    paths = [str(path) for path in files.paths[at].tolist()]
    found, caption_ids = _captions_table.ids(listing, row, code, first, _called(listing, row[first], root), ids)
    columns = {"path": as_column([walk.text(path) for path in paths], "path")}
    if cells.kind == "audio":
        columns["duration"] = _captions_claims.durations(paths)
    of_clips, of_captions, left_out = listing.metadata(code, first, row)
    notes = {
        key.replace("path_left", "files_left", 1).removeprefix("path_"): value for key, value in files.notes.items()
    } | usable.notes
    if left_out:
        notes["columns_left_out"] = left_out
    groups = _captions_table.words(listing, "group")
    return Corpus(
        found, paths, cells.kind, code, number[kept], [listing.texts[i].strip() for i in kept.tolist()],
        split=_split(listing, row[first], split),
        group=_group(found, files.same[at], None if groups is None else [groups[r] for r in row[first].tolist()]),
        columns=columns | {name: column for name, column in of_clips.items() if name not in columns},
        caption_columns=of_captions, caption_ids=caption_ids, notes=notes,
    )  # fmt: skip


def located(root: Path, listing: Listing) -> np.ndarray:
    """The path (r,) of each row's file as it is found below ``root``: as written, else by its name alone.

    A file that is not where the table says is the one below ``root`` of the same relative path without its ending, or
    else of the same file name, if there is only one.
    """
    values = listing.paths.tolist()
    if listing.titles is not None:
        return listing.paths
    lost = [at for at, value in enumerate(values) if value and "://" not in value and
            not os.path.isfile(_files.on_disk(root, value))]  # fmt: skip
    if not lost or not root.is_dir():
        return listing.paths
    names = index(root)
    for at in lost:
        turned = walk.text(values[at].replace("\\", "/")).strip()
        found = next((names[key] for key in (turned, turned.rpartition("/")[2]) if names.get(key)), None)
        values[at] = found or values[at]
    return objects(values)


def index(root: Path) -> dict[str, str | None]:
    """Relative path or bare name, each with and without ending → the file of it below the folder; None for several."""
    endings = {ending for one in modalities.found().values() if one.is_file for ending in one.media_types}
    found: dict[str, str | None] = {}
    for path in walk.files_below(root, endings).paths:
        below = walk.text(path.relative_to(root).as_posix()).strip()
        name = below.rpartition("/")[2]
        for key in dict.fromkeys((below, os.path.splitext(below)[0], name, os.path.splitext(name)[0])):
            found[key] = None if key in found else str(path)
    return found


def _kind(listing: Listing, values: np.ndarray, kind: str) -> str:
    """The kind of the files: named, or that of their endings. Raises BadData for none and for several, with rows."""
    if kind != "auto":
        return kind
    where = f"{listing.source.where}: '{listing.names['path']}'"
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values.tolist()):
        if value:
            rows.setdefault(_cells.kind_of_file(value), []).append(row)
    known = {one: at for one, at in rows.items() if one in ("audio", "image")}
    if not known:
        example = next((value for value in values.tolist() if value), "nothing")
        raise BadData(f"{where} names no sounds and no pictures by their endings, such as {walk.text(example)!r}; name "
                      "the column of files: data.path=COLUMN, or what they are: data.kind=audio|image")  # fmt: skip
    if len(known) > 1:
        said = " and ".join(f"{len(at)} {one} ({listing.source.rows(at)})" for one, at in sorted(known.items()))
        raise BadData(f"{where} mixes kinds of files: {said}; give one kind: split the table, or type data.kind=audio "
                      "or data.kind=image")  # fmt: skip
    return next(iter(known))


def _called(listing: Listing, rows: np.ndarray, root: Path) -> list[str]:
    """What the clips are called: their paths as the table writes them, of absolute ones the path below the folder."""
    names = listing.paths if listing.titles is None else listing.titles
    called = []
    for row in rows.tolist():
        name = walk.text(str(names[row])) if names[row] else str(row + listing.source.columns.first)
        below = os.path.relpath(name, os.path.abspath(root)) if os.path.isabs(name) else name
        called.append(name if below.startswith("..") else Path(below).as_posix() if os.path.isabs(name) else name)
    return called


def _count(clip: np.ndarray, kept: np.ndarray, m: int) -> np.ndarray:
    """Number (m,) of each caption among those of its clip, from 1."""
    number, seen = np.zeros(m, np.int64), {}
    for at in kept.tolist():
        number[at] = seen[int(clip[at])] = seen.get(int(clip[at]), 0) + 1
    return number


def _by_first(clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clips renumbered in the order of their first captions: code (m,), and the first caption (n,) of each."""
    _, first, code = np.unique(clip, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[code], first[order]


def _split(listing: Listing, rows: np.ndarray, word: str) -> np.ndarray:
    """Split words (n,) of the clips, "" where the table says none. Raises BadData for an unknown one."""
    words = _captions_table.words(listing, "split") if not word else None
    of_clips: Sequence[Any] = [word] * len(rows) if words is None else [words[row] or "" for row in rows.tolist()]
    at = np.arange(len(rows))
    try:
        return Pairs.of(at, at, group=at, split=np.array(of_clips, np.str_)).split
    except BadData as error:
        name = listing.names["split"]
        raise BadData(f"{listing.source.where}: '{name}': {error}; or ignore the column: data.split=\"\"") from None


def _group(ids: np.ndarray, same: np.ndarray, named: Sequence[str | None] | None) -> np.ndarray:
    """The group (n,) of each clip: the named one, else the clip itself; clips of equal content are in one group."""
    of = [str(id) if named is None or named[at] is None else str(named[at]) for at, id in enumerate(ids.tolist())]
    group = np.array(of, np.str_)
    _, first, code = np.unique(same, return_index=True, return_inverse=True)
    if len(first) < len(same):
        _, own = np.unique(group, return_inverse=True)
        label = components(int(own.max()) + 1 + len(first), own, code + int(own.max()) + 1)[own]
        _, start, back = np.unique(label, return_index=True, return_inverse=True)
        group = group[start][back]
    return group
