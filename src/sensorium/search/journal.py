"""Items added and removed while a run is served: an append-only file beside its index, durable change by change.

The last change of an id holds, so that applying a journal twice changes nothing. What may be lost is one append
that was never acknowledged, whole, at the end of the file; damage anywhere else is an error. :mod:`.records` has
the bytes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import fingerprint as fingerprints
from sensorium import io
from sensorium.errors import BadData, Corrupt, ReadOnly
from sensorium.search import records
from sensorium.search.records import MAGIC, Change
from sensorium.table.columns import as_column
from sensorium.table.columns import like as cast

__all__ = ["MAGIC", "Change", "Journal", "columns", "copied", "digest", "locked"]
FOLDER = "live"
_PIECE = 1 << 20  # bytes of one write


class Journal:
    """The changes of one side of a run. Readers need no lock; writers of several processes take turns.

    latest: the last change of every id that was read so far; its ``media`` stays in the file, see :meth:`media`.
    """

    def __init__(self, folder: Path, side: str) -> None:
        self.folder, self.side = Path(folder), side
        self.path = self.folder / FOLDER / f"{side}.journal"
        self.latest: dict[str, Change] = {}
        self.records = self.size = 0  # of the file, as far as it was read
        self._old = False  # whether the file is of format 1
        self._may_write = True
        self._file: int | None = None
        self._media: dict[str, tuple[int, int]] = {}

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        self.close()

    def read(self) -> list[Change]:
        """The changes since the last call, oldest first; all of them when the file was replaced by another.

        An append that was cut short at the end was never acknowledged and is left out. Warns when the file ends
        before what was acknowledged, and raises Corrupt for any other damage.
        """
        if not self._follow():
            return []
        committed = None if self._old else self._committed()
        end = os.fstat(self._fd).st_size  # after the slots, so that it is not less than they say
        changes: list[Change] = []
        while self.size < end:
            found, at = self._append_at(self.size, end, committed)
            if not found:
                break
            changes += [self._take(*one) for one in found]
            self.size = at
        if committed is not None and end < committed.end:
            count = f"{committed.end - self.size:,} bytes" if committed.end > self.size else "an unknown number"
            lost = f"{count} of changes that were acknowledged are missing at its end"
            warnings.warn(f"{self.path}: {lost}; restore it from a copy if there is one", stacklevel=2)
        return changes

    @property
    def is_behind(self) -> bool:
        """Whether the file may hold changes that were not read yet; nothing is read to find out."""
        try:
            now = os.stat(self.path)
        except OSError:
            return False
        mine = None if self._file is None else os.fstat(self._file)
        return mine is None or (mine.st_dev, mine.st_ino) != (now.st_dev, now.st_ino) or now.st_size != self.size

    def append(self, changes: Sequence[Change]) -> list[Change]:
        """Write changes and return once they are on the disk; returns what other writers wrote before them.

        A kill meanwhile leaves all of them in the file or none. Raises BadData for a value that is too long or when
        the run was deleted, ReadOnly when it may not be written, and DiskFull when they do not fit; the file is then
        as it was.
        """
        for change in changes:
            records.check(change)
        payloads = [records.pack(change, more=more) for more, change in zip(_countdown(changes), changes, strict=True)]
        size = sum(map(len, payloads)) + len(payloads) * records.HEAD_SIZE
        with locked(self.folder), _writable(self.path):
            if not self.path.is_file():
                io.write(self.path, records.header(records.START, records.START))
                io.sync_folder(self.folder)
            others = self.read()
            if not self._may_write:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))
            if self._old or os.fstat(self._fd).st_size < records.START:
                self._rewrite()
            io.sweep(self.path.parent)  # what a killed writer left
            number = self._committed().number
            try:
                with io.typed_errors(self.path):
                    os.ftruncate(self._fd, self.size)  # one append that was cut short
                    _write_all(self._fd, records.records(payloads, self.size), self.size)
                    os.fsync(self._fd)
            except BaseException:
                os.ftruncate(self._fd, self.size)
                raise
            # What is on the disk is committed; the slot goes there with the next append at the latest.
            slot = records.Committed(number + 1, self.size + size, self.size)
            with io.typed_errors(self.path):
                _write(self._fd, slot.content, slot.offset)
            self.read()
        return others

    def media(self, id: str) -> tuple[str, bytes] | None:
        """Media type and bytes of an added item; None when it has no media."""
        if id not in self._media or self._file is None:
            return None
        start, size = self._media[id]
        return self.latest[id].media_type, os.pread(self._file, size, start)

    def rewrite(self) -> None:
        """Leave only the last change of each id in the file."""
        with locked(self.folder), _writable(self.path):
            self.read()
            if self._file is not None and (self._old or self.records != len(self.latest)):
                self._rewrite()
            io.sweep(self.path.parent)

    def _rewrite(self) -> None:
        """Write :attr:`latest` as a file of today's format. Under the lock."""
        payloads = (records.pack(c, (self.media(c.id) or ("", b""))[1]) for c in self.latest.values())
        written = list(records.records(payloads, records.START))
        end = records.START + sum(map(len, written))
        io.write(self.path, [records.header(end, records.START), *written])
        self.read()

    @property
    def _fd(self) -> int:
        assert self._file is not None
        return self._file

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
        with _writable(self.path):
            self._may_write = os.access(self.path, os.W_OK)
            self._file = os.open(self.path, os.O_RDWR if self._may_write else os.O_RDONLY)
        self.latest, self._media, self.records = {}, {}, 0
        magic = os.pread(self._file, len(records.MAGIC), 0)
        if magic not in (records.MAGIC, records.MAGIC_1):
            self.close()
            raise Corrupt(f"{self.path} is no journal; move it away to serve the run without its live changes")
        self._old = magic == records.MAGIC_1
        self.size = len(magic) if self._old else records.START
        return True

    def _committed(self) -> records.Committed:
        content = os.pread(self._fd, records.START, 0)
        if len(content) < records.START:  # cut short within the header
            return records.Committed(0, records.START, records.START)
        found = records.committed(content)
        if found is None:
            raise self._damaged("its header is damaged")
        return found

    def _record(self, at: int, end: int) -> tuple[records.Head | None, bytes | None]:
        """The head and payload of the record at an offset; None for a head or payload that is not whole."""
        size = records.HEAD_SIZE_1 if self._old else records.HEAD_SIZE
        content = os.pread(self._fd, size, at)
        if len(content) < size:
            return None, None
        head = records.head_of_1(content) if self._old else records.head_of(content, at)
        if head is None or at + size + head.size > end:
            return head, None
        payload = os.pread(self._fd, head.size, at + size)
        return head, payload if head.fits(payload) else None

    def _append_at(
        self, at: int, end: int, committed: records.Committed | None
    ) -> tuple[list[tuple[Change, int, int]], int]:
        """The changes of the append at an offset, each with place and size of its media, and where it ends.

        None of them where it was cut short. Raises Corrupt where it is damaged.
        """
        found: list[tuple[Change, int, int]] = []
        more = 1
        while more:
            head, payload = self._record(at, end) if at < end else (None, None)
            if payload is None:
                self._check_end(head, at, end, committed)
                return [], at
            at += head.length if head else 0
            try:
                change, start, more = records.unpack(payload)
            except ValueError as error:
                raise self._damaged(f"holds {error}, at byte {at}") from None
            found.append((change, at + start, len(payload) - start))
            at += len(payload)
        return found, at

    def _check_end(self, head: records.Head | None, at: int, end: int, committed: records.Committed | None) -> None:
        """Raise Corrupt unless what is left of the file from an offset is of one append that was cut short."""
        left = end - at
        if committed is None:  # format 1
            content = os.pread(self._fd, left, at)
            if records.damaged_1(content) or records.follows_1(content):
                raise self._damaged(f"is damaged at byte {at}")
            return
        short = left < records.HEAD_SIZE or (head is not None and left < head.length + head.size)
        if at < committed.end and not short:
            raise self._damaged(f"is damaged at byte {at}")

    def _damaged(self, what: str) -> Corrupt:
        return Corrupt(f"{self.path} {what}; move it away to serve the run without its live changes")

    def _take(self, change: Change, media: int, size: int) -> Change:
        self.records += 1
        self.latest.pop(change.id, None)  # a later change comes later in order, too
        self.latest[change.id] = change
        self._media.pop(change.id, None)
        if change.media_type:
            self._media[change.id] = (media, size)
        return change


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Turn "permission denied" and "read-only file system" into ReadOnly."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        message = f"{path} may not be written ({os.strerror(error.errno)}), nothing was changed; give write permission"
        raise ReadOnly(message) from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run folder's journals: against other writers, and against replacing the folder."""
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
def copied(old: Path, new: Path) -> Iterator[None]:
    """Copy a run's live changes into the folder that replaces it; the lock is held until it has."""
    if not old.is_dir():
        yield
        return
    with locked(old):
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
        return {name: as_column(["" if v is None else str(v) for v in column], name) for name, column in values.items()}
    return {name: cast([change.columns.get(name) for change in changes], like[name], name) for name in like}


def _countdown(changes: Sequence[Change]) -> Iterator[int]:
    """For each change, how many follow it."""
    return iter(range(len(changes) - 1, -1, -1))


def _write_all(file: int, contents: Iterable[bytes], at: int) -> None:
    """Contents one after the other, in pieces of about a megabyte."""
    piece = bytearray()
    for content in contents:
        piece += content
        if len(piece) >= _PIECE:
            _write(file, piece, at)
            at, piece = at + len(piece), bytearray()
    _write(file, piece, at)


def _write(file: int, content: bytes | bytearray, at: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written
