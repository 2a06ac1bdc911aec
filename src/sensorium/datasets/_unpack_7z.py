"""Extraction of 7z files by py7zr, atomically: every name and size is checked first, every byte is counted."""

from __future__ import annotations

import contextlib
import errno
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sensorium import io
from sensorium.datasets._unpack_members import TWICE, Member, below, check, writing
from sensorium.errors import BadData, Corrupt, SensoriumError, require

MAGIC = b"7z\xbc\xaf\x27\x1c"


def unpack(archive: Path, folder: Path, max_bytes: int, max_files: int, top: str = "") -> None:
    """A 7z file's content as ``folder``, all of it or nothing; checksums of its files are verified.

    top: the folder of the archive whose name is left out of the paths. Raises as ``_unpack.unpack``, and MissingExtra
    without py7zr.
    """
    py7zr = require("py7zr", "clotho")
    with _reading(archive):
        packed = py7zr.SevenZipFile(archive, max_extract_size=max_bytes)
    with packed:
        if packed.needs_password():
            raise BadData(f"{archive} is encrypted; it is unpacked only without a password")
        with _reading(archive):
            listed = [one for one in packed.list() if not one.is_directory]
            size = archive.stat().st_size
            # Files are packed together, so that none has a packed size of its own.
            members = [Member(one.filename, one.uncompressed, size, not one.is_file) for one in listed]
        check(archive, members, max_bytes, max_files)
        total = sum(member.size for member in members)
        check(archive, [Member(archive.name, total, size, False)], max_bytes, max_files)
        names = {member.name for member in members}
        if len(names) < len(members):
            twice = Counter(member.name for member in members).most_common(1)[0][0]
            raise BadData(f"{archive}: '{twice[:80]}' {TWICE}; nothing was unpacked")
        with io.publish(folder) as building:
            whole = building.resolve()  # as py7zr makes every path
            writer = _Writer(archive, whole, {member.name: member for member in members}, top)
            with _reading(archive):
                packed.extract(path=whole, factory=writer.factory(py7zr))
            if missing := names - writer.written:
                raise Corrupt(f"{archive}: {len(missing)} of its files did not come out, such as '{min(missing)[:80]}';"
                              " delete it and download it again")  # fmt: skip


@contextlib.contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Whatever the decoders raise at damaged bytes as Corrupt; errors of writing pass."""
    try:
        yield
    except SensoriumError:
        raise
    except Exception as error:  # a decoder that meets arbitrary bytes fails in many ways
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise Corrupt(f"{archive} is not a whole 7z file ({reason}); delete it and download it again") from None


class _Writer:
    """Makes the file of each member, below ``folder``, and refuses bytes beyond the size that the archive says."""

    def __init__(self, archive: Path, folder: Path, members: dict[str, Member], top: str) -> None:
        self.archive, self.folder, self.members, self.top = archive, folder, members, top
        self.written: set[str] = set()

    def factory(self, py7zr: Any) -> Any:
        """What py7zr asks for a file for each name."""
        outer = self

        class Factory(py7zr.io.WriterFactory):
            def create(self, filename: str) -> Any:
                return outer.open(py7zr, filename)

        return Factory()

    def open(self, py7zr: Any, filename: str) -> Any:
        """A new file for a member, by the path that py7zr makes of its name."""
        name = Path(filename).relative_to(self.folder).as_posix()
        member = self.members.get(name)
        if member is None:
            raise BadData(f"{self.archive}: '{name[:80]}' is not in its list of files; nothing was unpacked")
        path = self.folder.joinpath(*below(member.parts, self.top))
        with writing(self.archive, name):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "xb")  # noqa: SIM115 - py7zr closes it
        self.written.add(name)
        return _file(py7zr, file)


def _file(py7zr: Any, file: BinaryIO) -> Any:
    class File(py7zr.io.Py7zIO):
        """An open file, as py7zr writes it."""

        def write(self, s: bytes | bytearray) -> int:
            return file.write(s)

        def read(self, size: int | None = None) -> bytes:
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return offset

        def flush(self) -> None:
            file.flush()

        def size(self) -> int:
            return file.tell()

        def close(self) -> None:
            file.close()

    return File()
