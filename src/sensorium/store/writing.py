"""Writers of a store: shards are written aside without a lock, the manifest is replaced under the folder's lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium import io
from sensorium.errors import BadData, Mismatch
from sensorium.store import columns, manifest, repairing, shard
from sensorium.store.checks import check_vectors, checked_offsets, joined, native, storable
from sensorium.store.content_keys import vector_keys
from sensorium.store.locations import Locations
from sensorium.store.manifest import Manifest, Shard
from sensorium.store.shard import Batch, StagedShard
from sensorium.types import Rows, as_ids, blocks, check_unique

SHARD_BYTES = 128 << 20
INCOMING = ".incoming"  # folder within a store in which shards arrive: see sensorium.store.arrivals
_HIDDEN = (".tmp-*", ".lock", manifest.NAME, INCOMING)
OURS = ("*.vectors.npy", "*.offsets.npy", "*.items.parquet", "*.removed.npy")


class Written(NamedTuple):
    """Result of a commit. added: items that are new or replaced; present: items stored before with the same content."""

    added: int
    present: int


class Writer:
    """Stages and commits shards of one store. Any number of writers, in threads or processes, may work at once.

    An id has one content: the same id with the same content and metadata is dropped as already
    present, with other content or metadata it replaces the stored one.
    Everything that changes the folder (commit, rebuild of a lost manifest, clean-up) happens under its lock.
    """

    def __init__(self, folder: Path | str, fingerprint: Mapping[str, Any]) -> None:
        self.folder, self.fingerprint = Path(folder), dict(fingerprint)
        self.locations = Locations(self.folder)
        self.manifest: Manifest | None = None
        if self.folder.exists() and not self.folder.is_dir():
            raise BadData(f"{self.folder} is a file; a store is a folder: choose another one")
        self.refresh()

    def refresh(self) -> None:
        """Read what other writers committed. Raises Mismatch when the store is another encoder's."""
        # Without a manifest and shards there is nothing to lock yet, and a foreign folder shall stay untouched.
        if manifest.exists(self.folder) or repairing.has_shards(self.folder):
            with io.lock(self.folder):
                self.refresh_locked()
        else:
            self._refuse_foreign_files()

    def refresh_locked(self) -> None:
        """As :meth:`refresh`, for a caller that holds the folder's lock; rebuilds a lost manifest from the shards."""
        found = manifest.read(self.folder) if manifest.exists(self.folder) else None
        if found is None and repairing.has_shards(self.folder):
            # The manifest was lost, or the first commit cut short: starting anew would lose the shards.
            found = repairing.rebuild(self.folder)
            if found is not None:
                found.write(self.folder)
        if found is None:
            self._refuse_foreign_files()
            self.locations = Locations(self.folder)
        else:
            manifest.same_fingerprint(found.fingerprint, self.fingerprint, self.folder)
            self.locations.update(found)
        self.manifest = found

    def _refuse_foreign_files(self) -> None:
        """Raise BadData when the folder holds files that no store writes."""
        names = sorted(p.name for p in self.folder.iterdir()) if self.folder.is_dir() else []
        foreign = [n for n in names if not any(fnmatch(n, pattern) for pattern in (*OURS, *_HIDDEN))]
        if foreign:
            raise BadData(
                f"{self.folder} holds other files, such as {foreign[0]}, and no store; choose an empty folder"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, refreshed: no file is replaced or deleted meanwhile. Map here what is read later."""
        with io.lock(self.folder):
            self.refresh_locked()
            yield

    def stage(self, batch: Batch) -> StagedShard:
        """Write a batch's files under temporary names; they become part of the store with :meth:`commit`.

        Raises BadData for vectors of a type that no reader accepts (see ``checks.storable``).
        """
        storable(batch.vectors)
        shape = self._shape(batch)
        self._check_shape(self.manifest, shape)
        return shard.stage(self.folder, batch, shape)

    def commit(self, staged: Sequence[StagedShard]) -> Written:
        """Make staged shards part of the store, all or none. Returns what was added and what was present."""
        waiting = list(staged)
        try:
            with io.lock(self.folder):
                self.refresh_locked()
                base = self.manifest or self._shape(staged[0].batch)
                for one in staged:
                    shape = self._shape(one.batch)
                    self._check_shape(base, shape)
                    base = replace(base, columns=columns.merge(base.columns, shape.columns))
                return self._publish(base, waiting)
        finally:
            for one in waiting:
                one.discard()

    def _publish(self, base: Manifest, waiting: list[StagedShard]) -> Written:
        dead: dict[str, set[int]] = {}
        shards = {s.name: s for s in base.shards}
        added = present = 0
        for one in list(waiting):
            already = self.locations.present(one.batch.ids, one.batch.keys, one.batch.columns)
            present += int(already.sum())
            if already.all():
                continue
            added += int((~already).sum())
            shards[one.shard.name] = one.shard
            if already.any():
                dead[one.shard.name] = set(np.flatnonzero(already).tolist())
            for row in np.flatnonzero(~already).tolist() if self.locations.by_id else []:
                position = self.locations.by_id.get(one.batch.ids[row])
                if position is not None:
                    number, old = self.locations.shard_and_row(position)
                    dead.setdefault(self.locations.shards[number].name, set()).add(old)
        if added:
            files = [f for one in waiting if one.shard.name in shards for f in one.files]
            self._replace(base, shards, dead, files)
            waiting[:] = [one for one in waiting if one.shard.name not in shards]
        return Written(added, present)

    def _replace(
        self, base: Manifest, shards: dict[str, Shard], dead: Mapping[str, set[int]], files: list[io.Staged]
    ) -> None:
        """Write the new manifest, with more dead rows; then delete what it no longer names."""
        files = list(files)
        try:
            for name, rows in dead.items():
                before = shards[name]
                if before.dead:
                    rows = rows | set(shard.read_array(self.folder, before.files["removed"]).tolist())
                if len(rows) == before.items:
                    del shards[name]
                else:
                    shards[name], staged = shard.stage_removed(self.folder, before, np.array(sorted(rows)))
                    files.append(staged)
            named = {f.name for s in shards.values() for f in s.files.values()}
            for file in files:
                file.commit(sync=False) if file.path.name in named else file.discard()
            io.sync_folder(self.folder)
            new = base.with_shards(list(shards.values()))
            self.adopt(new)
        except BaseException:
            for file in files:
                file.discard()
            raise

    def adopt(self, new: Manifest) -> None:
        """Make this the store's manifest, then delete what it no longer names; call it under the lock."""
        new.write(self.folder)
        self.manifest = new  # the locations are updated when next needed, under the lock
        self.clean()

    def clean(self) -> None:
        """Delete the files that the manifest does not name and those of killed writers; call it under the lock."""
        named = {f.name for f in self.manifest.files()}
        for pattern in OURS:
            for path in self.folder.glob(pattern):
                if path.name not in named and not path.name.startswith("."):
                    with suppress(OSError):  # left to the next writer: what was committed is committed
                        path.unlink()
        io.sweep(self.folder)

    def remove(self, ids: Iterable[str]) -> int:
        """Remove ids; unknown ids are ignored. Returns how many were removed."""
        with io.lock(self.folder):
            self.refresh_locked()
            positions = [self.locations.by_id[name] for name in set(ids) if name in self.locations.by_id]
            dead: dict[str, set[int]] = {}
            for position in positions:
                number, row = self.locations.shard_and_row(position)
                dead.setdefault(self.locations.shards[number].name, set()).add(row)
            if dead:
                self._replace(self.manifest, {s.name: s for s in self.manifest.shards}, dead, [])
        return len(positions)

    def _shape(self, batch: Batch) -> Manifest:
        """The manifest of a store that would hold only this batch."""
        vectors = batch.vectors
        return Manifest(
            self.fingerprint, int(vectors.shape[1]), vectors.dtype.name, batch.offsets is not None,
            columns.kinds(batch.columns),
        )  # fmt: skip

    def _check_shape(self, known: Manifest | None, new: Manifest) -> None:
        if known is None:
            return
        if known.dim != new.dim:
            raise BadData(f"{self.folder} holds vectors of width {known.dim}, these have width {new.dim}; "
                          "choose another folder")  # fmt: skip
        if known.dtype != new.dtype:
            raise Mismatch(f"{self.folder} holds {known.dtype} vectors, these are {new.dtype}; "
                           f"convert them, or choose another folder")  # fmt: skip
        if known.ragged != new.ragged:
            words = {True: "frames (several vectors an item)", False: "one vector an item"}
            raise Mismatch(f"{self.folder} holds {words[known.ragged]}, these are {words[new.ragged]}; "
                           "choose another folder")  # fmt: skip
        columns.merge(known.columns, new.columns)


def append(
    folder: Path | str,
    ids: Sequence[Any] | np.ndarray,
    vectors: Rows | Sequence[np.ndarray],
    fingerprint: Mapping[str, Any],
    meta: Mapping[str, Any] | None = None,
    keys: Sequence[bytes] | None = None,
    offsets: np.ndarray | None = None,
) -> Written:
    """Add items to a store, all or none; the folder is made when it is not there.

    vectors: (n, d) Rows of any size, read in blocks; or n arrays of frames (t_i, d); or (t, d) with
    offsets (n + 1,). Stored as float16, float32 or float64 in native byte order; long doubles become float64.
    keys: 16-byte content keys, by default of the vectors themselves. An id that is stored with the
    same key and metadata is dropped, with others it is replaced.
    Raises BadData (duplicate ids, NaN, infinite or zero vectors, types, shapes, columns), Mismatch
    (fingerprint, dtype) or DiskFull; the store is then as it was.
    """
    ids = as_ids(ids)
    check_unique(ids, f"append to {folder}")
    if isinstance(vectors, (list, tuple)) and offsets is None:
        vectors, offsets = joined(ids, vectors)
    if len(vectors.shape) != 2:
        raise BadData(f"append to {folder}: vectors of shape {tuple(vectors.shape)}; expected (items, width)")
    if offsets is not None:
        offsets = checked_offsets(offsets, len(vectors))
    count = len(vectors) if offsets is None else len(offsets) - 1
    if count != len(ids):
        raise BadData(f"append to {folder}: {count} vectors for {len(ids)} ids")
    if keys is not None and len(keys) != len(ids):
        raise BadData(f"append to {folder}: {len(keys)} keys for {len(ids)} ids")
    meta = columns.clean(meta, len(ids))
    writer = Writer(folder, fingerprint)
    staged: list[StagedShard] = []
    try:
        row_bytes = max(1, vectors.shape[1] * np.dtype(vectors.dtype).itemsize)
        lengths = None if offsets is None else np.diff(offsets)
        for block in shard_slices(len(ids), row_bytes, lengths, SHARD_BYTES):
            staged.append(writer.stage(_batch(ids[block], vectors, block, offsets, keys, meta)))
    except BaseException:
        for one in staged:
            one.discard()
        raise
    return writer.commit(staged) if staged else Written(0, 0)


def shard_slices(n: int, row_bytes: int, lengths: np.ndarray | None, size: int, start: int = 0) -> Iterator[slice]:
    """Slices of n items, from ``start`` on, of at most ``size`` bytes of vectors each, but at least one item.

    lengths (n,): frames of each item; None for one vector an item.
    """
    if lengths is None:
        for block in blocks(n - start, max(1, size // row_bytes)):
            yield slice(block.start + start, block.stop + start)
        return
    ends = np.cumsum(lengths) * row_bytes
    while start < n:
        limit = size + (int(ends[start - 1]) if start else 0)
        stop = max(start + 1, int(np.searchsorted(ends, limit, side="right")))
        yield slice(start, stop)
        start = stop


def _batch(
    ids: np.ndarray, vectors: Rows, block: slice, offsets: np.ndarray | None, keys: Sequence[bytes] | None,
    meta: Mapping[str, np.ndarray],
) -> Batch:  # fmt: skip
    local = None if offsets is None else np.asarray(offsets[block.start : block.stop + 1], np.int64)
    part = vectors[block] if local is None else vectors[int(local[0]) : int(local[-1])]
    local = None if local is None else local - local[0]
    part = native(part)
    names = ids.tolist()
    check_vectors(part, names, local)
    own = vector_keys(part, local) if keys is None else list(keys[block])
    return Batch(names, own, part, {name: column[block] for name, column in meta.items()}, local)


def remove(folder: Path | str, ids: Iterable[Any]) -> int:
    """Remove ids from a store; unknown ids are ignored. Returns how many were removed.

    Their vectors stay in the files until :func:`compact`.
    """
    known = manifest.read(Path(folder))
    ids = as_ids(ids if isinstance(ids, np.ndarray) else list(ids))
    return Writer(folder, known.fingerprint).remove(ids.tolist())
