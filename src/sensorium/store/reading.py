"""Opening a store: vectors are memory-mapped, every small file is checked at once."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from sensorium import io
from sensorium.errors import Corrupt, SensoriumError
from sensorium.store import columns, manifest, rows, shard
from sensorium.store.manifest import Manifest
from sensorium.types import Embeddings, Rows

MANY_FILES, SMALL_FILE = 500, 64 << 10  # shards above which those of so many bytes are read into memory, not mapped
FULL_CHECK = 64 << 20  # bytes of vectors up to which opening checks every checksum: some 10 ms


def open(folder: Path | str, full: bool | None = None) -> Embeddings:
    """Open a store as Embeddings: vectors memory-mapped, metadata columns read at first access.

    Live items come in the order in which they were written. Ids, metadata and offsets are checked
    against their checksums, vectors by size and header, and by checksum where ``full`` is true
    or is None and the store is below 64 MB; :func:`verify` always checks everything.
    Raises Corrupt naming the damaged file and the remedy.
    """
    folder = Path(folder)
    for attempt in range(5):
        before = _read(folder)
        try:
            return _open(folder, before, full)
        except Corrupt:
            # A writer may have replaced files since the manifest was read; then it changed as well.
            if attempt == 4 or manifest.read(folder) == before:
                raise
            time.sleep(0.01 * attempt)
    raise AssertionError("the last attempt returns or raises")


def _read(folder: Path) -> Manifest:
    if not folder.is_dir():
        raise Corrupt(f"{folder} is missing: no store there; embed or import into it first")
    return manifest.read(folder)


def _open(folder: Path, known: Manifest, full: bool | None) -> Embeddings:
    if full is None:
        full = sum(s.files["vectors"].bytes for s in known.shards) <= FULL_CHECK
    tables = [shard.read_items(folder, s) for s in known.shards]
    parts = [shard.map_vectors(folder, s, known, full, in_memory_of(known)) for s in known.shards]
    keep = live_rows(folder, known)
    found = [columns.to_numpy(table["id"]) for table in tables]
    ids = np.concatenate(found) if found else np.zeros(0, "<U1")
    vectors, offsets = rows.whole(parts, known.dim, np.dtype(known.dtype)), None
    if known.ragged:
        offsets = joined_offsets(folder, known)
        if keep is not None:
            vectors, offsets = frames(vectors, offsets, keep)
    elif keep is not None:
        vectors = rows.select(vectors, keep)
    meta = columns.LazyColumns(tables, known.columns, keep)
    return Embeddings(ids if keep is None else ids[keep], vectors, known.fingerprint, meta, offsets)


def in_memory_of(known: Manifest) -> int:
    """Bytes up to which a shard's vectors are read, not mapped: each map holds an open file, and those are limited."""
    return SMALL_FILE if len(known.shards) > MANY_FILES else 0


def live_rows(folder: Path, known: Manifest) -> np.ndarray | None:
    """Positions of the live items among all items of all shards; None when all are alive."""
    if not any(s.dead for s in known.shards):
        return None
    masks = [shard.alive(folder, s) for s in known.shards]
    both = zip(masks, known.shards, strict=True)
    return np.flatnonzero(np.concatenate([np.ones(s.items, bool) if m is None else m for m, s in both]))


def joined_offsets(folder: Path, known: Manifest) -> np.ndarray:
    """Where each item begins among the frames of all shards, (items + 1,)."""
    pieces, start = [np.zeros(1, np.int64)], 0
    for s in known.shards:
        pieces.append(shard.read_offsets(folder, s)[1:] + start)
        start += s.rows
    return np.concatenate(pieces)


def frames(base: Rows, offsets: np.ndarray, items: np.ndarray) -> tuple[Rows, np.ndarray]:
    """The frames of some items, in the order of ``items``, and their offsets."""
    lengths = np.diff(offsets)[items]
    new = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if np.array_equal(new, offsets):
        return base, offsets
    return rows.Runs(base, offsets[:-1][items], new), new


def verify(folder: Path | str) -> list[str]:
    """Check every checksum; returns one line for each problem, an empty list when all is well."""
    folder = Path(folder)
    try:
        known = _read(folder)
    except SensoriumError as error:
        return [str(error)]
    problems = []
    for s in known.shards:
        for file in s.files.values():
            try:
                io.verify(folder / file.name, file.xxh3, shard.REMEDY.format(folder=folder))
            except Corrupt as error:
                problems.append(str(error))
    return problems
