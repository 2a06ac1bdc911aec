"""An array with ids.json and metadata.csv beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sensorium import io
from sensorium.formats import _csv
from sensorium.formats._beside import beside
from sensorium.formats._columns import VECTORS, Column, Columns
from sensorium.formats._format import Format
from sensorium.formats._numpy import content, read_npy
from sensorium.types import Embeddings


def read(path: Path) -> Columns:
    """``NAME.npy``, or a folder with ``embeddings.npy``: the array "vectors", and the columns beside it."""
    path = path / "embeddings.npy" if path.is_dir() else path
    array = read_npy(path)
    columns = {VECTORS: Column(array.shape, lambda: array)}
    return beside(path, len(array) if array.ndim else 0, columns, VECTORS)


def write(store: Embeddings, out: Path) -> list[Path]:
    """``embeddings.npy``, ``ids.json`` and ``metadata.csv`` in a folder; or NAME.npy with NAME.ids.json and so on.

    ``metadata.types.json`` beside the CSV says what type each column had, so that reading it back
    gives the same columns.
    """
    single = out.suffix == ".npy"
    folder, prefix = (out.parent, f"{out.stem}.") if single else (out, "")
    array = out if single else out / "embeddings.npy"
    files: list[tuple[Path, Any]] = [(folder / f"{prefix}ids.json", _ids(store))]
    if store.meta:
        table, types = _csv.dump(store.ids.tolist(), store.meta)
        files.append((folder / f"{prefix}metadata.csv", table))
        files.append((folder / f"{prefix}metadata.types.json", json.dumps(types, ensure_ascii=False, indent=2) + "\n"))
    io.write(array, content(store.vectors))
    for path, text in files:
        io.write(path, text)
    return [array, *(path for path, _ in files)]


def _ids(store: Embeddings) -> str:
    return json.dumps(store.ids.tolist(), ensure_ascii=False, indent=0)


FORMAT = Format(
    endings=(".npy", ""), read=read, write=write, folder=lambda path: (path / "embeddings.npy").is_file()
)  # fmt: skip
