"""Where workers write shards: the folder of arrivals of a store, or an object store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sensorium.store import arrivals, repairing
from sensorium.store.manifest import Manifest, Shard
from sensorium.store.shard import Batch


class Place(Protocol):
    """A place that every worker reaches; it goes to them by pickle."""

    def write(self, batch: Batch, known: Manifest, name: str) -> Shard:
        """Write a shard, whole or not at all."""

    def written(self, prefix: str) -> Iterator[tuple[Shard, list[bytes]]]:
        """The shards there whose name begins so, each with the content keys of its items."""


@dataclass(frozen=True)
class Folder:
    """The folder of a store on a file system that every worker mounts at the same path."""

    store: Path

    def write(self, batch: Batch, known: Manifest, name: str) -> Shard:
        """Write a shard among the arrivals. Raises DiskFull."""
        return arrivals.write(arrivals.folder_of(self.store), batch, known, name)

    def written(self, prefix: str) -> Iterator[tuple[Shard, list[bytes]]]:
        """The arrivals whose name begins so, which a worker that ended has written."""
        folder = arrivals.folder_of(self.store)
        for path in sorted(folder.glob(f"{prefix}*.items.parquet")):
            s, _, table = repairing.from_items(folder, path)
            yield s, table["key"].to_pylist()
