"""Shards that other processes have written beside a store: each is moved into it and named by its manifest."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sensorium import io
from sensorium.errors import Corrupt
from sensorium.store import columns, repairing, shard
from sensorium.store.manifest import File, Manifest, Shard
from sensorium.store.shard import Batch, StagedShard
from sensorium.store.writing import INCOMING, Writer, Written


@dataclass
class _Moved:
    """A file that lies in the folder of arrivals, whole and durable, to be renamed into the store."""

    source: Path
    path: Path
    absent: bool = False  #: the file itself stays elsewhere, such as in an object store

    def commit(self, sync: bool = True) -> None:
        """Rename into place; with ``sync=False`` the caller makes the folder durable."""
        if self.absent:
            return
        with io.typed_errors(self.path):
            os.replace(self.source, self.path)
            if sync:
                io.sync_folder(self.path.parent)

    def discard(self) -> None:
        """Delete the file where it is still among the arrivals."""
        with contextlib.suppress(OSError):
            self.source.unlink(missing_ok=True)


def folder_of(store: Path) -> Path:
    """Where shards of a store arrive."""
    return Path(store) / INCOMING


def write(folder: Path, batch: Batch, known: Manifest, name: str = "") -> Shard:
    """Write a shard into a folder of arrivals, the file of items last: a shard is there when that is. Raises DiskFull.

    name: of the shard, by default a new one.
    """
    staged = shard.stage(folder, batch, known, name or secrets.token_hex(8))
    try:
        staged.commit()
    finally:
        staged.discard()
    io.sync_folder(folder)
    return staged.shard


def left(store: Path) -> list[Shard]:
    """The whole shards that arrived and were not committed, as by a process that was killed; the oldest first."""
    found = []
    for path in sorted(folder_of(store).glob("*.items.parquet")):
        with contextlib.suppress(Corrupt, OSError, ValueError, KeyError):  # a part of it is missing: encoded again
            found.append(repairing.from_items(path.parent, path)[:2])
    return [s for s, _ in sorted(found, key=lambda one: one[1]["written"])]


def adopt(writer: Writer, shards: Sequence[Shard], without: Callable[[Shard], bool] = lambda s: False) -> Written:
    """Commit arrived shards, all or none; what another process has taken meanwhile is left out.

    without: whether the vectors of a shard stay elsewhere. Items that the store has with the same content and metadata
    are not added twice.
    """
    staged = []
    for s in shards:
        with contextlib.suppress(Corrupt):  # taken meanwhile by another process, or damaged: it is encoded again
            staged.append(_staged(writer.folder, s, without(s)))
    return writer.commit(staged) if staged else Written(0, 0)


def sweep(store: Path, age: float = 0.0) -> None:
    """Delete what killed processes left half-written among the arrivals, and their folder when it is empty."""
    folder = folder_of(store)
    if folder.is_dir():
        io.sweep(folder, age=age)
        with contextlib.suppress(OSError):
            folder.rmdir()


def _staged(store: Path, s: Shard, absent: bool) -> StagedShard:
    arrived = folder_of(store)
    table = shard.read_items(arrived, s)
    about = repairing.about(table)["store"]
    kinds = {name.removeprefix(columns.PREFIX) for name in table.column_names if name.startswith(columns.PREFIX)}
    meta = {name: columns.to_numpy(table[columns.PREFIX + name]) for name in sorted(kinds)}
    offsets = np.zeros(1, np.int64) if about["ragged"] else None
    batch = Batch(table["id"].to_pylist(), shard.read_keys(table).tolist(),
                  np.empty((0, about["dim"]), about["dtype"]), meta, offsets)  # fmt: skip
    files = [_Moved(arrived / f.name, store / f.name, absent and kind == "vectors") for kind, f in s.files.items()]
    if missing := [f.source.name for f in files if not f.absent and not f.source.is_file()]:
        raise Corrupt(f"{arrived / missing[0]} is missing")
    return StagedShard(batch, s, files)


def described(folder: Path, name: str) -> File:
    """The entry of a file that lies in a folder."""
    return File(name, (folder / name).stat().st_size, io.checksum(folder / name))
