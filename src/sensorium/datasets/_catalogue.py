"""The table of a shop's items: ids, pictures or vectors, a category for each, and every further column as metadata."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.datasets import _cells, _files, _items
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import names_of_vectors
from sensorium.pairs.pairs import rows_of
from sensorium.table import as_column
from sensorium.types import USUAL_TEXT, Items, Pictured, is_missing

CATEGORY = "category"
CATEGORIES = (CATEGORY, "semantic_category", "subCategory")  # columns that are looked for, in this order
TEXTS = ("productDisplayName", "name", "title")


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The items; ids of rows that were left out, as their picture or vector is missing; and notes."""

    items: Items
    left_out: frozenset[str]
    notes: dict[str, Any]


def read(
    root: Path, source: Source, *, id: str, path: str, text: str | None, category: str | None, vectors: str | None,
    bad: str, allow_missing: bool,
) -> Catalogue:  # fmt: skip
    """The items of a table, whose pictures may not lie outside of its root.

    id, path: columns; without pictures, ``path=""``, the texts are the items. text: the column of texts beside the
    pictures. category: its column, the first of CATEGORIES where None; it becomes the column "category". vectors: a
    file, relative to ``root``, or store whose vectors, joined by id, are the items' values in place of pictures.

    Raises BadRecipe for a column that is not there, BadData, with rows, for ids that are missing or stand
    twice and for pictures that cannot be used; those are left out with ``bad="skip"``, and ids without a vector with
    ``allow_missing``.
    """
    ids = ids_of(source, id)
    if vectors is not None:
        kept, values, made, notes = _vectors(root, vectors, source, ids, allow_missing)
        kind = "vector"
    else:
        kept, kind, values, notes = _content(source, path, text, bad)
        made = {}
    meta, about = _columns(source, kept, (id, path), category)
    notes = {"items": len(kept), **about, **notes}
    lost = np.setdiff1d(np.arange(source.n), kept)
    items = Items(ids[kept], values, kind, meta, made)
    return Catalogue(items, frozenset(ids[lost].tolist()), notes)


def opened(root: Path, table: str, images: str | None) -> Source:
    """The table of items ``root/table``. images: the folder that its paths start from, ``root`` by default."""
    return Source.open(str(root / Path(table).expanduser()), folder_of(root, images))


def folder_of(root: Path, images: str | None) -> Path:
    """The folder that paths of pictures start from. Raises BadRecipe where it is not there."""
    folder = root if images is None else root / Path(images).expanduser()
    if not folder.is_dir():
        raise BadRecipe(f"data.images={images}: no folder {folder}; name the folder that the paths start from")
    return folder


def root_of(root: str | None) -> Path:
    """The folder of the data. Raises BadRecipe without one."""
    if root is None:
        raise BadRecipe("no data.root; type: data.root=FOLDER, the folder of metadata.csv")
    path = Path(root).expanduser()
    if not path.is_dir():
        raise BadRecipe(f"data.root={root}: no such folder; expected the folder of metadata.csv")
    return path


def ids_of(source: Source, name: str) -> np.ndarray:
    """The ids (n,) of the rows. Raises BadData, with rows, for ids that are missing or stand twice."""
    source.column(name, "data.id")
    ids = _items.ids_of(source, name, "left")
    _check_unique(source, ids, name)
    return ids


def text_of(source: Source, name: str | None) -> str:
    """The column of texts: the named one, else the first of TEXTS that is there. Raises BadRecipe without one."""
    if name:
        source.column(name, "data.text")
        return name
    found = first(TEXTS, source.columns)
    if found is None:
        raise BadRecipe(f"{source.where} has no column {', '.join(TEXTS)}; type: data.text=COLUMN "
                        f"({', '.join(source.columns)})")  # fmt: skip
    return found


def usual_text(names: Collection[str], text: str | None) -> str | None:
    """The column of texts, where the usual one is meant the first of TEXTS that is there; "" is none."""
    return first(TEXTS, names) if text == USUAL_TEXT else text or None


def category_of(source: Source, name: str | None) -> str | None:
    """The column of categories; None where none is named and none of the usual ones is there. Raises BadRecipe."""
    if name:
        source.column(name, "data.category")
        return name
    return first(CATEGORIES, source.columns)


def category_source(names: Collection[str], category: str | None) -> dict[str, str]:
    """The column of categories of a table with columns ``names``, where "category" is made of another one."""
    found = category if category in names else first(CATEGORIES, names)
    return {CATEGORY: found} if found not in (None, CATEGORY) else {}


def first(usual: Sequence[str], names: Collection[str]) -> str | None:
    """The first of some usual names that is there."""
    return next((name for name in usual if name in names), None)


def categories(source: Source, name: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    """The category (n,) of every row as text, "" where it is missing, and notes."""
    if name is None:
        return np.full(source.n, ""), {"category": "none"}
    values = source.columns.texts(name).tolist()
    words = ["" if is_missing(value) else str(value).strip() for value in values]
    empty = [i for i, word in enumerate(words) if not word]
    notes: dict[str, Any] = {"category": name, "categories": len(set(words) - {""})}
    if empty:
        notes |= {"items_without_category": len(empty), "items_without_category_such_as": source.rows(empty)}
    return np.array(words, np.str_), notes


def _pictures(source: Source, path: str, bad: str) -> tuple[np.ndarray, list[str], dict[str, Any]]:
    """Rows whose picture can be used, the paths of these, and notes. Raises BadData, with rows, as ``bad`` says."""
    source.column(path, "data.path")
    texts = source.columns.texts(path)
    cells = _cells.Cells("left", source, [path], "image", np.arange(source.n), texts)
    files = _files.checked(cells, bad, within=source.root, compare=False)
    return files.cells.rows, files.paths.tolist(), files.notes


def _content(source: Source, path: str, text: str | None, bad: str):
    """Rows that can be used, their kind, and their pictures, texts, or both side by side; and notes."""
    if not path and not text:
        raise BadRecipe('data.path="" leaves no pictures; name what the items are: data.text=COLUMN, or '
                        f"data.vectors=FILE ({source.where} has {', '.join(source.columns)})")  # fmt: skip
    text = usual_text(source.columns, text)
    texts = None if text is None else source.columns.texts(text_of(source, text)).tolist()
    texts = texts and [None if is_missing(one) or not str(one).strip() else str(one) for one in texts]
    if path:
        kept, paths, notes = _pictures(source, path, bad)
        if texts is None:
            return kept, "image", paths, notes
        values = [Pictured(path, texts[row]) for path, row in zip(paths, kept.tolist(), strict=True)]
        if lost := [row for row in kept.tolist() if texts[row] is None]:
            notes |= {"items_without_text": len(lost), "items_without_text_such_as": source.rows(lost)}
        return kept, "image", values, notes
    empty = [row for row, one in enumerate(texts) if one is None]
    if empty and (bad != "skip" or len(empty) == len(texts)):
        raise BadData(f"{source.where}: {len(empty)} of {len(texts)} texts '{text}' are empty ({source.rows(empty)}); "
                      "fill them in, or leave these items out with data.bad=skip")  # fmt: skip
    kept = np.setdiff1d(np.arange(len(texts)), np.array(empty, np.int64))
    return kept, "text", [texts[row] for row in kept.tolist()], {"left_left_out": len(empty)} if empty else {}


def with_category(meta: Mapping[str, np.ndarray], words: np.ndarray, name: str | None) -> dict[str, np.ndarray]:
    """Columns with the categories first, as "category"; a column of that name that is another one is kept beside it."""
    others = {f"{key}_in_file" if key == CATEGORY else key: one for key, one in meta.items()
              if key != CATEGORY or name != CATEGORY}  # fmt: skip
    return {CATEGORY: words, **others}


def _columns(source: Source, kept: np.ndarray, others: Sequence[str], category: str | None):
    """Every further column of the kept rows, the category first, and notes."""
    name = category_of(source, category)
    words, notes = categories(source, name)
    meta, left_out = {}, []
    for column in source.columns:
        values = None if column in others else _items.metadata(source, column, required=False)
        if values is not None:
            meta[column] = as_column(values[kept], column)
        elif column not in others:
            left_out.append(column)
    meta = with_category(meta, words[kept], name)
    return meta, notes | ({"columns_left_out": left_out} if left_out else {})


def _vectors(root: Path, spec: str, source: Source, ids: np.ndarray, allow_missing: bool):
    """Rows that have a vector, the vectors, what made them, and notes."""
    vectors = _opened_vectors(root, spec)
    names = vectors.columns.key or next(iter(names_of_vectors(vectors.columns)), None)
    if names is None or (vectors.columns.ids is None and not _has_ids(vectors)):
        raise BadRecipe(f"data.vectors={spec}: {vectors.where} has no vectors with ids; expected a store, or vectors "
                        "with ids.json beside them")  # fmt: skip
    known = _items.ids_of(vectors, vectors.columns.ids or "id", "left")
    rows, there = rows_of(ids, known)
    if not there.all() and (not allow_missing or not there.any()):
        gone = np.flatnonzero(~there)
        raise BadData(f"{vectors.where} has no vector for {len(gone)} of {len(ids)} items of {source.where}, such as "
                      f"'{ids[gone[0]]}' ({source.rows(gone)}); add them, or leave these items out: "
                      "data.allow_missing=true")  # fmt: skip
    kept = np.flatnonzero(there)
    values = vectors.columns[names][rows[kept]]
    notes = {"items_without_vector": int(len(ids) - len(kept)), "vectors_of_no_item": int(len(known) - len(kept))}
    return kept, np.asarray(values, np.float32), {"name": "vectors", "key": names}, notes


def _opened_vectors(root: Path, spec: str) -> Source:
    """A file or store of vectors with ids."""
    path = Path(spec).expanduser()
    return Source.open(str(path if path.is_absolute() or path.exists() else root / path), root)


def _has_ids(source: Source) -> bool:
    return any(name in source.columns for name in ("id", "ids"))


def _check_unique(source: Source, ids: np.ndarray, name: str) -> None:
    """Raise BadData, with the rows, for ids that stand twice."""
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) == len(ids):
        return
    again = unique[np.argmax(counts > 1)]
    rows = np.flatnonzero(ids == again)
    raise BadData(f"{source.where}: {np.count_nonzero(counts > 1)} ids of '{name}' stand in several rows, such as "
                  f"'{again}' ({source.rows(rows)}); every row is an item of its own: correct the ids, or drop the "
                  "rows")  # fmt: skip
