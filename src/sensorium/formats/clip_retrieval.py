"""A folder with img_emb_N.npy, text_emb_N.npy or another *_emb_N.npy, and metadata_N.parquet."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sensorium import io
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import _arrow
from sensorium.formats._columns import Column, Columns
from sensorium.formats._format import Format
from sensorium.formats._numpy import content, read_npy
from sensorium.types import Embeddings

_PART = re.compile(r"(\w+_emb|metadata)_(\d+)\.(npy|parquet)")


def read(path: Path) -> Columns:
    """``NAME_emb`` (n, d) for each kind of vectors, and the columns of the Parquet metadata.

    Parts are matched by their number: img_emb_0.npy goes with metadata_0.parquet. Raises BadData when a
    part is missing, or parts differ in width, columns, types of columns or number of rows.
    """
    parts = _parts(path)
    vectors = {name: numbers for name, numbers in parts.items() if name != "metadata"}
    if not vectors:
        raise BadData(f"{path} holds no img_emb_N.npy, text_emb_N.npy or other *_emb_N.npy")
    arrays = {name: {number: read_npy(file) for number, file in numbers.items()} for name, numbers in vectors.items()}
    for name, one in arrays.items():
        _check_widths(path, name, one)
    counts = {name: {number: len(array) for number, array in one.items()} for name, one in arrays.items()}
    columns: dict[str, Column] = {}
    if "metadata" in parts:
        tables = {number: _arrow.columns(file) for number, file in parts["metadata"].items()}
        counts["metadata"] = {number: _rows(table) for number, table in tables.items()}
        columns = _joined(path, tables)
    _check_parts(path, counts)
    for name, one in arrays.items():
        if name in columns:
            raise BadData(f"{path}: the metadata has a column '{name}', as the vectors are called; rename it")
        shape = (sum(map(len, one.values())), *next(iter(one.values())).shape[1:])
        columns[name] = Column(shape, lambda one=one: _stacked(list(one.values())))
    return Columns(columns, path)


def write(store: Embeddings, out: Path, side: str = "img", ids: str = "image_path") -> list[Path]:
    """``img_emb/img_emb_0.npy`` (or text_emb) and ``metadata/metadata_0.parquet`` with the ids and the columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if side not in ("img", "text"):
        raise BadRecipe(f"export clip-retrieval: side is '{side}'; expected img or text")
    _arrow.check_names(store.meta, (ids, f"{side}_emb"), "clip-retrieval")
    array = out / f"{side}_emb" / f"{side}_emb_0.npy"
    about = out / "metadata" / "metadata_0.parquet"
    names = pa.array(store.ids.tolist(), pa.string())
    table = pa.table({ids: names, **{n: _arrow.from_numpy(store.meta[n]) for n in store.meta}})
    io.write(array, content(store.vectors))
    io.write(about, lambda file: pq.write_table(table, file, write_page_checksum=True))
    return [array, about]


def _parts(path: Path) -> dict[str, dict[int, Path]]:
    """Kind of vectors or "metadata" → number → file, in order of numbers."""
    found: dict[str, dict[int, Path]] = {}
    for file in [*path.glob("*_*.*"), *path.glob("*/*_*.*")]:
        match = _PART.fullmatch(file.name)
        inside = match is not None and file.parent in (path, path / match[1])
        if inside and (match[1] == "metadata") == (match[3] == "parquet"):
            numbers = found.setdefault(match[1], {})
            if int(match[2]) in numbers:
                raise BadData(
                    f"{path} has two parts {int(match[2])} of {match[1]}: {file.name} and {numbers[int(match[2])].name}"
                )
            numbers[int(match[2])] = file
    return {name: dict(sorted(numbers.items())) for name, numbers in sorted(found.items())}


def _check_widths(path: Path, name: str, arrays: dict[int, np.ndarray]) -> None:
    shapes = {number: (array.shape[1:], array.dtype) for number, array in arrays.items()}
    first = next(iter(shapes))
    for number, shape in shapes.items():
        if arrays[number].ndim < 2 or shape != shapes[first]:
            raise BadData(
                f"{path}: {name}_{number}.npy is {arrays[number].dtype} {arrays[number].shape}, "
                f"{name}_{first}.npy {arrays[first].dtype} {arrays[first].shape}; expected [n, d] of one width and type"
            )


def _check_parts(path: Path, counts: dict[str, dict[int, int]]) -> None:
    names = iter(counts.items())
    name, first = next(names)
    for other, one in names:
        what = ("vectors" if "metadata" in (name, other) else name), other
        if list(one) != list(first):
            raise BadData(
                f"{path}: parts {list(first)} of {what[0]}, but {list(one)} of {what[1]}; restore the missing"
            )
        for number in one:
            if one[number] != first[number]:
                raise BadData(f"{path}: part {number} has {first[number]} rows of {name}, {one[number]} of {other}; "
                              "restore the right files")  # fmt: skip


def _rows(table: dict[str, Column]) -> int:
    return next((column.shape[0] for column in table.values()), 0)


def _joined(path: Path, tables: dict[int, dict[str, Column]]) -> dict[str, Column]:
    first = next(iter(tables))
    for number, table in tables.items():
        if odd := set(table) ^ set(tables[first]):
            has, lacks = (number, first) if min(odd) in table else (first, number)
            raise BadData(f"{path}: metadata_{has}.parquet has '{min(odd)}', metadata_{lacks}.parquet lacks it; "
                          "add it, or remove it from all")  # fmt: skip
    n = sum(map(_rows, tables.values()))

    def load(name: str) -> np.ndarray:
        pieces = [table[name].load() for table in tables.values()]
        if len({_kind(piece) for piece in pieces}) > 1:
            kinds = ", ".join(sorted({str(piece.dtype) for piece in pieces}))
            raise BadData(f"{path}: column '{name}' holds {kinds} in different parts of the metadata; save them alike")
        return np.concatenate(pieces)

    return {
        name: Column((n, *column.shape[1:]), lambda name=name: load(name)) for name, column in tables[first].items()
    }


def _kind(array: np.ndarray) -> tuple[str, int]:
    return ("number" if array.dtype.kind in "iuf" else array.dtype.kind), array.ndim


def _stacked(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


FORMAT = Format(
    endings=("",), read=read, write=write, keys=("img_emb", "text_emb"),
    folder=lambda path: any(path.glob("*_emb/*_emb_*.npy")) or any(path.glob("*_emb_*.npy")),
    write_options={"side": "img or text (img)", "ids": "name of the column of ids (image_path)"},
)  # fmt: skip
