"""Who is where in a store, followed from one manifest to the next by a writer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sensorium.store import columns, shard
from sensorium.store.manifest import Manifest, Shard


class Ledger:
    """Place of every live id and of every content. A place counts items through the shards, dead ones too.

    :meth:`follow` reads only the shards that are new since the last manifest.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clear()

    def _clear(self) -> None:
        self.shards: list[Shard] = []
        self.starts = [0]
        self.ids: list[list[str]] = []
        self._keys: list[list[bytes]] = []
        self.place: dict[str, int] = {}
        self.content: dict[bytes, int] = {}

    def follow(self, manifest: Manifest) -> None:
        """Become what a manifest says."""
        if [s.name for s in manifest.shards[: len(self.shards)]] != [s.name for s in self.shards]:
            self._clear()  # compacted or repaired by another writer
        for number, s in enumerate(manifest.shards):
            if number == len(self.shards):
                table = shard.read_items(self._folder, s)
                self._add(s, table["id"].to_pylist(), shard.read_keys(table).tolist(), shard.alive(self._folder, s))
            elif s.dead != self.shards[number].dead:
                self._bury(number, shard.alive(self._folder, s))
            self.shards[number] = s

    def _add(self, s: Shard, ids: list[str], keys: list[bytes], alive: np.ndarray | None) -> None:
        start = self.starts[-1]
        self.shards.append(s)
        self.ids.append(ids)
        self._keys.append(keys)
        self.starts.append(start + s.items)
        if alive is None:
            self.place.update(zip(ids, range(start, start + s.items), strict=True))
            self.content.update(zip(keys, range(start, start + s.items), strict=True))
            return
        for row in np.flatnonzero(alive).tolist():
            self.place[ids[row]] = start + row
            self.content[keys[row]] = start + row

    def _bury(self, number: int, alive: np.ndarray | None) -> None:
        start, ids = self.starts[number], self.ids[number]
        for row in [] if alive is None else np.flatnonzero(~alive).tolist():
            if self.place.get(ids[row]) == start + row:
                del self.place[ids[row]]

    def key(self, place: int) -> bytes:
        """The content key at a place."""
        number, row = self.find(place)
        return self._keys[number][row]

    def find(self, place: int) -> tuple[int, int]:
        """Shard number and row of a place."""
        number = bisect_right(self.starts, place) - 1
        return number, place - self.starts[number]

    def present(self, ids: Sequence[str], keys: Sequence[bytes], meta: Mapping[str, np.ndarray]) -> np.ndarray:
        """Mask of the items that are here with the same content, and the same metadata as far as any is given."""
        if not self.place:
            return np.zeros(len(ids), bool)
        places = [self.place.get(name) for name in ids]
        same = np.array([p is not None and self.key(p) == k for p, k in zip(places, keys, strict=True)], bool)
        at = np.flatnonzero(same)
        given = {name: column[at] for name, column in meta.items()}
        same[at[self._changed([places[i] for i in at.tolist()], given)]] = False
        return same

    def _changed(self, places: Sequence[int], given: Mapping[str, np.ndarray]) -> np.ndarray:
        """Mask of the places whose stored metadata is not the given one; columns not given are not compared."""
        if not given or not len(places):
            return np.zeros(len(places), bool)
        wanted = np.asarray(places)
        number = np.searchsorted(self.starts, wanted, side="right") - 1
        changed = np.zeros(len(wanted), bool)
        for n in np.unique(number):
            at = np.flatnonzero(number == n)
            table = shard.read_items(self._folder, self.shards[n])
            there = [name for name in given if columns.PREFIX + name in table.column_names]
            rows = wanted[at] - self.starts[n]
            old = {name: columns.to_numpy(table[columns.PREFIX + name])[rows] for name in there}
            changed[at] = columns.differ(old, {name: c[at] for name, c in given.items()}, len(at))
        return changed
