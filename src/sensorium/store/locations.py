"""Row locations of a store: id → (shard, row) and content key → (shard, row), updated from manifest to manifest."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sensorium.store import columns, shard
from sensorium.store.manifest import Manifest, Shard


class Locations:
    """Position of every live id and of every content key. A position counts items through all shards, dead ones too.

    :meth:`update` reads only the shards that are new since the last manifest.
    by_id: position of each live id. by_key: position of one item of each content, dead or alive.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clear()

    def _clear(self) -> None:
        self.shards: list[Shard] = []
        self.starts = [0]
        self.ids: list[list[str]] = []
        self._keys: list[list[bytes]] = []
        self.by_id: dict[str, int] = {}
        self.by_key: dict[bytes, int] = {}

    def update(self, manifest: Manifest) -> None:
        """Bring the locations to the state of a manifest; call it under the folder's lock."""
        if [s.name for s in manifest.shards[: len(self.shards)]] != [s.name for s in self.shards]:
            self._clear()  # compacted or repaired by another writer
        for number, s in enumerate(manifest.shards):
            if number == len(self.shards):
                table = shard.read_items(self._folder, s)
                self._add(s, table["id"].to_pylist(), shard.read_keys(table).tolist(), shard.alive(self._folder, s))
            elif s.dead != self.shards[number].dead:
                self._drop_dead(number, shard.alive(self._folder, s))
            self.shards[number] = s

    def _add(self, s: Shard, ids: list[str], keys: list[bytes], alive: np.ndarray | None) -> None:
        start = self.starts[-1]
        self.shards.append(s)
        self.ids.append(ids)
        self._keys.append(keys)
        self.starts.append(start + s.items)
        if alive is None:
            self.by_id.update(zip(ids, range(start, start + s.items), strict=True))
            self.by_key.update(zip(keys, range(start, start + s.items), strict=True))
            return
        for row in np.flatnonzero(alive).tolist():
            self.by_id[ids[row]] = start + row
            self.by_key[keys[row]] = start + row

    def _drop_dead(self, number: int, alive: np.ndarray | None) -> None:
        start, ids = self.starts[number], self.ids[number]
        for row in [] if alive is None else np.flatnonzero(~alive).tolist():
            if self.by_id.get(ids[row]) == start + row:
                del self.by_id[ids[row]]

    def key(self, position: int) -> bytes:
        """The content key of the item at a position."""
        number, row = self.shard_and_row(position)
        return self._keys[number][row]

    def shard_and_row(self, position: int) -> tuple[int, int]:
        """Shard number, and row within that shard, of a position."""
        number = bisect_right(self.starts, position) - 1
        return number, position - self.starts[number]

    def present(self, ids: Sequence[str], keys: Sequence[bytes], meta: Mapping[str, np.ndarray]) -> np.ndarray:
        """Mask (n,) of the items that are stored with the same content key and the same ``meta``."""
        if not self.by_id:
            return np.zeros(len(ids), bool)
        positions = [self.by_id.get(name) for name in ids]
        same = np.array([p is not None and self.key(p) == k for p, k in zip(positions, keys, strict=True)], bool)
        at = np.flatnonzero(same)
        part = {name: column[at] for name, column in meta.items()}
        same[at[self._changed([positions[i] for i in at.tolist()], part)]] = False
        return same

    def _changed(self, positions: Sequence[int], meta: Mapping[str, np.ndarray]) -> np.ndarray:
        """Mask of the positions whose stored metadata differs; only the columns of ``meta`` are compared."""
        if not meta or not len(positions):
            return np.zeros(len(positions), bool)
        places = np.asarray(positions)
        number = np.searchsorted(self.starts, places, side="right") - 1
        changed = np.zeros(len(places), bool)
        for n in np.unique(number):
            at = np.flatnonzero(number == n)
            table = shard.read_items(self._folder, self.shards[n])
            there = [name for name in meta if columns.PREFIX + name in table.column_names]
            rows = places[at] - self.starts[n]
            old = {name: columns.to_numpy(table[columns.PREFIX + name])[rows] for name in there}
            changed[at] = columns.differ(old, {name: c[at] for name, c in meta.items()}, len(at))
        return changed
