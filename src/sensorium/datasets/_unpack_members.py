"""What an archive says that it holds, checked before anything is written: names, sizes, links, numbers."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sensorium.errors import BadData

MAX_BYTES = 64 << 30  # of an archive's content
MAX_FILES = 1_000_000
MAX_RATIO = 200  # unpacked size over packed size of a file; sound and pictures stay below 10
_SLACK = 1 << 20  # bytes to which any file may unpack whatever its ratio
TWICE = "stands there twice, or as a file and as a folder"
_UNWRITABLE = {errno.EEXIST: TWICE, errno.ENOTDIR: TWICE, errno.EISDIR: TWICE,
               errno.ENAMETOOLONG: "has a longer name than a file can have"}  # fmt: skip


class Member(NamedTuple):
    """A file of an archive. size: bytes that it says it unpacks to; packed: bytes that these take in the archive.

    link: it is a link, or a device.
    """

    name: str
    size: int
    packed: int
    link: bool

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of its path."""
        return PurePosixPath(self.name.replace("\\", "/")).parts


def check(archive: Path, members: Sequence[Member], max_bytes: int, max_files: int) -> None:
    """Raise BadData for paths that lead out of the folder, links, and more files or bytes than allowed."""
    total = sum(member.size for member in members)
    if len(members) > max_files or total > max_bytes:
        raise BadData(
            f"{archive} holds {len(members)} files of {total} bytes; at most {max_files} of {max_bytes} are unpacked"
        )
    for member in members:
        parts = member.parts
        if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0] or "\0" in member.name:
            raise BadData(f"{archive}: '{member.name}' leads out of the folder; nothing was unpacked")
        if member.link:
            raise BadData(f"{archive}: '{member.name}' is a link; nothing was unpacked")
        if member.size > max(_SLACK, MAX_RATIO * member.packed):
            raise BadData(f"{archive}: '{member.name}' unpacks to {member.size} bytes from {member.packed}, as bombs "
                          "do; nothing was unpacked")  # fmt: skip


def below(parts: tuple[str, ...], top: str) -> tuple[str, ...]:
    """A path without its first folder, where that is ``top``."""
    return parts[1:] if top and len(parts) > 1 and parts[0] == top else parts


@contextlib.contextmanager
def writing(archive: Path, name: str) -> Iterator[None]:
    """Errors of a file that cannot be written because of its name as BadData."""
    try:
        yield
    except OSError as error:
        fault = _UNWRITABLE.get(error.errno)
        if fault is None:
            raise
        raise BadData(f"{archive}: '{name[:80]}' {fault}; nothing was unpacked") from None
