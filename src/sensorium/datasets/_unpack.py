"""Extraction of zip and 7z files, atomically and without trust in their declared sizes."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from sensorium import io
from sensorium.datasets import _unpack_7z
from sensorium.datasets._unpack_members import MAX_BYTES, MAX_FILES, Member, below, check, writing
from sensorium.errors import BadData, Corrupt

_CHUNK = 1 << 20


def unpack(archive: Path, folder: Path, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES, top: str = "") -> None:
    """The content of a zip or 7z file as ``folder``, all of it or nothing.

    top: the folder of the archive whose name is left out of the paths.
    Raises Corrupt for a damaged file; BadData for one with paths that lead out of the folder or stand twice,
    links, or more files or bytes than allowed, whether it says so or not.
    """
    with open(archive, "rb") as file:
        is_7z = file.read(len(_unpack_7z.MAGIC)) == _unpack_7z.MAGIC or archive.suffix.lower() == ".7z"
    if is_7z:
        _unpack_7z.unpack(archive, folder, max_bytes, max_files, top)
        return
    try:
        with zipfile.ZipFile(archive) as packed:
            infos = [m for m in packed.infolist() if not m.is_dir()]
            check(archive, [_member(info) for info in infos], max_bytes, max_files)
            with io.publish(folder) as building:
                for info in infos:
                    _write(packed, info, building.joinpath(*below(_member(info).parts, top)))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, struct.error, LookupError) as error:
        raise Corrupt(f"{archive} is not a whole zip file ({error}); delete it and download it again") from None


def _member(info: zipfile.ZipInfo) -> Member:
    return Member(info.filename, info.file_size, info.compress_size, stat.S_ISLNK(info.external_attr >> 16))


def _write(packed: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    left = member.file_size
    with writing(Path(str(packed.filename)), member.filename):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opened(packed, member) as source, open(path, "xb") as file:
            while chunk := source.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise BadData(
                        f"{packed.filename}: '{member.filename}' is larger than it says; nothing was unpacked"
                    )
                file.write(chunk)


def _opened(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """A member, open; BadZipFile where its place in the file cannot be."""
    try:
        return packed.open(member)
    except OSError as error:
        raise zipfile.BadZipFile(f"'{member.filename[:80]}': {error.strerror}") from None
