"""Embed items once: only new or changed content is encoded; committed shard by shard, resumable after a kill."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.contracts import Encoder
from sensorium.errors import BadData, Mismatch, SensoriumError
from sensorium.progress import bar, say
from sensorium.store import columns, compacting, encoding, engines, joining, reading, repairing, rows, shard, watching
from sensorium.store.checks import DTYPES
from sensorium.store.content_keys import content_keys
from sensorium.store.encoded import Frames, Owners, Room
from sensorium.store.shard import Batch
from sensorium.store.writing import SHARD_BYTES, Writer
from sensorium.types import Embeddings, Items, Rows, blocks

COMMIT_SECONDS = 30.0  # a slow encoder commits at least this often, so that a kill costs no more


class Report(NamedTuple):
    """Number of items encoded now, of items whose content was stored before, and of damaged shards dropped."""

    encoded: int
    reused: int
    dropped_shards: int


def embed(
    items: Items,
    encoder: Encoder,
    folder: Path | str,
    *,
    batch: int | None = None,
    shard_rows: int | None = None,
    progress: bool = True,
    dtype: Any = None,
) -> Embeddings:
    """Vectors of the items, in their order, from the store in ``folder`` or else from the encoder.

    batch: items per encoder call, by default ``encoder.batch`` or 64; texts are sorted by length
    within a shard. shard_rows: items per shard, by default 128 MB of vectors; a kill loses at
    most one shard, of at most 30 s of encoding. dtype: float16, float32 or float64, by default what
    the store or else the encoder has. Encoders with ``frames = True`` give (t_i, d) an item.
    Raises BadData for vectors that are NaN, infinite, zero or of a wrong width or number, Mismatch
    when the store is another encoder's, DiskFull; what was committed before stays.
    """
    return embed_reported(items, encoder, folder, batch=batch, shard_rows=shard_rows, progress=progress, dtype=dtype)[0]


def embed_reported(
    items: Items,
    encoder: Encoder,
    folder: Path | str,
    *,
    batch: int | None = None,
    shard_rows: int | None = None,
    progress: bool = True,
    dtype: Any = None,
) -> tuple[Embeddings, Report]:
    """As :func:`embed`, with a Report of how many items were encoded and how many reused."""
    if encoder.takes != items.kind:
        raise Mismatch(f"the encoder takes {encoder.takes}, the items are {items.kind}; choose another encoder")
    if dtype is not None and np.dtype(dtype).name not in DTYPES:
        raise BadData(f"dtype={np.dtype(dtype).name} of a store; expected float32, float16 or float64")
    engine = engines.current()
    with contextlib.nullcontext(Path(folder)) if engine is None else engine.opened(Path(folder)) as where:
        return _embed(items, encoder, where, batch, shard_rows, progress, dtype)


def _embed(
    items: Items, encoder: Encoder, folder: Path, batch: int | None, shard_rows: int | None, progress: bool, dtype: Any
) -> tuple[Embeddings, Report]:
    engine = engines.current()
    meta = columns.clean(columns.as_stored(items.meta), len(items))
    dropped = len(repairing.drop_damaged(folder)) if engine is None or engine.whole else 0
    keys_of = content_keys if engine is None else engine.keys
    keys = keys_of(items.kind, items.ids.tolist(), items.values)
    writer = Writer(folder, encoder.fingerprint)
    if encoder.joins or encoder.parted:
        with writer.locked():
            there = writer.locations.present(items.ids.tolist(), keys, meta)
        if not there.all():
            own = [encoding.plain(value) for value in items.values]  # each an object of its own
            items = replace(items, values=own)
            with watching.by(None):
                encoder = joining.prepared(items, encoder, folder, batch, progress, embed)
    work = _Work(items, meta, keys, encoder, writer, dtype)
    watcher, batch = watching.current(), batch or encoder.batch
    if watcher is not None:
        watcher.begins(folder)
        shard_rows = shard_rows or max(batch, min(watcher.every, _shard_rows(encoder.dim, work.frames)))
    encoded = work.run(batch, shard_rows, progress)
    if engine is None or engine.compacts:
        compacting.compact_small(work.writer, shard_rows)  # not where each shard is mirrored as it is
    report = Report(encoded, len(items) - encoded, dropped)
    return _in_order(items, work.writer, keys), report


class _Work:
    """State of one call of :func:`embed`: the items, and vectors encoded since the last commit."""

    def __init__(
        self, items: Items, meta: dict[str, np.ndarray], keys: list[bytes], encoder: Encoder, writer: Writer, dtype: Any
    ) -> None:
        self.items, self.meta, self.keys, self.encoder, self.writer = items, meta, keys, encoder, writer
        self.ids = items.ids.tolist()
        self.frames = encoder.frames
        known = writer.manifest
        self.dtype = np.dtype(dtype) if dtype is not None else np.dtype(known.dtype) if known else None

    def run(self, batch: int, shard_rows: int | None, progress: bool) -> int:
        """Copy vectors of equal content, encode the rest. Returns how many items had to be encoded."""
        with self.writer.locked():
            locations = self.writer.locations
            present = locations.present(self.ids, self.keys, self.meta)
            missing = np.flatnonzero(~present).tolist()
            copies = [i for i in missing if self.keys[i] in locations.by_key]
            if copies and (engine := engines.current()) is not None:
                engine.fetch(self.writer)
            known = self._content([locations.by_key[self.keys[i]] for i in copies]) if copies else None
        owners = Owners(self.keys, (i for i in missing if self.keys[i] not in locations.by_key))
        if known is not None:
            self._copy(copies, *known)
        if progress and 0 < len(missing) < len(self.ids):
            done = len(self.ids) - len(missing)
            say("embed", f"{done:,} of {len(self.ids):,} {self.items.kind} items are there, going on with the others")
        # Counted before encoding: afterwards the locations include these contents as well.
        count = owners.items_in_all
        self._encode(owners, batch, shard_rows, progress)
        return count

    def _content(self, positions: list[int]) -> tuple[Rows, np.ndarray | None]:
        """The vectors, or the frames and their offsets, at these positions."""
        base, offsets = stored(self.writer)
        at = np.array(positions, np.int64)
        return (rows.select(base, at), None) if offsets is None else reading.frames(base, offsets, at)

    def _copy(self, rows: list[int], vectors: Rows, offsets: np.ndarray | None) -> None:
        """Store vectors of equal content for ids that are new, or whose metadata changed."""
        for block in blocks(len(rows), _shard_rows(int(vectors.shape[1]), self.frames)):
            local = None if offsets is None else offsets[block.start : block.stop + 1]
            part = vectors[block] if local is None else vectors[int(local[0]) : int(local[-1])]
            self._commit(rows[block], part, None if local is None else local - local[0])

    def _encode(self, owners: Owners, batch: int, shard_rows: int | None, progress: bool) -> None:
        order = list(owners.first.values())
        if not order:
            return
        if progress and (cost := self.encoder.cost([encoding.plain(self.items.values[i]) for i in order])):
            say("cost", cost)
        if (engine := engines.current()) is not None and not isinstance(self.encoder, joining.FromParts):
            engine.encode(self._job(owners, batch, shard_rows, progress))
            return
        size = shard_rows or max(batch, _shard_rows(self.encoder.dim, self.frames))
        done: Frames | Room = Frames(owners, self.keys) if self.frames else Room(owners, self.keys)
        what = f"embedding {self.items.kind}"
        try:
            with bar(what, len(order), progress) as advance:
                for start in range(0, len(order), size):
                    chunk, last = self._by_length(order[start : start + size]), time.monotonic()
                    done.expect(chunk)
                    for at in range(0, len(chunk), batch):
                        members = chunk[at : at + batch]
                        done.add(members, self._vectors(members))
                        advance(len(members))
                        if time.monotonic() - last > COMMIT_SECONDS:
                            self._flush(done)
                            done.expect(chunk[at + batch :])
                            last = time.monotonic()
                    self._flush(done)
        except BaseException:
            # An interruption or one bad item does not cost what was encoded before it.
            with contextlib.suppress(SensoriumError):
                self._flush(done)
            raise

    def _job(self, owners: Owners, batch: int, shard_rows: int | None, progress: bool) -> engines.Job:
        return engines.Job(
            self.items.kind, self.ids, self.keys, self.items.values, self.meta, owners, self.encoder, self.writer,
            self._width(), self.dtype, batch, shard_rows, progress, self._tell,
        )  # fmt: skip

    def _by_length(self, members: list[int]) -> list[int]:
        """Longest text first: little padding, and a batch that is too large fails at once."""
        if self.items.kind != "text":
            return members
        return sorted(members, key=lambda i: -len(self.items.values[i]))

    def _vectors(self, members: list[int]) -> Any:
        """One encoder call, checked. (b, d), or a list of (t_i, d)."""
        ids, values = [self.ids[i] for i in members], [self.items.values[i] for i in members]
        found = encoding.encoded(self.encoder, ids, values, self._width(), self.dtype)
        self.dtype = self.dtype or found[0].dtype
        return found

    def _width(self) -> int:
        return self.writer.manifest.dim if self.writer.manifest else int(self.encoder.dim)

    def _flush(self, done: Frames | Room) -> None:
        """Commit what was encoded as one shard, in the order of the items, for every id of equal content."""
        if done:
            self._commit(*done.take())

    def _commit(self, members: list[int], vectors: np.ndarray, offsets: np.ndarray | None) -> None:
        meta = {name: column[members] for name, column in self.meta.items()}
        ids, keys = [self.ids[i] for i in members], [self.keys[i] for i in members]
        staged = self.writer.stage(Batch(ids, keys, vectors, meta, offsets))
        self.writer.commit([staged])
        self._tell(len(members))

    def _tell(self, items: int) -> None:
        """Tell who watches that so many items more are committed."""
        if (watcher := watching.current()) is not None:
            watcher.committed(self.writer.folder, items)


def _shard_rows(width: int, frames: bool) -> int:
    """Items a shard. How many frames an item has is not known beforehand; 30 s of encoding bound such a shard."""
    return 4096 if frames else max(1, SHARD_BYTES // (4 * width))


def stored(writer: Writer) -> tuple[Rows, np.ndarray | None]:
    """All rows of a locked store by position, dead ones too; and the offsets of a ragged one."""
    known = writer.manifest
    held = reading.in_memory_of(known)
    parts = [shard.map_vectors(writer.folder, s, known, in_memory=held) for s in known.shards]
    offsets = reading.joined_offsets(writer.folder, known) if known.ragged else None
    return rows.whole(parts, known.dim, np.dtype(known.dtype)), offsets


def _in_order(items: Items, writer: Writer, keys: Sequence[bytes]) -> Embeddings:
    """The items' vectors in the order of the items."""
    if not len(items):
        return Embeddings(items.ids, np.zeros((0, writer.manifest.dim if writer.manifest else 0), np.float32),
                          dict(writer.fingerprint), items.meta)  # fmt: skip
    engine = engines.current()
    with writer.locked():
        if engine is None or engine.whole:
            base, offsets = stored(writer)
        else:  # its ids and contents are checked all the same
            base, offsets = rows.Absent(len(items), writer.manifest.dim, np.dtype(writer.manifest.dtype)), None
    locations, ids = writer.locations, items.ids.tolist()
    positions = [locations.by_id.get(name, -1) for name in ids]
    lost = [n for n, p, k in zip(ids, positions, keys, strict=True) if p < 0 or locations.key(p) != k]
    if lost:
        raise Mismatch(f"{writer.folder}: another process changed {len(lost)} items meanwhile, such as "
                       f"'{lost[0]}'; run again, or choose another folder")  # fmt: skip
    at = np.array(positions, np.int64)
    if isinstance(base, rows.Absent):
        return Embeddings(items.ids, base, writer.manifest.fingerprint, items.meta)
    if offsets is None:
        return Embeddings(items.ids, rows.select(base, at), writer.manifest.fingerprint, items.meta)
    vectors, local = reading.frames(base, offsets, at)
    return Embeddings(items.ids, vectors, writer.manifest.fingerprint, items.meta, local)
