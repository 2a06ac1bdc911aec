"""Data sets of the Hugging Face Hub, by name, and saved ones, as columns; files within cells as files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xxhash

from sensorium import io
from sensorium.errors import BadData, BadRecipe, require
from sensorium.formats import Columns, of_table

_SCHEME = "hf://"
_ADDRESS = re.compile(
    r"hf://(?P<name>[^/@:]+(/[^/@:]+)?)(@(?P<revision>[^:/]+))?(:(?P<config>[^/]+))?(/(?P<split>.+))?"
)
_SPLIT = "split"


def is_address(where: str) -> bool:
    """Whether it names a data set of the Hub: ``hf://owner/name[@revision][:config][/split]``."""
    return where.startswith(_SCHEME)


def is_saved(folder: Path) -> bool:
    """Whether the package ``datasets`` saved a data set here, one split or several."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def parsed(where: str) -> dict[str, str | None]:
    """name, revision, config and split of an address, None where it does not say. Raises BadRecipe.

    >>> parsed("hf://owner/captions@v1:small/train")
    {'name': 'owner/captions', 'revision': 'v1', 'config': 'small', 'split': 'train'}
    """
    found = _ADDRESS.fullmatch(where)
    if found is None:
        raise BadRecipe(f"{where} names no data set; expected hf://owner/name[@revision][:config][/split]")
    return {key: found[key] for key in ("name", "revision", "config", "split")}


def read(where: str) -> Columns:
    """The columns of a data set of the Hub, from its cache or downloaded; without a split, all of them.

    Raises MissingExtra without the package ``datasets``, BadData when the Hub does not give it.
    """
    datasets, said = require("datasets.load", "hub-data"), parsed(where)
    try:
        found = datasets.load_dataset(said["name"], said["config"], split=said["split"], revision=said["revision"])
    except Exception as error:  # of the network, the hub, the file's reader: of many packages
        reason = " ".join(str(error).split())[:300]
        raise BadData(f"{where} cannot be loaded ({type(error).__name__}: {reason}); correct the name, or download it "
                      "and name its folder or Parquet file by data.file") from error  # fmt: skip
    return _columns(found, where)


def read_saved(folder: Path) -> Columns:
    """The columns of what ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote."""
    datasets = require("datasets.load", "hub-data")
    try:
        found = datasets.load_from_disk(str(folder))
    except Exception as error:  # a damaged Arrow file fails in many ways
        reason = " ".join(str(error).split())[:300]
        raise BadData(f"{folder} cannot be read as a saved data set ({reason}); save it again") from error
    return _columns(found, str(folder))


def _columns(found: Any, where: str) -> Columns:
    """A Dataset, or all splits of a DatasetDict with a column that names each."""
    import pyarrow as pa

    if not isinstance(found, Mapping):
        return Columns(of_table(_table(found), where), where)
    tables = []
    for name, part in found.items():
        table = _table(part)
        if _SPLIT not in table.column_names:
            table = table.append_column(_SPLIT, pa.array([str(name)] * len(table)))
        tables.append(table)
    return Columns(of_table(pa.concat_tables(tables, promote_options="default"), where), where)


def _table(dataset: Any) -> Any:
    """One split as an Arrow table, classes by their names."""
    import pyarrow as pa

    table = dataset.with_format("arrow")[:]
    for name, feature in dataset.features.items():
        if type(feature).__name__ == "ClassLabel" and feature.names:
            known = list(feature.names)
            words = [None if v is None or v < 0 else known[v] for v in table.column(name).to_pylist()]
            table = table.set_column(table.column_names.index(name), name, pa.array(words, pa.string()))
    return table


def files_of(values: Sequence[Any], where: str) -> tuple[list[str | None], list[str | None]]:
    """Paths of the files that cells hold as ``{"bytes": …, "path": …}``, and what each cell calls its file.

    Their bytes are written once, under their checksum, into the cache folder: XDG_CACHE_HOME, or ~/.cache, and
    sensorium/files. Raises BadData for cells that hold no file.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sensorium" / "files"
    paths: list[str | None] = []
    names: list[str | None] = []
    for value in values:
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (None, None)
        if value is not None and not isinstance(content, bytes) and not isinstance(path, str):
            raise BadData(
                f"{where} holds objects that are no files; expected bytes and path, as Hugging Face's images have"
            )
        names.append(path if isinstance(path, str) else None)
        paths.append(path if not isinstance(content, bytes) else _written(content, path, cache))
    return paths, names


def _written(content: bytes, path: str | None, cache: Path) -> str:
    name = xxhash.xxh3_128_hexdigest(content)
    target = cache / name[:2] / f"{name}{os.path.splitext(path or '')[1].lower() or _ending(content)}"
    if not target.is_file() or target.stat().st_size != len(content):
        io.write(target, content)
    return str(target)


def _ending(content: bytes) -> str:
    """The usual ending of a file by its first bytes; "" for one that is not known."""
    for start, ending in ((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"fLaC", ".flac"),
                          (b"OggS", ".ogg"), (b"ID3", ".mp3"), (b"\xff\xfb", ".mp3"), (b"BM", ".bmp")):  # fmt: skip
        if content.startswith(start):
            return ending
    return {b"WAVE": ".wav", b"WEBP": ".webp"}.get(content[8:12], "") if content.startswith(b"RIFF") else ""
