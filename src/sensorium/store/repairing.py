"""Repair: damaged shards are dropped, a lost manifest is rebuilt from the metadata in each shard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium import io
from sensorium.errors import Corrupt
from sensorium.store import columns, manifest, shard
from sensorium.store.manifest import File, Manifest, Shard


class Repaired(NamedTuple):
    """Result of a repair: names of the damaged files whose shards were dropped, items left, manifest rebuilt or not."""

    dropped: list[str]
    items: int
    rebuilt: bool


def repair(folder: Path | str) -> Repaired:
    """Make a damaged store whole again without its damaged shards; embed again to make these anew.

    A missing or damaged manifest is rebuilt from the shards. Removals are then preserved; of an id that
    is in several shards the last written wins.
    Raises Corrupt when the folder holds nothing to repair.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise Corrupt(f"{folder} is missing: no store to repair there")
    with io.lock(folder):
        rebuilt = False
        try:
            manifest.read(folder)
        except Corrupt:
            found = rebuild(folder)
            if found is None:
                raise Corrupt(
                    f"{folder} holds no shard that can be read; delete it, and embed again: rm -r {folder}"
                ) from None
            found.write(folder)
            rebuilt = True
        dropped = _drop(folder)
        return Repaired(dropped, manifest.read(folder).items, rebuilt)


def drop_damaged(folder: Path) -> list[str]:
    """Take damaged shards out of the store. Returns the names of the damaged files."""
    if not manifest.exists(folder):
        return []
    # Found without the lock, so that a large store does not make other writers wait.
    before = manifest.read(folder)
    if not any(_problem(folder, s) for s in before.shards):
        return []
    with io.lock(folder):
        return _drop(folder)


def _drop(folder: Path) -> list[str]:
    known = manifest.read(folder)
    problems = {s.name: _problem(folder, s) for s in known.shards}
    damaged = [problem for problem in problems.values() if problem]
    if damaged:
        known.with_shards([s for s in known.shards if not problems[s.name]]).write(folder)
    return damaged


def _problem(folder: Path, s: Shard) -> str | None:
    """The name of a shard's first damaged file."""
    for file in s.files.values():
        try:
            io.verify(folder / file.name, file.xxh3, "")
        except Corrupt:
            return file.name
    return None


def has_shards(folder: Path) -> bool:
    """Whether committed shards lie in the folder."""
    return any(not p.name.startswith(".") for p in folder.glob("*.items.parquet"))


def rebuild(folder: Path) -> Manifest | None:
    """The manifest that the readable shards of a folder make; None when there are none."""
    found, store = [], None
    for path in sorted(folder.glob("*.items.parquet")):
        if path.name.startswith("."):
            continue
        try:
            found.append(from_items(folder, path))
        except (Corrupt, OSError, ValueError, KeyError):  # ArrowInvalid is a ValueError
            continue
    if not found:
        return None
    found.sort(key=lambda one: one[1]["written"])
    store = found[-1][1]["store"]
    kinds: dict[str, str] = {}
    last: dict[str, tuple[int, int]] = {}
    dead: list[set[int]] = []
    for number, (s, _, table) in enumerate(found):
        kinds = columns.merge(kinds, columns.kinds({
            n.removeprefix(columns.PREFIX): columns.to_numpy(table[n]) for n in table.column_names
            if n.startswith(columns.PREFIX)}))  # fmt: skip
        dead.append(_removed(folder, s.name))
        for row, name in enumerate(table["id"].to_pylist()):
            if row in dead[number]:
                continue
            if name in last:
                dead[last[name][0]].add(last[name][1])
            last[name] = (number, row)
    shards = []
    for (s, _, _), rows in zip(found, dead, strict=True):
        if rows:
            s, staged = shard.stage_removed(folder, s, np.array(sorted(rows)))
            staged.commit()
        shards.append(s)
    return Manifest(store["fingerprint"], store["dim"], store["dtype"], store["ragged"], kinds, tuple(shards))


def from_items(folder: Path, path: Path) -> tuple[Shard, dict, object]:
    """A shard by its items file: itself, what the file says of the store, the table. Raises Corrupt, ValueError."""
    import pyarrow.parquet as pq

    table = pq.read_table(path, page_checksum_verification=True)
    found = about(table)
    files = {kind: File(**f) for kind, f in found["files"].items()}
    for file in files.values():
        io.verify(folder / file.name, file.xxh3, "")
    files["items"] = File(path.name, path.stat().st_size, io.checksum(path))
    vectors = np.load(folder / files["vectors"].name, mmap_mode="r", allow_pickle=False)
    return Shard(path.name.split(".")[0], table.num_rows, len(vectors), 0, files), found, table


def from_bytes(name: str, content: bytes) -> tuple[Shard, dict[str, Any], list[bytes]]:
    """A shard by the bytes of its items file called ``name``: itself, what it says of the store, content keys.

    Its other files are not looked at. Raises ValueError for bytes that are damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    import xxhash

    table = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read(use_threads=False)
    found = about(table)
    files = {kind: File(**f) for kind, f in found["files"].items()}
    files["items"] = File(name, len(content), xxhash.xxh3_128_hexdigest(content))
    return Shard(name.split(".")[0], table.num_rows, found["rows"], 0, files), found, table["key"].to_pylist()


def about(table: Any) -> dict[str, Any]:
    """What an items table says of its shard and store."""
    return json.loads(table.schema.metadata[b"sensorium"])


def _removed(folder: Path, name: str) -> set[int]:
    """Rows of a shard that any of its removal files names: removals only ever grow."""
    rows: set[int] = set()
    for path in folder.glob(f"{name}.*.removed.npy"):
        try:
            rows |= set(np.load(path, allow_pickle=False).tolist())
        except (ValueError, EOFError):
            continue
    return rows
