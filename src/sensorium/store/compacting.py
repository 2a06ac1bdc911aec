"""Compaction: small shards are merged and dead rows dropped, with one output shard in memory at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import DiskFull, ReadOnly
from sensorium.store import columns, manifest, shard
from sensorium.store.manifest import Manifest, Shard
from sensorium.store.shard import Batch, StagedShard
from sensorium.store.writing import SHARD_BYTES, Writer, shard_slices

MANY = 8  # adjacent small shards that are worth merging
_RATIO = 2  # a shard more than this many times as large as all newer ones together is not rewritten for their sake
FEW = 64  # shards above which a mirror merges the new ones: a commit of the Hub shall not hold thousands of files
_TINY = 1 << 20  # bytes below which a shard is always rewritten with its neighbours


def compact(folder: Path | str, shard_bytes: int = SHARD_BYTES) -> int:
    """Rewrite a store in shards of about ``shard_bytes`` without its dead rows. Returns the number of shards.

    Memory: about one shard. Readers that have the store open keep reading the old files. Raises Corrupt,
    with nothing changed, when a file is damaged; DiskFull when the copy does not fit beside the original.
    """
    known = manifest.read(Path(folder))
    writer = Writer(folder, known.fingerprint)
    with io.lock(writer.folder):
        writer.refresh_locked()
        return _rewrite(writer, range(len(writer.manifest.shards)), shard_bytes)


def compact_small(writer: Writer, shard_rows: int | None = None) -> None:
    """Merge runs of adjacent small shards; larger shards are not touched. No effect with an explicit ``shard_rows``.

    The order of the items stays. Compaction only saves files and time, so a full disk is no error here.
    """
    if writer.manifest is None or shard_rows is not None or small_run(writer.manifest) is None:
        return
    with io.lock(writer.folder), contextlib.suppress(DiskFull):
        writer.refresh_locked()
        found = small_run(writer.manifest) if writer.manifest is not None else None
        if found is not None:
            _rewrite(writer, found, SHARD_BYTES)


def merge_new(writer: Writer, sent: Collection[str], few: int | None = None) -> int:
    """Merge adjacent small shards that are not ``sent`` (names of shards), where there are more than ``few`` (FEW).

    So a store that grew by single items is mirrored as a few files, and what was sent before is not touched. Returns
    the new number of shards. A store that may not be written, or a full disk, is left as it is.
    """
    few = FEW if few is None else few
    if writer.manifest is None or len(writer.manifest.shards) <= few:
        return len(writer.manifest.shards) if writer.manifest else 0
    with contextlib.suppress(DiskFull, ReadOnly), io.lock(writer.folder):
        writer.refresh_locked()
        small = [s.name not in sent and s.files["vectors"].bytes < SHARD_BYTES // 2 for s in writer.manifest.shards]
        if sum(small) > few:
            for run in reversed(list(_runs(small))):
                _rewrite(writer, run, SHARD_BYTES)
    return len(writer.manifest.shards)


def _runs(chosen: Sequence[bool]) -> Iterator[range]:
    """Ranges of two or more neighbours that are chosen."""
    start = 0
    for at, one in enumerate([*chosen, False]):
        if not one:
            if at - start > 1:
                yield range(start, at)
            start = at + 1


def small_run(known: Manifest) -> range | None:
    """The shards that are worth merging: more than MANY adjacent ones below half a shard's size; None when few are.

    From the newest back, a shard joins while it is at most _RATIO times all newer ones together, so
    that bytes are rewritten a logarithmic number of times however often one item is appended.
    """
    sizes = [s.files["vectors"].bytes for s in known.shards]
    end = len(sizes)
    while end:
        start, total = end, 0
        while start and sizes[start - 1] < SHARD_BYTES // 2 and sizes[start - 1] <= max(_TINY, _RATIO * total):
            start -= 1
            total += sizes[start]
        if end - start > MANY:
            return range(start, end)
        end = min(start, end - 1)
    return None


def _rewrite(writer: Writer, chosen: range, shard_bytes: int) -> int:
    """Replace the chosen shards by merged ones without dead rows, under the lock. Returns the new number of shards."""
    known = writer.manifest
    staged: list[StagedShard] = []
    try:
        for batch in merged(writer.folder, known, [known.shards[i] for i in chosen], shard_bytes):
            staged.append(shard.stage(writer.folder, batch, known))
            del batch  # before the next one is made
        for one in staged:
            one.commit()
        io.sync_folder(writer.folder)
        before, after = known.shards[: chosen.start], known.shards[chosen.stop :]
        writer.adopt(known.with_shards([*before, *(one.shard for one in staged), *after]))
    finally:
        for one in staged:
            one.discard()
    return len(writer.manifest.shards)


@dataclass(frozen=True)
class _Piece:
    """Live items of one shard: its Arrow table, their vectors (a view where possible) and frames an item."""

    table: Any
    vectors: np.ndarray
    lengths: np.ndarray | None


def merged(folder: Path, known: Manifest, shards: Sequence[Shard], shard_bytes: int) -> Iterator[Batch]:
    """The live items of some shards in batches of about ``shard_bytes`` of vectors, in order."""
    row_bytes = max(1, known.dim * np.dtype(known.dtype).itemsize)
    waiting: list[_Piece] = []
    room = shard_bytes
    for s in shards:
        table, vectors, lengths = _live(folder, s, known)
        start = 0
        while start < table.num_rows:
            stop = next(shard_slices(table.num_rows, row_bytes, lengths, room, start)).stop
            piece = _Piece(table.slice(start, stop - start), *_cut(vectors, lengths, start, stop))
            if waiting and piece.vectors.nbytes > room:
                yield _batch(waiting, known)
                waiting, room = [], shard_bytes
                continue
            waiting.append(piece)
            room -= piece.vectors.nbytes
            start = stop
            if room < row_bytes:
                yield _batch(waiting, known)
                waiting, room = [], shard_bytes
    if waiting:
        yield _batch(waiting, known)


def _live(folder: Path, s: Shard, known: Manifest) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """A shard's items table, vectors and frames an item, without its dead rows; every checksum is verified."""
    table = shard.read_items(folder, s)
    vectors = shard.map_vectors(folder, s, known, full=True, in_memory=_TINY)
    lengths = np.diff(shard.read_offsets(folder, s)) if known.ragged else None
    alive = shard.alive(folder, s)
    if alive is None:
        return table, vectors, lengths
    if lengths is None:
        return table.filter(alive), vectors[alive], None
    return table.filter(alive), vectors[np.repeat(alive, lengths)], lengths[alive]


def _cut(
    vectors: np.ndarray, lengths: np.ndarray | None, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray | None]:
    if lengths is None:
        return vectors[start:stop], None
    first = int(lengths[:start].sum())
    return vectors[first : first + int(lengths[start:stop].sum())], lengths[start:stop]


def _batch(pieces: Sequence[_Piece], known: Manifest) -> Batch:
    tables = [piece.table for piece in pieces]
    lengths = [piece.lengths for piece in pieces if piece.lengths is not None]
    return Batch(
        [name for table in tables for name in table["id"].to_pylist()],
        [key for table in tables for key in table["key"].to_pylist()],
        np.concatenate([piece.vectors for piece in pieces]) if len(pieces) > 1 else np.asarray(pieces[0].vectors),
        {name: columns.gather(tables, name, kind) for name, kind in known.columns.items()},
        np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64) if lengths else None,
    )
