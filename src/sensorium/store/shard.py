"""One shard on disk: vectors (.npy), items (Parquet), offsets of a ragged store, and the dead rows."""

from __future__ import annotations

import io as memory
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import Corrupt
from sensorium.store import columns
from sensorium.store.content_keys import KEY_BYTES
from sensorium.store.manifest import File, Manifest, Shard

REMEDY = (
    "embed the same items again, which makes anew only what is damaged, or drop it: "
    "python -c \"from sensorium import store; store.repair('{folder}')\""
)


@dataclass(frozen=True)
class Batch:
    """n items to be stored.

    vectors (n, d), or (t, d) frames with offsets (n + 1,). keys: 16 bytes an item. columns: (n,) each.
    """

    ids: list[str]
    keys: list[bytes]
    vectors: np.ndarray
    columns: Mapping[str, np.ndarray]
    offsets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class StagedShard:
    """A shard written and durable under temporary names, not yet in a manifest. ``batch`` has no vectors any more."""

    batch: Batch
    shard: Shard
    files: list[io.Staged]

    def commit(self) -> None:
        """Rename into place. The caller makes the folder durable and writes the manifest."""
        for file in self.files:
            file.commit(sync=False)

    def discard(self) -> None:
        """Delete the temporary files."""
        for file in self.files:
            file.discard()


def stage(folder: Path, batch: Batch, manifest: Manifest, name: str = "") -> StagedShard:
    """Write a batch's files beside their final names; any number of writers may do so at once.

    name: of the shard, by default a new one. The items file also holds what a manifest says of the shard, so that a
    lost manifest can be rebuilt (see :mod:`sensorium.store.repairing`).
    """
    made, staged = Shard(name or secrets.token_hex(8), len(batch), len(batch.vectors), 0, {}), []

    def put(name: str, content: io.Content) -> File:
        staged.append(io.Staged(folder / name, content))
        return File.of(staged[-1])

    try:
        made = _files(made, batch, manifest, put)
    except BaseException:
        for file in staged:
            file.discard()
        raise
    empty = batch.vectors[:0].copy()  # width and type; the rows need not stay in memory
    return StagedShard(replace(batch, vectors=empty), made, staged)


def pack(batch: Batch, manifest: Manifest, name: str) -> tuple[Shard, dict[str, bytes]]:
    """A shard and the bytes of each of its files, by name, for where there is no file system."""
    import xxhash

    contents: dict[str, bytes] = {}

    def put(name: str, content: list[Any]) -> File:
        contents[name] = b"".join(memoryview(part).cast("B") for part in content)
        return File(name, len(contents[name]), xxhash.xxh3_128_hexdigest(contents[name]))

    return _files(Shard(name, len(batch), len(batch.vectors), 0, {}), batch, manifest, put), contents


def _files(made: Shard, batch: Batch, manifest: Manifest, put: Callable[[str, list[Any]], File]) -> Shard:
    """The shard with its files, each given to ``put``, that of the items last."""
    files = {"vectors": put(f"{made.name}.vectors.npy", npy(batch.vectors))}
    if batch.offsets is not None:
        files["offsets"] = put(f"{made.name}.offsets.npy", npy(np.asarray(batch.offsets, np.int64)))
    about = {"store": {"fingerprint": manifest.fingerprint, "dtype": manifest.dtype, "dim": manifest.dim,
                       "ragged": manifest.ragged}, "rows": made.rows,
             "files": {k: vars(f) for k, f in files.items()}}  # fmt: skip
    files["items"] = put(f"{made.name}.items.parquet", _parquet(batch, about))
    return replace(made, files=files)


def npy(array: np.ndarray) -> list[Any]:
    """A .npy file as buffers: header, then the array's own memory."""
    array = np.ascontiguousarray(array)
    head = memory.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    return [head.getvalue(), array]


def _parquet(batch: Batch, about: Mapping[str, Any]) -> list[Any]:
    import json
    import time

    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(KEY_BYTES), len(batch), [None, pa.py_buffer(b"".join(batch.keys))]
    )
    table = pa.table({"id": pa.array(batch.ids, pa.string()), "key": keys, **columns.to_arrow(batch.columns)})
    about = json.dumps({**about, "written": time.time_ns()}, default=io.plain)
    table = table.replace_schema_metadata({"sensorium": about})
    out = pa.BufferOutputStream()
    pq.write_table(table, out, write_page_checksum=True, compression="zstd")
    return [out.getvalue()]


def stage_removed(folder: Path, shard: Shard, rows: np.ndarray) -> tuple[Shard, io.Staged]:
    """The shard with the dead rows ``rows`` (sorted; all that were ever removed), and the file that lists them."""
    staged = io.Staged(folder / f"{shard.name}.{secrets.token_hex(4)}.removed.npy", npy(rows.astype(np.int64)))
    return replace(shard, dead=len(rows), files={**shard.files, "removed": File.of(staged)}), staged


def read_bytes(folder: Path, file: File) -> bytes:
    """A small file of a shard, whole and checked. Raises Corrupt naming it."""
    import xxhash

    path = folder / file.name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Corrupt(f"{path} is missing; {REMEDY.format(folder=folder)}") from None
    if len(content) != file.bytes or xxhash.xxh3_128_hexdigest(content) != file.xxh3:
        raise Corrupt(
            f"{path} is damaged ({len(content)} bytes, {file.bytes} expected); {REMEDY.format(folder=folder)}"
        )
    return content


def read_items(folder: Path, shard: Shard) -> Any:
    """The items file as an Arrow table: id, key, and metadata columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # use_threads=False: starting Arrow's pool costs more than reading one shard's columns. read_table takes four times
    # as long for a small file, as it makes a data set of it.
    return pq.ParquetFile(pa.BufferReader(read_bytes(folder, shard.files["items"]))).read(use_threads=False)


def read_keys(table: Any) -> np.ndarray:
    """The keys of an items table, (n,) of 16 raw bytes each."""
    import pyarrow as pa

    column = pa.concat_arrays(table["key"].chunks) if table.num_rows else None
    if column is None:
        return np.zeros(0, f"V{KEY_BYTES}")
    raw = np.frombuffer(column.buffers()[1], f"V{KEY_BYTES}")
    return raw[column.offset : column.offset + len(column)]


def read_array(folder: Path, file: File) -> np.ndarray:
    """A small .npy file, whole and checked."""
    return np.load(memory.BytesIO(read_bytes(folder, file)), allow_pickle=False)


def read_offsets(folder: Path, shard: Shard) -> np.ndarray:
    """Where each item begins among a ragged shard's rows, (items + 1,) int64. Raises Corrupt."""
    found = read_array(folder, shard.files["offsets"])
    if found.shape != (shard.items + 1,) or found.dtype != np.int64 or found[0] or found[-1] != shard.rows:
        raise Corrupt(f"{folder / shard.files['offsets'].name} is damaged: it does not hold the offsets of "
                      f"{shard.items} items in {shard.rows} rows; {REMEDY.format(folder=folder)}")  # fmt: skip
    return found


def alive(folder: Path, shard: Shard) -> np.ndarray | None:
    """Mask of the live items of a shard; None when all are."""
    if not shard.dead:
        return None
    mask = np.ones(shard.items, bool)
    mask[read_array(folder, shard.files["removed"])] = False
    return mask


def map_vectors(folder: Path, shard: Shard, manifest: Manifest, full: bool = False, in_memory: int = 0) -> np.ndarray:
    """Memory map of a shard's vectors; size and header are checked, with ``full`` the checksum too.

    in_memory: bytes up to which a file is read instead, as each map holds an open file, of which there are some 1,000.
    Raises Corrupt, naming the file and the remedy.
    """
    file, remedy = shard.files["vectors"], REMEDY.format(folder=folder)
    path = folder / file.name
    if not path.is_file():
        raise Corrupt(f"{path} is missing; {remedy}")
    size = path.stat().st_size
    if size != file.bytes:
        raise Corrupt(f"{path} is cut short or grown: {size} bytes, {file.bytes} expected; {remedy}")
    if full:
        io.verify(path, file.xxh3, remedy)
    try:
        mapped = np.load(path, mmap_mode=None if size <= in_memory else "r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise Corrupt(f"{path} is damaged: {error}; {remedy}") from None
    if mapped.shape != (shard.rows, manifest.dim) or mapped.dtype != np.dtype(manifest.dtype):
        raise Corrupt(f"{path} is damaged: its header says {mapped.dtype} {mapped.shape}, "
                      f"expected {manifest.dtype} {(shard.rows, manifest.dim)}; {remedy}")  # fmt: skip
    return mapped
