"""Items added and removed while a run is served: an append-only file beside its index, durable record by record.

Each record is its payload's size (u32), xxh3-64 (u64) and payload: size of JSON (u32), JSON, the
vector as the encoder gave it (float32, little-endian), and the bytes of what the item looks like. The last
word on an id holds, so that applying a journal twice changes nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from sensorium import fingerprint as fingerprints
from sensorium import io
from sensorium.errors import BadData, Corrupt
from sensorium.table.columns import as_column
from sensorium.table.columns import like as cast

MAGIC = b"sensorium journal 1\n"
FOLDER = "live"
_HEAD = struct.Struct("<IQ")
_SIZE = struct.Struct("<I")
_LARGEST = 1 << 30  # bytes of one payload


@dataclass(frozen=True)
class Change:
    """The last word on one id. vector: (d,) or (t, d) as the encoder ``encoder`` gave it; None removes the item."""

    id: str
    vector: np.ndarray | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = ""
    media_type: str = ""
    media: bytes = b""


class Journal:
    """The changes of one side of a run. Readers need no lock; writers of several processes take turns.

    latest: the last change of every id that was read so far; its ``media`` stays in the file, see :meth:`media`.
    """

    def __init__(self, folder: Path, side: str) -> None:
        self.folder, self.side = Path(folder), side
        self.path = self.folder / FOLDER / f"{side}.journal"
        self.latest: dict[str, Change] = {}
        self.records = self.size = 0  # of the file, as far as it was read
        self._file: int | None = None
        self._media: dict[str, tuple[int, int]] = {}

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        self.close()

    def read(self) -> list[Change]:
        """The changes since the last call, oldest first; all of them when the file was replaced by another.

        A record cut short at the end was never acknowledged and is left out. Raises Corrupt for
        damage before the end.
        """
        if not self._follow():
            return []
        assert self._file is not None
        found = []
        end = os.fstat(self._file).st_size
        while self.size < end:
            payload = self._payload(self.size, end)
            if payload is None:
                break
            at = self.size + _HEAD.size
            self.size = at + len(payload)
            found.append(self._take(payload, at))
        return found

    def append(self, changes: Sequence[Change]) -> list[Change]:
        """Write changes and return once they are on the disk; returns what other writers wrote before them.

        Raises DiskFull when they do not fit, and BadData when the run was deleted.
        """
        payloads = [_pack(change) for change in changes]
        with held(self.folder):
            if not self.path.is_file():
                io.write(self.path, MAGIC)
                io.sync_folder(self.folder)
            others = self.read()
            assert self._file is not None
            content = b"".join(map(_record, payloads))
            try:
                with io.disk_full(self.path):
                    os.ftruncate(self._file, self.size)  # what a killed writer left half
                    _write(self._file, content, self.size)
                    os.fsync(self._file)
            except BaseException:
                os.ftruncate(self._file, self.size)
                raise
            self.read()
        return others

    def media(self, id: str) -> tuple[str, bytes] | None:
        """Media type and bytes of what an added item looks like; None when it brought nothing."""
        if id not in self._media or self._file is None:
            return None
        start, size = self._media[id]
        return self.latest[id].media_type, os.pread(self._file, size, start)

    def rewrite(self) -> None:
        """Leave only the last word on each id in the file."""
        with held(self.folder):
            self.read()
            if self._file is None or self.records == len(self.latest):
                return
            payloads = (_pack(c, (self.media(c.id) or ("", b""))[1]) for c in self.latest.values())
            io.write(self.path, [MAGIC, *map(_record, payloads)])
            self.read()

    def _follow(self) -> bool:
        """Open the file that lies at the path now; whether there is one."""
        try:
            now = os.stat(self.path)
        except OSError:  # a run exchanged this moment, or without changes: what was read stays known
            return self._file is not None
        if self._file is not None:
            mine = os.fstat(self._file)
            if (mine.st_dev, mine.st_ino) == (now.st_dev, now.st_ino):
                return True
            self.close()
        self._file = os.open(self.path, os.O_RDWR if os.access(self.path, os.W_OK) else os.O_RDONLY)
        self.latest, self._media, self.records, self.size = {}, {}, 0, len(MAGIC)
        if os.pread(self._file, len(MAGIC), 0) != MAGIC:
            raise Corrupt(f"{self.path} is no journal; move it away to serve the run without its live changes")
        return True

    def _payload(self, at: int, end: int) -> bytes | None:
        """The payload of the record at an offset; None when it was cut short."""
        head = os.pread(self._file, _HEAD.size, at)  # type: ignore[arg-type]
        if len(head) < _HEAD.size:
            return None
        size, checksum = _HEAD.unpack(head)
        if size > _LARGEST or at + _HEAD.size + size > end:
            return None
        payload = os.pread(self._file, size, at + _HEAD.size)  # type: ignore[arg-type]
        if xxhash.xxh3_64_intdigest(payload) == checksum and size:
            return payload
        if at + _HEAD.size + size == end or not size:
            return None
        raise Corrupt(f"{self.path} is damaged at byte {at}; move it away to serve the run without its live changes")

    def _take(self, payload: bytes, at: int) -> Change:
        change, start = _unpack(payload)
        self.records += 1
        self.latest.pop(change.id, None)  # a later word comes later in order, too
        self.latest[change.id] = change
        self._media.pop(change.id, None)
        if change.media_type:
            self._media[change.id] = (at + start, len(payload) - start)
        return change


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run folder's journals against other writers, and against the folder's being exchanged."""
    while True:
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise BadData(f"{folder} is not there any more ({os.strerror(error.errno or 0)})") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            now = os.stat(folder)
            if (now.st_dev, now.st_ino) == ((mine := os.fstat(handle)).st_dev, mine.st_ino):
                yield
                return
        except FileNotFoundError:  # exchanged this moment; the next round finds the new one
            pass
        finally:
            os.close(handle)


@contextlib.contextmanager
def carried(old: Path, new: Path) -> Iterator[None]:
    """Copy a run's live changes into the folder that takes its place, and let none in until it has."""
    if not old.is_dir():
        yield
        return
    with held(old):
        for path in sorted((old / FOLDER).glob("*.journal")):
            io.write(new / FOLDER / path.name, path.read_bytes())
        if (new / FOLDER).is_dir():
            io.sync_folder(new)
        yield


def digest(fingerprint: Mapping[str, Any]) -> str:
    """A short name of an encoder's fingerprint: vectors of one digest fit one head."""
    return fingerprints.digest(dict(fingerprint))


def columns(changes: Sequence[Change], like: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    """The columns of added items, of the names and types that n rows before them have; any where n is 0.

    A column that an item lacks, or holds in a way the type cannot take, is empty text, 0, false, NaN, NaT or None.
    """
    if not n:
        names = list(dict.fromkeys(name for change in changes for name in change.columns))
        values = {name: [change.columns.get(name) for change in changes] for name in names}
        return {name: as_column(["" if v is None else str(v) for v in said], name) for name, said in values.items()}
    return {name: cast([change.columns.get(name) for change in changes], like[name], name) for name in like}


def _pack(change: Change, media: bytes | None = None) -> bytes:
    told: dict[str, Any] = {"id": change.id, "op": "remove"}
    vector = b""
    if change.vector is not None:
        array = np.ascontiguousarray(change.vector, "<f4")
        vector = array.tobytes()
        told |= {"op": "add", "shape": array.shape, "encoder": change.encoder, "columns": dict(change.columns)}
        if change.media_type:
            told["media_type"] = change.media_type
    text = json.dumps(told, ensure_ascii=False, default=io.plain).encode("utf-8")
    return b"".join((_SIZE.pack(len(text)), text, vector, change.media if media is None else media))


def _record(payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), xxhash.xxh3_64_intdigest(payload)) + payload


def _unpack(payload: bytes) -> tuple[Change, int]:
    """A change without its media, and where in the payload those begin."""
    (size,) = _SIZE.unpack_from(payload)
    told = json.loads(payload[_SIZE.size : _SIZE.size + size])
    start = _SIZE.size + size
    if told["op"] == "remove":
        return Change(told["id"]), start
    count = int(np.prod(told["shape"]))
    vector = np.frombuffer(payload, "<f4", count, start).astype(np.float32).reshape(told["shape"])
    change = Change(told["id"], vector, told["columns"], told["encoder"], told.get("media_type", ""))
    return change, start + 4 * count


def _write(file: int, content: bytes, at: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written
