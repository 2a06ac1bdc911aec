"""The .npy layout, as .npz members, clip-retrieval parts and .npy files have it: read without pickles, and written."""

from __future__ import annotations

import ast
import io as memory
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from sensorium.errors import BadData
from sensorium.types import Rows, blocks

_HEADER = 1 << 16  # bytes of a header at most
BLOCK_BYTES = 4 << 20


class Header(NamedTuple):
    """Fields of a .npy header; length is the header's own, in bytes."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    length: int

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: BinaryIO, where: str) -> Header:
    """The header at the file's position, which is left behind it. Raises BadData when it is damaged."""
    magic = file.read(8)
    if magic[:6] != b"\x93NUMPY" or len(magic) < 8:
        raise BadData(f"{where} is not an .npy array; save or download it again")
    wide = magic[6] >= 2
    try:
        length = struct.unpack("<I" if wide else "<H", file.read(4 if wide else 2))[0]
        if length > _HEADER:
            raise ValueError(f"{length} bytes of header")
        head = ast.literal_eval(file.read(length).decode("utf-8" if magic[6] >= 3 else "latin-1"))
        dtype = np.lib.format.descr_to_dtype(head["descr"])
        shape, fortran = head["shape"], head["fortran_order"]
        if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
            raise ValueError(f"shape {shape!r}")
        if type(fortran) is not bool:
            raise ValueError(f"fortran_order {fortran!r}")
        if not dtype.itemsize and math.prod(shape):
            raise ValueError(f"{math.prod(shape)} values of no bytes")
        np.empty((0, *shape[1:]) if shape else (), np.uint8)  # a shape that NumPy can hold at all
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError, struct.error) as error:
        reason = " ".join(str(error).split())[:160]
        raise BadData(f"{where} has a damaged header ({reason}); save or download it again") from None
    return Header(shape, fortran, dtype, 8 + (4 if wide else 2) + length)


def map_values(path: Path, start: int, header: Header) -> np.ndarray:
    """A memory map of the values that begin at byte ``start``."""
    if not header.size:
        return np.zeros(header.shape, header.dtype)
    return np.memmap(path, header.dtype, "r", start, header.shape, "F" if header.fortran else "C")


def read_text(file: BinaryIO, where: str, header: Header) -> np.ndarray:
    """The text of an object array, whose pickle is read as data."""
    from sensorium.formats._pickled import read_strings

    return read_strings(file, where, header.shape)


def read_npy(path: Path) -> np.ndarray:
    """The array of a .npy file, memory-mapped; text in an object array is read. Raises BadData when damaged."""
    with open(path, "rb") as file:
        header = read_header(file, str(path))
        if header.dtype.hasobject:
            return read_text(file, str(path), header)
        if os.fstat(file.fileno()).st_size < header.length + header.size:
            raise BadData(
                f"{path} is cut short: {header.dtype} {header.shape} needs {header.length + header.size} bytes; "
                "save or download it again"
            )
    return map_values(path, header.length, header)


def content(rows: Rows, dtype: Any = None) -> Iterator[Any]:
    """A .npy file as buffers: header, then the rows block by block in C order."""
    shape, dtype = tuple(rows.shape), np.dtype(rows.dtype if dtype is None else dtype)
    head = memory.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, about)
    yield head.getvalue()
    step = max(1, BLOCK_BYTES // max(1, math.prod(shape[1:]) * dtype.itemsize))
    for block in blocks(len(rows), step):
        part = np.ascontiguousarray(rows[block], dtype)
        yield part.view(np.uint8) if part.size else b""
