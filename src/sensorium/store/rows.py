"""Rows spread over shards: vectorised gathers, orderings and runs without copying other rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.types import Rows


class Shards:
    """(n, d) Rows made of several (n_i, d) arrays, one after the other, usually memory maps.

    ``x[slice]`` is a view when it lies within one shard, else a copy; ``x[int64 rows]`` gathers.
    """

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        # A plain ndarray over the same map: np.memmap runs Python code at every slice.
        self._parts = [np.asarray(part) for part in parts]
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])
        self.shape = (int(self._starts[-1]), int(self._parts[0].shape[1]))
        self.dtype = self._parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._run(start, max(start, stop))
            rows = np.arange(start, stop, step)
        elif isinstance(rows, (int, np.integer)):
            return self[positions(np.array([rows]), len(self))][0]
        return self._gather(positions(rows, len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:], dtype=dtype)

    def _run(self, start: int, stop: int) -> np.ndarray:
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        pieces = []
        while start < stop:
            end = min(stop, int(self._starts[first + 1]))
            pieces.append(self._parts[first][start - self._starts[first] : end - self._starts[first]])
            start, first = end, first + 1
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty((0, self.shape[1]), self.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process memory maps go as the paths of their files."""
        return _of_files, ([_file_of(part) for part in self._parts],)

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        if len(self._parts) == 1:
            return self._parts[0].take(rows, axis=0)
        out = np.empty((len(rows), self.shape[1]), self.dtype)
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(shard, kind="stable")
        ends = np.searchsorted(shard[order], np.arange(len(self._parts) + 1))
        for part in np.flatnonzero(np.diff(ends)):
            at = order[ends[part] : ends[part + 1]]
            out[at] = self._parts[part].take(rows[at] - self._starts[part], axis=0)
        return out


class Absent:
    """(n, d) Rows whose numbers lie elsewhere, such as in an object store: they have a shape and cannot be read."""

    def __init__(self, n: int, dim: int, dtype: np.dtype) -> None:
        self.shape, self.dtype = (n, dim), np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        raise BadData("these vectors lie in an object store and were not fetched; open a copy of the store")


class Selected:
    """(n, d) Rows that are other Rows in another order: row i is ``base[rows[i]]``."""

    def __init__(self, base: Rows, rows: np.ndarray) -> None:
        self._base, self._rows = base, np.asarray(rows, np.int64)
        self.shape = (len(self._rows), int(base.shape[1]))
        self.dtype = base.dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return Selected, (by_files(self._base), self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, (int, np.integer)):
            return self._base[self._rows[rows]]
        at = self._rows[rows if isinstance(rows, slice) else positions(rows, len(self))]
        # A run of neighbours is read as a slice: a view instead of a gather.
        if len(at) and at[-1] - at[0] == len(at) - 1 and (np.diff(at) == 1).all():
            return self._base[int(at[0]) : int(at[-1]) + 1]
        return self._base[at]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:], dtype=dtype)


class Runs:
    """(t, d) Rows of frames in another order of items: item i is the run ``base[starts[i]:starts[i] + t_i]``.

    offsets (n + 1,): where each item begins among the new rows, as in Embeddings. Only one number
    an item is stored, never one a frame.
    """

    def __init__(self, base: Rows, starts: np.ndarray, offsets: np.ndarray) -> None:
        self._base, self._starts, self._offsets = base, np.asarray(starts, np.int64), offsets
        self.shape = (int(offsets[-1]), int(base.shape[1]))
        self.dtype = base.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, (int, np.integer)):
            return self[np.array([rows])][0]
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            item = int(np.searchsorted(self._offsets, start, side="right")) - 1
            if step == 1 and start < stop <= self._offsets[item + 1]:  # frames of one item: a view
                shift = int(self._starts[item] - self._offsets[item])
                return self._base[start + shift : stop + shift]
            rows = np.arange(start, stop, step)
        rows = positions(rows, len(self))
        item = np.searchsorted(self._offsets, rows, side="right") - 1
        return self._base[rows + (self._starts[item] - self._offsets[item])]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:], dtype=dtype)


def by_files(rows: Rows) -> Rows:
    """Rows that go to other processes as the paths of their files, where they are memory maps."""
    return Shards([rows]) if isinstance(rows, np.ndarray) and not isinstance(_file_of(rows), np.ndarray) else rows


def _file_of(part: np.ndarray) -> Any:
    """File, first byte, shape and type of a part that is memory-mapped; else the array itself."""
    root: Any = part
    while root is not None and not isinstance(root, np.memmap):
        root = root.base if isinstance(root, np.ndarray) else None
    while root is not None and isinstance(root.base, np.memmap):
        root = root.base
    if root is None or root.filename is None or not part.flags.c_contiguous:
        return np.array(part)
    begin = part.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return str(root.filename), int(root.offset) + begin, part.shape, part.dtype.str


def _of_files(parts: Sequence[Any]) -> Shards:
    return Shards([
        part if isinstance(part, np.ndarray) else np.memmap(part[0], part[3], "r", part[1], part[2]) for part in parts
    ])  # fmt: skip


def positions(rows: Any, n: int) -> np.ndarray:
    """Row numbers or a mask as int64 positions 0 … n - 1. Raises IndexError as NumPy does."""
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if len(rows) != n:
            raise IndexError(f"mask of {len(rows)} for {n} rows")
        return np.flatnonzero(rows)
    if not rows.size:
        return np.zeros(0, np.int64)
    low, high = rows.min(), rows.max()
    if low < -n or high >= n:
        raise IndexError(f"row {low if low < -n else high} is out of bounds for {n} rows")
    return np.where(rows < 0, rows + n, rows).astype(np.int64) if low < 0 else rows.astype(np.int64, copy=False)


def whole(parts: Sequence[np.ndarray], width: int, dtype: np.dtype) -> Rows:
    """The arrays as one: the memory map itself when there is one, Shards when there are several."""
    if not parts:
        return np.empty((0, width), dtype)
    return parts[0] if len(parts) == 1 else Shards(parts)


def select(base: Rows, rows: np.ndarray) -> Rows:
    """``base`` in the order of ``rows``, as a view, a slice or a gather, the cheapest that fits."""
    n = len(rows)
    if n and rows[-1] - rows[0] == n - 1 and (np.diff(rows) == 1).all():
        if n == len(base):
            return base
        if isinstance(base, np.ndarray):
            return base[int(rows[0]) : int(rows[-1]) + 1]
    return Selected(base, rows)
