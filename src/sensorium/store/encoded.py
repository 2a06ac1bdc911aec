"""Items of equal content, and what was encoded since the last commit, in the order of the items of all contents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from sensorium.store.checks import joined


class Owners(Mapping[bytes, list[int]]):
    """Content key → the items of that content, ascending. A list is kept for those alone that several items share.

    keys: of all items. items: which of them. first: by content key, the first of its items.
    """

    def __init__(self, keys: Sequence[bytes], items: Iterable[int]) -> None:
        self.first: dict[bytes, int] = {}
        self._shared: dict[bytes, list[int]] = {}
        self.items_in_all = 0
        for i in items:
            self.items_in_all += 1
            if self.first.setdefault(keys[i], i) != i:
                self._shared.setdefault(keys[i], [self.first[keys[i]]]).append(i)

    def __getitem__(self, key: bytes) -> list[int]:
        return self._shared.get(key) or [self.first[key]]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.first)

    def __len__(self) -> int:
        return len(self.first)


class Room:
    """One vector an item: each batch is written where its rows will stand in the shard, so that no copy of all is made.

    owners: by content key, the items that have it. keys: of all items. Falsy while nothing was added.
    """

    def __init__(self, owners: Mapping[bytes, list[int]], keys: Sequence[bytes]) -> None:
        self._owners, self._keys = owners, keys
        self.expect([])

    def __bool__(self) -> bool:
        return self._vectors is not None

    def expect(self, firsts: Sequence[int]) -> None:
        """Make room for these items, the first of each content, and for those of equal content; all else is dropped."""
        self._members = sorted(i for first in firsts for i in self._owners[self._keys[first]])
        self._row = {i: row for row, i in enumerate(self._members)}
        self._there = np.zeros(len(self._members), bool)
        self._vectors: np.ndarray | None = None

    def add(self, firsts: Sequence[int], vectors: np.ndarray) -> None:
        """Take in the vectors (b, d) of b items that are expected."""
        if self._vectors is None:
            self._vectors = np.empty((len(self._members), vectors.shape[1]), vectors.dtype)
        owned = [self._owners[self._keys[first]] for first in firsts]
        rows = np.array([self._row[i] for same in owned for i in same])
        self._vectors[rows] = vectors if len(rows) == len(vectors) else np.repeat(vectors, list(map(len, owned)), 0)
        self._there[rows] = True

    def take(self) -> tuple[list[int], np.ndarray, None]:
        """Items, ascending, and their vectors (n, d); the room is empty then."""
        assert self._vectors is not None
        members, vectors = self._members, self._vectors
        if not self._there.all():
            members, vectors = [members[row] for row in np.flatnonzero(self._there)], vectors[self._there]
        self.expect([])
        return members, vectors, None


class Frames:
    """Several vectors an item, whose number is not known before: kept batch by batch, and joined at the end.

    owners, keys: as of :class:`Room`.
    """

    def __init__(self, owners: Mapping[bytes, list[int]], keys: Sequence[bytes]) -> None:
        self._owners, self._keys = owners, keys
        self._found: dict[int, np.ndarray] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def expect(self, firsts: Sequence[int]) -> None:
        """Nothing is known of these items before they come."""

    def add(self, firsts: Sequence[int], vectors: Sequence[np.ndarray]) -> None:
        """Take in the frames (t_i, d) of b items."""
        self._found.update(zip(firsts, vectors, strict=True))

    def take(self) -> tuple[list[int], np.ndarray, np.ndarray]:
        """Items, ascending, their frames (t, d) and offsets (n + 1,); nothing is kept then."""
        pairs = sorted((i, first) for first in self._found for i in self._owners[self._keys[first]])
        flat, offsets = joined([str(i) for i, _ in pairs], [self._found[first] for _, first in pairs])
        self._found.clear()
        return [i for i, _ in pairs], flat, offsets
