"""Extraction of zip files, atomically and without trust in their declared sizes."""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from sensorium import io
from sensorium.errors import BadData, Corrupt

MAX_BYTES = 64 << 30  # of an archive's content
MAX_FILES = 1_000_000
MAX_RATIO = 200  # unpacked size over packed size of a file; sound and pictures stay below 10
_CHUNK = 1 << 20
_SLACK = 1 << 20  # bytes to which any file may unpack whatever its ratio


def unpack(archive: Path, folder: Path, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
    """A zip file's content as ``folder``, all of it or nothing.

    Raises Corrupt for a damaged file; BadData for one with paths that lead out of the folder or stand twice,
    links, or more files or bytes than allowed, whether it says so or not.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [m for m in packed.infolist() if not m.is_dir()]
            _check(archive, members, max_bytes, max_files)
            with io.publish(folder) as building:
                for member in members:
                    _write(packed, member, building.joinpath(*_parts(member)))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, struct.error, LookupError) as error:
        raise Corrupt(f"{archive} is not a whole zip file ({error}); delete it and download it again") from None


def _parts(member: zipfile.ZipInfo) -> tuple[str, ...]:
    return PurePosixPath(member.filename.replace("\\", "/")).parts


def _check(archive: Path, members: Sequence[zipfile.ZipInfo], max_bytes: int, max_files: int) -> None:
    total = sum(m.file_size for m in members)
    if len(members) > max_files or total > max_bytes:
        raise BadData(
            f"{archive} holds {len(members)} files of {total} bytes; at most {max_files} of {max_bytes} are unpacked"
        )
    for member in members:
        parts = _parts(member)
        if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0] or "\0" in member.filename:
            raise BadData(f"{archive}: '{member.filename}' leads out of the folder; nothing was unpacked")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise BadData(f"{archive}: '{member.filename}' is a link; nothing was unpacked")
        if member.file_size > max(_SLACK, MAX_RATIO * member.compress_size):
            raise BadData(f"{archive}: '{member.filename}' unpacks to {member.file_size} bytes from "
                          f"{member.compress_size}, as bombs do; nothing was unpacked")  # fmt: skip


def _write(packed: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    left = member.file_size
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opened(packed, member) as source, open(path, "xb") as file:
            while chunk := source.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise BadData(
                        f"{packed.filename}: '{member.filename}' is larger than it says; nothing was unpacked"
                    )
                file.write(chunk)
    except OSError as error:
        fault = _UNWRITABLE.get(error.errno)
        if fault is None:
            raise
        raise BadData(f"{packed.filename}: '{member.filename[:80]}' {fault}; nothing was unpacked") from None


def _opened(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """A member, open; BadZipFile where its place in the file cannot be."""
    try:
        return packed.open(member)
    except OSError as error:
        raise zipfile.BadZipFile(f"'{member.filename[:80]}': {error.strerror}") from None


_TWICE = "stands there twice, or as a file and as a folder"
_UNWRITABLE = {errno.EEXIST: _TWICE, errno.ENOTDIR: _TWICE, errno.EISDIR: _TWICE,
               errno.ENAMETOOLONG: "has a longer name than a file can have"}  # fmt: skip
