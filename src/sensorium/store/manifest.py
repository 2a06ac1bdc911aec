"""manifest.json: the contents of a store, and the checksum of each of its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sensorium import fingerprint as fingerprints
from sensorium import io
from sensorium.errors import Corrupt, Mismatch

FORMAT, VERSION = "sensorium-store", 1
NAME = "manifest.json"
REBUILD = "type: python -c \"from sensorium import store; store.repair('{folder}')\", then embed again"


@dataclass(frozen=True)
class File:
    """One file of a shard: its name inside the folder, size in bytes, xxh3-128."""

    name: str
    bytes: int
    xxh3: str

    @classmethod
    def of(cls, staged: io.Staged) -> File:
        """The entry of a staged file once committed."""
        return cls(staged.path.name, staged.size, staged.checksum)


@dataclass(frozen=True)
class Shard:
    """n items in ``rows`` rows of vectors; ``dead`` of the items are removed or superseded.

    files: "vectors" and "items"; "offsets" in a ragged store; "removed" where dead > 0.
    """

    name: str
    items: int
    rows: int
    dead: int
    files: Mapping[str, File]


@dataclass(frozen=True)
class Manifest:
    """The whole store in one page. ``dim`` and ``dtype`` are those of every vector."""

    fingerprint: Mapping[str, Any]
    dim: int
    dtype: str
    ragged: bool
    columns: Mapping[str, str] = field(default_factory=dict)
    shards: tuple[Shard, ...] = ()

    @property
    def items(self) -> int:
        """Number of live items."""
        return sum(s.items - s.dead for s in self.shards)

    def files(self) -> list[File]:
        """Every file that belongs to the store, besides the manifest."""
        return [f for s in self.shards for f in s.files.values()]

    def with_shards(self, shards: list[Shard]) -> Manifest:
        """The same store with other shards."""
        return replace(self, shards=tuple(shards))

    def write(self, folder: Path) -> None:
        """Write atomically; call it only while holding the folder's lock."""
        body = {"format": FORMAT, "version": VERSION, "items": self.items, **asdict(self)}
        body = json.loads(json.dumps(body, allow_nan=False, default=io.plain))
        io.write_json(Path(folder) / NAME, {**body, "checksum": fingerprints.checksum(body)})


def exists(folder: Path) -> bool:
    """Whether the folder is a store."""
    return (Path(folder) / NAME).is_file()


def read(folder: Path) -> Manifest:
    """Read and check the manifest.

    Raises Corrupt when it is missing or damaged, Mismatch when a newer format wrote it.
    """
    path = Path(folder) / NAME
    remedy = REBUILD.format(folder=folder)
    body = io.read_json(path, remedy)
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise Corrupt(f"{path} is not the manifest of a store; {remedy}")
    if body.get("version") != VERSION:
        raise Mismatch(
            f"{path} has format version {body.get('version')}, this sensorium reads version {VERSION}; "
            "update sensorium, or embed again into another folder"
        )
    stored = body.pop("checksum", None)
    if stored != fingerprints.checksum(body):
        raise Corrupt(f"{path} is damaged: its own checksum does not match; {remedy}")
    shards = tuple(
        Shard(s["name"], s["items"], s["rows"], s["dead"], {kind: File(**f) for kind, f in s["files"].items()})
        for s in body["shards"]
    )
    return Manifest(body["fingerprint"], body["dim"], body["dtype"], body["ragged"], body["columns"], shards)


def same_fingerprint(stored: Mapping[str, Any], new: Mapping[str, Any], folder: Path) -> None:
    """Raise Mismatch, naming both sides and what to type, unless the two fingerprints are equal."""
    fingerprints.check(
        stored,
        new,
        f"{folder} holds vectors",
        f"choose another folder, or delete that one to embed anew: rm -r {folder}",
    )
