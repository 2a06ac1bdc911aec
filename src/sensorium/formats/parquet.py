"""A table with a column of vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sensorium import io
from sensorium.errors import BadRecipe
from sensorium.formats import _arrow
from sensorium.formats._columns import Columns, reading
from sensorium.formats._format import Format
from sensorium.types import Embeddings, blocks

_BLOCK = 8192
_NOTE = b"sensorium"  # schema metadata of our own files: JSON with the names of the columns of ids and vectors


def read(path: Path) -> Columns:
    """Every column, lists of numbers of one length as [n, d]. Raises BadData when a page's checksum is wrong."""
    columns = _arrow.columns(path)
    return Columns(columns, path, **{word: name for word, name in note(path).items() if name in columns})


def write(store: Embeddings, out: Path, key: str = "vector", ids: str = "id") -> list[Path]:
    """One table: ids, vectors as a fixed-size list, and the metadata columns; page checksums."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = out if out.suffix == ".parquet" else out.with_name(out.name + ".parquet")
    if key == ids or {key, ids} & set(store.meta):
        raise BadRecipe(f"export parquet: '{key}' or '{ids}' is also a metadata column; choose other names, such as "
                        "key=my_vectors ids=my_ids")  # fmt: skip
    about = {_NOTE: json.dumps({"ids": ids, "key": key})}

    def table(rows: slice) -> Any:
        flat = pa.array(np.ascontiguousarray(store.vectors[rows]).reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(flat, store.dim)
        meta = {n: column.slice(rows.start, rows.stop - rows.start) for n, column in columns.items()}
        part = pa.table({ids: pa.array(store.ids[rows].tolist(), pa.string()), key: vectors, **meta})
        return part.replace_schema_metadata(about)

    columns = {n: _arrow.from_numpy(store.meta[n]) for n in store.meta}

    def fill(file: BinaryIO) -> None:
        with pq.ParquetWriter(file, table(slice(0, 0)).schema, write_page_checksum=True) as writer:
            for rows in blocks(len(store), _BLOCK):
                writer.write_table(table(rows))

    io.write(out, fill)
    return [out]


def note(path: Path) -> dict[str, str]:
    """The names of ids and vectors that a file of ours states; {} for files of other tools."""
    import pyarrow.parquet as pq

    with reading(path):
        found = (pq.read_schema(path).metadata or {}).get(_NOTE)
        try:
            stated = json.loads(found) if found else {}
        except ValueError:
            return {}
    if not isinstance(stated, dict):
        return {}
    return {k: v for k, v in stated.items() if k in ("ids", "key") and isinstance(v, str)}


FORMAT = Format(
    endings=(".parquet",), read=read, write=write,
    write_options={"key": "name of the column of vectors (vector)", "ids": "name of the column of ids (id)"},
)  # fmt: skip
