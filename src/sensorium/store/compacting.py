"""Compacting: merge small shards and forget dead rows, while others go on reading."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from sensorium import io
from sensorium.store import columns, manifest, reading, rows, shard
from sensorium.store.shard import Batch
from sensorium.store.writing import SHARD_BYTES, Writer

MANY = 8  # small shards that are worth merging


def compact(folder: Path | str, shard_bytes: int = SHARD_BYTES) -> int:
    """Rewrite a store in shards of about ``shard_bytes`` without its dead rows. Returns the number of shards.

    Whoever has the store open keeps reading the old files. Raises Corrupt, with nothing changed, when
    a file is damaged; DiskFull when the copy does not fit beside the original.
    """
    known = manifest.read(Path(folder))
    return _compact(Writer(folder, known.fingerprint), shard_bytes)


def compact_small(writer: Writer, shard_rows: int | None = None) -> None:
    """Compact when many shards are less than half as large as they could be; never against an explicit size."""
    if writer.manifest is None or shard_rows is not None:
        return
    small = [s for s in writer.manifest.shards if s.files["vectors"].bytes < SHARD_BYTES // 2]
    if len(small) > MANY:
        _compact(writer, SHARD_BYTES)


def _compact(writer: Writer, shard_bytes: int) -> int:
    folder = writer.folder
    with io.lock(folder):
        writer.refresh_locked()
        known = writer.manifest
        tables = [shard.read_items(folder, s) for s in known.shards]
        parts = [shard.map_vectors(folder, s, known, full=True) for s in known.shards]
        keep = reading.live_rows(folder, known)
        keep = np.arange(known.items) if keep is None else keep
        ids = [name for table in tables for name in table["id"].to_pylist()]
        keys = [key for table in tables for key in table["key"].to_pylist()]
        meta = columns.LazyColumns(tables, known.columns, keep)
        base, offsets = rows.whole(parts, known.dim, np.dtype(known.dtype)), None
        if known.ragged:
            base, offsets = reading.frames(base, reading.joined_offsets(folder, known), keep)
        staged = []
        try:
            for run in _runs(known, keep, offsets, shard_bytes):
                local = None if offsets is None else offsets[run.start : run.stop + 1]
                chosen = base[keep[run]] if local is None else base[int(local[0]) : int(local[-1])]
                staged.append(shard.stage(folder, Batch(
                    [ids[i] for i in keep[run].tolist()], [keys[i] for i in keep[run].tolist()], chosen,
                    {name: meta[name][run] for name in known.columns}, None if local is None else local - local[0],
                ), known))  # fmt: skip
            for one in staged:
                one.commit()
            io.sync_folder(folder)
            writer.adopt(known.with_shards([one.shard for one in staged]))
        finally:
            for one in staged:
                one.discard()
    return len(staged)


def _runs(known: manifest.Manifest, keep: np.ndarray, offsets: np.ndarray | None, size: int) -> list[slice]:
    """Slices of the live items, each of about ``size`` bytes of vectors."""
    row_bytes = max(1, known.dim * np.dtype(known.dtype).itemsize)
    ends = np.arange(1, len(keep) + 1) if offsets is None else offsets[1:]
    number = (ends * row_bytes - 1) // size
    cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(keep)]
    return [slice(a, b) for a, b in pairwise(cuts) if b > a]
