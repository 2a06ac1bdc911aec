"""Detection of formats: a file by its ending, a folder by its content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.formats import _format
from sensorium.formats._columns import Columns, reading
from sensorium.formats._format import Format


def read(path: Path | str) -> Columns:
    """The arrays of a file or folder, by name, loaded at first access.

    The format is the first, by name, that reads embeddings and has the file's ending or recognises the folder.
    Raises BadRecipe when there is no such file or its type is unknown, BadData when it cannot be read
    without running code, is damaged, or ids beside it are of another number.
    """
    path = Path(path).expanduser()
    usable = {n: f for n, f in _format.known().items() if f.holds == "embeddings" and f.read is not None}
    if path.is_dir():
        for name, one in usable.items():
            if "" in one.endings and one.folder is not None and one.folder(path):
                return read_as(name, one, path)
        folders = "; ".join(f"{n}: {f.about.rstrip('.')}" for n, f in usable.items() if "" in f.endings)
        raise BadRecipe(f"{path} is no store and no folder of embeddings ({folders}); name one of its files")
    endings = sorted({ending for f in usable.values() for ending in f.endings if ending})
    if not path.is_file():
        raise BadRecipe(f"no file {path}; give the path of an {', '.join(endings)} file or of a folder")
    for name, one in usable.items():
        if path.suffix.lower() in one.endings:
            return read_as(name, one, path)
    raise BadRecipe(f"{path}: cannot read '{path.suffix}' files; {nearest(path.suffix, endings)}")


def read_as(name: str, format: Format, path: Path, options: Mapping[str, Any] | None = None) -> Columns:
    """The arrays of a file in one format of embeddings, by name.

    Raises BadRecipe when there is no such file or it has another ending, BadData when it cannot be read.
    """
    if not path.exists():
        raise BadRecipe(
            f"no file {path}; expected {format.about.rstrip('.')} ({', '.join(format.endings) or 'a folder'})"
        )
    if ("" if path.is_dir() else path.suffix.lower()) not in format.endings:
        raise BadRecipe(f"{path} is no '{name}' file; '{name}' is: {format.about.rstrip('.')}")
    if path.is_dir() and format.folder is not None and not format.folder(path):
        raise BadData(f"{path} is no '{name}' folder; '{name}' is: {format.about.rstrip('.')}")
    with reading(path):
        return format.read(path, **(options or {}))


def split(spec: str) -> tuple[Path, str]:
    """``path`` or ``path:key`` as path and key ("" when none is named)."""
    path, _, key = str(spec).rpartition(":")
    if not path or Path(spec).expanduser().exists():
        path, key = str(spec), ""
    return Path(path).expanduser(), key
