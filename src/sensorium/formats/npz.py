"""Several named arrays in one file."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sensorium import io
from sensorium.errors import BadData, BadRecipe
from sensorium.formats._columns import Column, Columns, reading
from sensorium.formats._format import Format
from sensorium.formats._numpy import BLOCK_BYTES, content, map_values, read_header, read_text
from sensorium.types import Embeddings

_NOTE = "sensorium"  # key of the archive's comment, which names the arrays of ids and vectors


def read(path: Path) -> Columns:
    """The arrays of a .npz file: uncompressed ones memory-mapped, the rest read at first access.

    Each member's CRC-32 is verified before its values are used. Raises BadData when the file is damaged
    or encrypted, or two arrays have one name.
    """
    columns: dict[str, Column] = {}
    with reading(path):
        try:
            with zipfile.ZipFile(path) as archive:
                comment = archive.comment
                for info in archive.infolist():
                    if info.filename.endswith(".npy"):
                        _add(columns, path, archive, info)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise BadData(f"{path} is not a readable .npz file ({error}); save or download it again") from None
    note = _note(comment)
    return Columns(columns, path, **{word: note[word] for word in ("ids", "key") if note.get(word) in columns})


def write(store: Embeddings, out: Path, key: str = "embeddings", ids: str = "ids") -> list[Path]:
    """One .npz with the vectors, the ids, offsets of frames, and every metadata column; no pickles.

    Raises BadRecipe for names that stand twice or would lead outside where the archive is unpacked,
    BadData for a column that only a pickle could hold.
    """
    out = out if out.suffix == ".npz" else out.with_name(out.name + ".npz")
    columns: dict[str, Any] = {key: store.vectors, ids: _fixed(np.asarray(store.ids), ids)}
    if store.offsets is not None:
        columns["offsets"] = store.offsets
    if len(columns) != 2 + (store.offsets is not None) or set(columns) & set(store.meta):
        raise BadRecipe(
            f"export npz: '{key}' or '{ids}' is also a metadata column (or 'offsets'); choose other names, such as "
            "key=my_vectors ids=my_ids"
        )
    columns |= {name: _fixed(np.asarray(store.meta[name]), name) for name in store.meta}
    for name in columns:
        _check_name(name)

    def fill(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            archive.comment = json.dumps({_NOTE: {"key": key, "ids": ids}}).encode()
            for name, rows in columns.items():
                member = zipfile.ZipInfo(f"{name}.npy")
                # Text of one width is mostly padding; compressed, a long caption costs what it is long.
                text = rows.dtype.kind == "U" or isinstance(rows, _Text)
                member.compress_type = zipfile.ZIP_DEFLATED if text else zipfile.ZIP_STORED
                with archive.open(member, "w", force_zip64=True) as target:
                    for part in content(rows):
                        target.write(memoryview(part).cast("B") if len(part) else b"")

    io.write(out, fill)
    return [out]


class _Text:
    """Rows of text that become an array of one width only block by block."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self.shape, self.dtype = values.shape, np.dtype(f"<U{max(1, max(map(len, values.tolist()), default=1))}")

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._values[rows].astype(self.dtype)


def _fixed(column: np.ndarray, name: str) -> Any:
    if column.dtype.kind != "O":
        return column
    if not all(isinstance(value, str) for value in column.tolist()):
        raise BadData(f"column '{name}' holds more than text and numbers, which .npz can only hold as a pickle; "
                      "type: sensorium export parquet STORE --out FOLDER")  # fmt: skip
    return _Text(column)


def _check_name(name: str) -> None:
    if not name or {"/", "\\", "\0", ":"} & set(name) or name in (".", "..") or len(name.encode()) > 200:
        raise BadRecipe(f"export npz: '{name}' cannot be the name of a file in an archive; rename the column, or type: "
                        "sensorium export parquet STORE --out FOLDER")  # fmt: skip


def _add(columns: dict[str, Column], path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    name = info.filename.removesuffix(".npy")
    if name in columns:
        raise BadData(f"{path} has two arrays called '{name}'; save it again")
    if info.flag_bits & 1:
        raise BadData(f"{path}:{name} is encrypted; save it again without a password")
    with archive.open(info) as file:
        shape = read_header(file, f"{path}:{name}").shape
    columns[name] = Column(shape, lambda: _member(path, info))


def _note(comment: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(comment)[_NOTE]
    except (ValueError, TypeError, KeyError):
        return {}
    return found if isinstance(found, dict) and all(isinstance(v, str) for v in found.values()) else {}


def _member(path: Path, info: zipfile.ZipInfo) -> np.ndarray:
    name = info.filename.removesuffix(".npy")
    where, remedy = f"{path}:{name}", f"save or download {path.name} again"
    with reading(where, remedy):
        try:
            return _values(path, info, where, remedy)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise BadData(f"{where} is damaged ({error}); {remedy}") from None


def _values(path: Path, info: zipfile.ZipInfo, where: str, remedy: str) -> np.ndarray:
    with zipfile.ZipFile(path) as archive, archive.open(info) as file:
        header = read_header(file, where)
        if header.dtype.hasobject:
            found = read_text(file, where, header)
            while file.read(BLOCK_BYTES):  # to the end, where the checksum is compared
                pass
            return found
        if info.file_size != header.length + header.size:
            raise BadData(f"{where} is cut short or too long; {remedy}")
        if info.compress_type != zipfile.ZIP_STORED and header.size:
            flat = np.frombuffer(file.read(header.size + 1), header.dtype)
            return flat.reshape(header.shape, order="F" if header.fortran else "C")
        while file.read(BLOCK_BYTES):  # the checksum is of all bytes: read once, then mapped
            pass
    return map_values(path, _start(path, info) + header.length, header)


def _start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: the local header's name and extra field may differ from the directory's."""
    with open(path, "rb") as file:
        file.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return info.header_offset + 30 + name + extra


FORMAT = Format(
    endings=(".npz",), read=read, write=write, frames=True,
    write_options={"key": "name of the array of vectors (embeddings)", "ids": "name of the array of ids (ids)"},
)  # fmt: skip
