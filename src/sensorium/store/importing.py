"""Importing other tools' embedding files as a store; the file stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sensorium import formats
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.formats import Column, Columns, VectorRows
from sensorium.store import manifest, reading
from sensorium.store.writing import append
from sensorium.table import as_column
from sensorium.table.columns import kind_of
from sensorium.types import as_ids

OPTIONS = {
    "key": "the array of vectors, [n, d] or [n, c, d]",
    "ids": "the column of ids; ids=rows numbers the rows",
    "name": "the encoder that made the vectors, for the fingerprint",
    "columns": "metadata columns to keep, separated by commas; columns=none keeps none",
}


def import_(
    kind: str,
    path: Path | str,
    out: Path | str,
    key: str | None = None,
    ids: str | None = None,
    name: str | None = None,
    columns: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Import a file into the store ``out`` and return what was done, as one record.

    key: the array of vectors, [n, d] or [n, c, d] (c vectors a row become ids ``id#1`` … ``id#c``).
    ids: the column of ids; ``ids=rows`` numbers the rows. name: the encoder that made the vectors,
    for the fingerprint. columns: which of the other columns of n values become metadata, all when left
    out. options: those of the format. Importing the same file again changes nothing.
    Raises BadRecipe for an unknown format, option, key or file, BadData for vectors, ids or columns that
    cannot be stored; ``out`` is then as it was.
    """
    format = formats.find(kind, "import")
    formats.check_options("import", kind, options, {**OPTIONS, **format.read_options})
    path = Path(path).expanduser()
    if path.is_dir() and manifest.exists(path):
        raise BadRecipe(
            f"{path} is a store already; copy the folder, or type: sensorium export {kind} {path} --out FILE"
        )
    found = formats.read_as(kind, format, path, options)
    key = _vectors_name(found, key, format.keys, path)
    vectors = found[key]
    rows = VectorRows(vectors, f"{path}:{key}")
    offsets = _offsets(found, key, len(rows), path)
    count = len(vectors) if offsets is None else len(offsets) - 1
    names, ids_name = _ids(found, ids, count, path)
    meta, left_out = _metadata(found, columns, count, (key, ids_name, *(() if offsets is None else ("offsets",))))
    if vectors.ndim == 3:
        each = vectors.shape[1]
        names = [f"{i}#{k + 1}" for i in names for k in range(each)]
        meta = {n: np.repeat(c, each) for n, c in meta.items()}
    fingerprint = {"name": name or f"imported-{kind}", "file": path.name, "key": key}
    written = append(out, names, rows, fingerprint, meta, offsets=offsets)
    return {"kind": kind, "path": str(path), "out": str(out), "key": key, "ids": ids_name, "items": len(names),
            "width": rows.shape[1], "dtype": rows.dtype.name, "left_out": left_out, **written._asdict()}  # fmt: skip


def columns_of(folder: Path | str) -> Columns:
    """A store as the columns of a file: "vectors", "ids" and the metadata.

    Raises BadData when it holds frames, or a metadata column has one of these names.
    """
    opened = reading.open(folder)
    if opened.offsets is not None:
        raise BadData(f"{folder} holds frames, several vectors an item; pool them into one each first")
    if taken := {formats.VECTORS, formats.IDS} & set(opened.meta):
        raise BadData(f"{folder} has a metadata column '{min(taken)}', as the vectors or ids are called; rename it")
    columns = {name: Column((len(opened),), lambda name=name: opened.meta[name]) for name in opened.meta}
    columns[formats.VECTORS] = Column(opened.vectors.shape, lambda: opened.vectors)
    columns[formats.IDS] = Column((len(opened),), lambda: opened.ids)
    return Columns(columns, folder, ids=formats.IDS, key=formats.VECTORS)


def _vectors_name(columns: Columns, key: str | None, usual: tuple[str, ...], path: Path) -> str:
    if key is not None:
        if key not in columns:
            raise BadRecipe(f"{path} has no '{key}'; {nearest(key, columns)}")
        return key
    if columns.key is not None:
        return columns.key
    fitting = formats.names_of_vectors(columns)
    if not fitting:
        raise BadData(f"{path} holds no array of vectors [n, d]; it holds {', '.join(columns) or 'nothing'}")
    named = [name for name in usual if name in fitting]
    if len(fitting) > 1 and len(named) != 1:
        raise BadRecipe(f"which array of {path}? type: key={fitting[0]} (it holds {', '.join(fitting)})")
    return fitting[0] if len(fitting) == 1 else named[0]


def _offsets(columns: Columns, key: str, frames: int, path: Path) -> np.ndarray | None:
    """Where each item's frames begin, (n + 1,); None where the file has one vector a row."""
    if key == "offsets" or "offsets" not in columns or len(columns.shape("offsets")) != 1:
        return None
    if columns.shape("offsets") == (frames,):  # a metadata column of that name
        return None
    offsets = columns["offsets"]
    ascending = offsets.dtype.kind in "iu" and len(offsets) and (np.diff(offsets.astype(np.int64)) >= 0).all()
    if not ascending or offsets[0] != 0 or offsets[-1] != frames or columns[key].ndim != 2:
        raise BadData(
            f"{path}:offsets does not divide the {frames} frames of '{key}'; expected 0 … {frames}, ascending"
        )
    return offsets.astype(np.int64)


def _ids(columns: Columns, name: str | None, n: int, path: Path) -> tuple[list[str], str]:
    """The ids of n rows as text, and the name of their column."""
    if name == "rows":
        return [str(row) for row in range(n)], "rows"
    if name is None:
        name = columns.ids or next((usual for usual in formats.IDS_NAMES if usual in columns), None)
        if name is None:
            usual = ", ".join(formats.IDS_NAMES)
            raise BadRecipe(f"{path} has no ids (looked for {usual}); type: ids=COLUMN, or ids=rows to number the rows")
    if name not in columns:
        raise BadRecipe(f"{path} has no column '{name}' of {n} ids; {nearest(name, columns)}")
    if columns[name].shape != (n,):
        raise BadData(f"{path}:{name} has shape {list(columns[name].shape)}, not one id for each of the {n} rows; "
                      "type: ids=COLUMN, or ids=rows to number the rows")  # fmt: skip
    try:
        return as_ids(columns[name]).tolist(), name
    except BadData as error:
        raise BadData(f"{path}:{name}: {error}") from None


def _metadata(
    columns: Columns, choice: str | None, n: int, taken: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The other columns of n values, and the names of the arrays that are no columns."""
    rest = [name for name in columns if name not in taken]
    if choice is not None:
        chosen = [] if choice in ("", "none") else [name.strip() for name in choice.split(",")]
        for name in chosen:
            if name not in columns:
                raise BadRecipe(f"columns={name}: no such column; {nearest(name, columns)}")
        rest = [name for name in rest if name in chosen]
    metadata, left_out = {}, []
    for name in rest:
        if columns.shape(name)[:1] == (n,) and (len(columns.shape(name)) == 1 or -1 in columns.shape(name)):
            column = columns[name]
            if column.shape == (n,):
                metadata[name] = _storable(as_column(column, f"{columns.where}:{name}"), f"{columns.where}:{name}")
                continue
        left_out.append(name)
    return metadata, left_out


def _storable(column: np.ndarray, where: str) -> np.ndarray:
    """The column, if a store can hold its kind. Raises BadData, naming it, for others."""
    kind = kind_of(column)
    if kind in ("text", "empty") or column.dtype.kind in "iufb":
        return column
    missing = " with missing values" if kind in ("integer", "boolean") else ""
    raise BadData(f"{where} holds {kind} values{missing}, which a store cannot hold; keep only other columns: "
                  "columns=NAME,NAME or columns=none, or convert it to text")  # fmt: skip
