"""Cells of a table as items: what stands in several rows becomes one item, with its ids and its columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import modalities
from sensorium.datasets import _files
from sensorium.datasets._cells import Cells
from sensorium.datasets._merged import merged
from sensorium.errors import BadData, BadRecipe
from sensorium.heads import check_finite
from sensorium.table import as_column
from sensorium.types import Items, as_ids, without_vectors

#: Names of columns of files that say nothing of what the files are.
_GENERIC = re.compile(r"(file|file_?name|fname|path|file_?path|uri|url|src|source|name|id)s?", re.IGNORECASE)
_ENDING = re.compile(r"[_\- ]?(file_?names?|file_?paths?|files?|paths?|uri|url|src)$", re.IGNORECASE)
_USUAL_IDS = ("id", "ids")
_LONGEST = 200  # characters of a text that is its own id


@dataclass(frozen=True, eq=False)
class Side:
    """One side, ready to be paired. code (m,): the item of each cell; alike (k,): equal for items of equal content.

    ids (m,): of the cells' rows, None where no column, ``ids_name``, has them.
    by_row: each row is an item of its own, however equal.
    """

    cells: Cells
    code: np.ndarray
    first: np.ndarray
    alike: np.ndarray
    ids: np.ndarray | None
    values: Any
    notes: dict[str, Any]
    by_row: bool
    ids_name: str | None

    @property
    def name(self) -> str:
        """What the side is called, after the data: "image", "caption"."""
        return name_of(self.cells)

    @property
    def is_file(self) -> bool:
        """Whether the items are files."""
        return is_file(self.cells.kind)

    @cached_property
    def item_ids(self) -> np.ndarray:
        """Ids (k,): of the named column; of files their paths, else row numbers; repeated ones numbered."""
        cells, first = self.cells, self.first
        if self.ids is not None:
            ids = self.ids[first]
        elif cells.titles is not None:
            titles = cells.titles[first].tolist()
            ids = as_ids(titles) if all(titles) and max(map(len, titles)) <= 1000 else as_ids(cells.rows[first])
        elif is_file(cells.kind) and all(len(cells.values[i]) <= 1000 for i in first):
            ids = as_ids([cells.values[i] for i in first])
        else:
            ids = as_ids(cells.rows[first])
        return _numbered(ids)

    def items(self, name: str, columns: Sequence[str] | None, others: Sequence[str], classes: bool) -> Items:
        """The items with the further columns of their rows as metadata.

        columns: which of them, all when None. others: columns that are no metadata. classes: the items are names of
        classes, which have no columns.
        """
        cells, source = self.cells, self.cells.source
        if columns is not None and (lost := [c for c in columns if c not in source.columns]):
            raise BadRecipe(f"data.columns={lost[0]}: {source.missing(lost[0])}")
        wanted = source.columns if columns is None else columns
        meta, left_out = {}, []
        for column in () if classes else wanted:
            if column in (*cells.names, *others) or (self.by_row and column == self.ids_name):
                continue
            if column not in source.metadata:
                source.metadata[column] = metadata(source, column, required=columns is not None)
            values = source.metadata[column]
            found = None if values is None else merged(values[cells.rows], self.code, self.first, column)
            if found is None:
                left_out.append(column)
            else:
                meta[column] = found
        if left_out:
            self.notes[f"{cells.side}_columns_left_out"] = left_out
        if cells.kind == "text" and "text" in meta:  # else the item's own text would not be seen
            meta.setdefault(cells.names[0], as_column(list(self.values), cells.names[0]))
        vectors = {"name": "vectors", "key": cells.names[0]} if cells.kind == "vector" else {}
        ids = self._named_by_text() if classes else self.item_ids
        return Items(ids, self.values, cells.kind, meta, vectors, name=name)

    def _named_by_text(self) -> np.ndarray:
        """Ids (k,) of classes: their names, where these can be ids."""
        short = self.cells.kind == "text" and all(len(v) <= _LONGEST for v in self.values)
        return as_ids(self.values) if short else self.item_ids


def prepared(cells: Cells, ids: str | None, both: bool, bad: str, within: Path | None = None) -> Side:
    """A side of which the values are checked and distinguished.

    ids: the column of ids. both: the two sides are columns of one table, of which a row is no item. within: the
    folder that every file must lie in.
    """
    notes: dict[str, Any] = {}
    if is_file(cells.kind):
        files = _files.checked(cells, bad, within)
        cells, notes, values, keys, same = files.cells, files.notes, files.paths, files.real, files.same
    else:
        if cells.kind == "text":
            cells, notes = _without_empty(cells, bad)
        values = keys = cells.values
        same = None
    ids_name, named = _ids(cells, ids)
    unique = named is not None and len(np.unique(named)) == len(np.unique(cells.rows))
    by_row = unique and not (both and is_file(cells.kind))
    value = _codes(keys)
    code = np.arange(len(cells)) if by_row else value
    first = np.unique(code, return_index=True)[1]
    order = np.argsort(first, kind="stable")  # items in the order of their first rows
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    code, first = rank[np.unique(code, return_inverse=True)[1]], first[order]
    chosen = values[first] if isinstance(values, np.ndarray) else [values[i] for i in first]
    if cells.kind == "vector":
        check_finite(chosen, None if named is None else named[first], f"{cells.called} of {cells.source.where}")
    alike = (value if same is None else same)[first]
    kept = chosen if cells.kind == "vector" else list(chosen)
    return Side(cells, code, first, alike, named, kept, notes, by_row, ids_name)


def name_of(cells: Cells) -> str:
    """What a side is called: its column; of files whose column says nothing, their kind.

    ``image_path`` is called image, ``caption_1`` … ``caption_5`` caption.
    """
    names = cells.names
    name = names[0]
    if len(names) > 1:
        stem = re.split(r"[_\- .]*\d*$", _common(names))[0].rstrip("_- .")
        name = stem or name
    if is_file(cells.kind):
        name = _ENDING.sub("", name)
        if not name or _GENERIC.fullmatch(name):
            return cells.kind
    return without_vectors(name) if cells.kind == "vector" else name


def _common(names: Sequence[str]) -> str:
    shortest = min(names, key=len)
    size = next((i for i in range(len(shortest)) if any(n[i] != shortest[i] for n in names)), len(shortest))
    return shortest[:size]


def is_file(kind: str) -> bool:
    return kind != "vector" and modalities.find(kind).is_file


def _without_empty(cells: Cells, bad: str) -> tuple[Cells, dict[str, Any]]:
    """Texts without the empty ones. Raises BadData with their rows unless ``bad`` is "skip"."""
    empty = [i for i, v in enumerate(cells.values.tolist()) if v is None or not v.strip()]
    if not empty:
        return cells, {}
    text = (f"{cells.key}: {len(empty)} of {len(cells)} texts in {cells.called} of {cells.source.where} are empty "
            f"({cells.source.rows(cells.rows[empty])})")  # fmt: skip
    if bad != "skip" or len(empty) == len(cells):
        raise BadData(f"{text}; fill them in, or leave them out with data.bad=skip")
    kept = cells.take(np.setdiff1d(np.arange(len(cells)), np.array(empty)))
    return kept, {f"{cells.side}_left_out": len(empty), f"{cells.side}_left_out_such_as": text}


def _ids(cells: Cells, name: str | None) -> tuple[str | None, np.ndarray | None]:
    """The column of ids, and ids (m,) of the cells' rows; None twice without one.

    Raises BadData, with rows, for missing ids and for floats.

    Without a name, a column called id is taken where it has a unique id for each row.
    """
    source, usual = cells.source, name is None
    if name is None:
        name = next(
            (n for n in (source.columns.ids, *_USUAL_IDS) if n in source.columns and n not in cells.names), None
        )
    if not name:
        return None, None
    try:
        ids = ids_of(source, name, cells.side)
    except BadData:
        if usual:
            return None, None
        raise
    if usual and len(np.unique(ids)) < len(ids):
        return None, None
    return name, ids[cells.rows]


def ids_of(source: Any, name: str, side: str) -> np.ndarray:
    """A column of ids (n,), as they are written. Raises BadData for missing ones, with rows, and for floats."""
    column = source.column(name, f"data.{side}_ids")
    where = f"ids '{name}' of {source.where}"
    texts = source.columns.texts(name)
    gone = [i for i, v in enumerate(texts.tolist()) if v is None or v == ""]
    if gone:
        raise BadData(f"{where}: {len(gone)} of {source.n} are missing ({source.rows(gone)}); every row needs an id: "
                      "fill them in, or drop the rows")  # fmt: skip
    if column.dtype.kind == "f":
        raise BadData(f"{where} are floating-point numbers, such as {texts[0]}; save them as whole numbers or text")
    if column.dtype.kind == "O" and len(kinds := {type(v) for v in column.tolist()}) > 1:
        raise BadData(
            f"{where} are of several types ({', '.join(sorted(k.__name__ for k in kinds))}); convert them to one"
        )
    try:
        return as_ids(texts)
    except BadData as error:
        raise BadData(f"{where}: {error}") from None


def _codes(values: Any) -> np.ndarray:
    """A code (m,) for each value, equal where values are."""
    if isinstance(values, np.ndarray) and values.ndim == 2:
        if not values.shape[1]:
            return np.arange(len(values))
        flat = np.ascontiguousarray(values)
        flat = flat.view(np.dtype((np.void, flat.itemsize * flat.shape[1]))).ravel()
        return np.unique(flat, return_inverse=True)[1].ravel()
    known: dict[Any, int] = {}
    return np.array([known.setdefault(v, len(known)) for v in values], np.int64)


def metadata(source: Any, name: str, required: bool) -> np.ndarray | None:
    """A column as metadata; None for vectors, and for objects within objects, which are no column of one type."""
    if len(source.columns.shape(name)) > 1 and source.columns[name].ndim > 1 and source.columns[name].dtype.kind == "f":
        return None
    values = source.columns.exact(name)
    if len(values) != source.n:
        return None
    if not required and values.dtype.kind == "O" and any(isinstance(v, dict) for v in values.tolist()):
        return None
    try:
        return as_column(values, name)
    except BadData as error:
        raise BadData(
            f"{source.where}: {error}; or keep only other columns: data.columns='[…]', '[]' for none"
        ) from None


def _numbered(ids: np.ndarray) -> np.ndarray:
    """Repeated ids made unique: "a", "a" become "a#1", "a#2"."""
    unique, code, counts = np.unique(ids, return_inverse=True, return_counts=True)
    if len(unique) == len(ids):
        return ids
    order = np.argsort(code, kind="stable")
    number = np.empty(len(ids), np.int64)
    number[order] = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    made = np.char.add(np.char.add(ids, "#"), number.astype(np.str_))
    return np.where(counts[code] > 1, made, ids)
