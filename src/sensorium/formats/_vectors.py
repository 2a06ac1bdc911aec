"""An array of a file as (n, d) rows of floats in native byte order, converted exactly and block by block."""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.formats._columns import Columns, native
from sensorium.types import blocks

_BLOCK_BYTES = 4 << 20
_COLUMNS = 16  # columns of a file in Fortran order that are read at a time
_EXACT = {np.dtype(np.float32): 1 << 24, np.dtype(np.float64): 1 << 53}  # largest integer that each type holds exactly


class VectorRows:
    """(n · c, d) Rows over an array [n, d] or [n, c, d] of any numbers, order and byte order.

    Blocks are converted as they are read: floats keep their width, longdouble becomes float64 and
    integers float32, or float64 where they are large. Raises BadData where that would change a value.
    """

    def __init__(self, array: np.ndarray, where: str) -> None:
        if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or 0 in array.shape:
            raise BadData(f"{where} is {described(array)}; expected numbers [n, d], or [n, c, d]")
        self._array, self._where, self._map = array, where, _map_of(array)
        self._each = array.shape[1] if array.ndim == 3 else 1
        self.shape = (len(array) * self._each, int(array.shape[-1]))
        self._columns = _Columns.of(array)
        self.dtype = self._target()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._block(start, max(start, stop))
            rows = np.arange(start, stop, step)
        rows = np.asarray(rows)
        part = self._array[rows] if self._each == 1 else self._array[rows // self._each, rows % self._each]
        return self._converted(part)

    def _block(self, start: int, stop: int) -> np.ndarray:
        if self._map is not None:  # pages of earlier blocks, which are read again at the next access
            self._map.madvise(mmap.MADV_DONTNEED)
        if self._each == 1:
            part = self._array[start:stop] if self._columns is None else self._columns.block(start, stop)
            return self._converted(part)
        first = start // self._each
        part = np.ascontiguousarray(self._array[first : -(-stop // self._each)]).reshape(-1, self.shape[1])
        return self._converted(part[start - first * self._each : stop - first * self._each])

    def _converted(self, part: np.ndarray) -> np.ndarray:
        part = native(np.asarray(part), self._where)
        return np.ascontiguousarray(part, self.dtype)

    def _target(self) -> np.dtype:
        dtype = self._array.dtype
        if dtype.kind == "f":
            return dtype.newbyteorder("=") if dtype.itemsize <= 8 else np.dtype(np.float64)
        largest = self._largest()
        for target, limit in _EXACT.items():
            if largest <= limit:
                return target
        raise BadData(f"{self._where} holds integers up to {largest}, which no float holds exactly; scale them")

    def _largest(self) -> int:
        largest, step = 0, max(1, _BLOCK_BYTES // max(1, self._array[:1].nbytes))
        for block in blocks(len(self._array), step):
            part = self._array[block] if self._columns is None else self._columns.block(block.start, block.stop)
            if part.size:
                largest = max(largest, int(part.max()), -int(part.min()))
        return largest


class _Columns:
    """Rows of a memory-mapped array in Fortran order, read column by column from the file.

    A block of rows is a little of each column, so that reading it through the map would bring the whole
    file into the process.
    """

    def __init__(self, array: np.memmap) -> None:
        self._array = array

    @classmethod
    def of(cls, array: np.ndarray) -> _Columns | None:
        """For a whole map [n, d] in Fortran order; None for any other array."""
        fortran = isinstance(array, np.memmap) and array.ndim == 2 and not array.flags.c_contiguous
        whole = fortran and array.flags.f_contiguous and array.filename is not None
        return cls(array) if whole and isinstance(array.base, mmap.mmap) else None

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows start … stop in C order, of the file's own type."""
        n, d = self._array.shape
        dtype = self._array.dtype
        out = np.empty((stop - start, d), dtype)
        some = np.empty((min(d, _COLUMNS), stop - start), dtype)
        with open(self._array.filename, "rb", buffering=0) as file:
            for first in range(0, d, _COLUMNS):
                few = some[: min(_COLUMNS, d - first)]
                for j, column in enumerate(few):
                    at = self._array.offset + ((first + j) * n + start) * dtype.itemsize
                    _read_at(file.fileno(), memoryview(column.view(np.uint8)), at)  # of any byte order
                out[:, first : first + len(few)] = few.T
        return out


def _read_at(handle: int, into: memoryview, at: int) -> None:
    while into:
        got = os.preadv(handle, [into], at)
        if not got:
            raise BadData("the file became shorter while it was read")
        into, at = into[got:], at + got


def _map_of(array: np.ndarray) -> mmap.mmap | None:
    """The file mapping below a memory-mapped array."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def names_of_vectors(columns: Columns) -> list[str]:
    """Names of the arrays that can be vectors: floats [n, d] or [n, c, d].

    Arrays that cannot be read are left out; raises BadData, for the first of them, where no other is there.
    """
    found, refused = [], None
    for name in columns:
        if len(columns.shape(name)) not in (2, 3):
            continue
        try:
            if columns[name].ndim in (2, 3) and columns[name].dtype.kind == "f":
                found.append(name)
        except BadData as error:
            refused = refused or error
    if refused is not None and not found:
        raise refused
    return found


def described(array: np.ndarray) -> str:
    """An array's type and shape in messages."""
    lists = array.dtype.kind == "O" and array.size and isinstance(array.flat[0], list)
    text = array.dtype.kind == "O" and all(isinstance(value, str) for value in array.flat)
    word = "lists of different lengths (or null)" if lists else "text" if text else array.dtype
    return f"{word} {array.shape}"
