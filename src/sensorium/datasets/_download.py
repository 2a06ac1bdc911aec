"""Public archives: downloaded with resume and checksum, unpacked without trusting what they say."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sensorium import io, progress
from sensorium.errors import BadData, Corrupt

MAX_BYTES = 64 << 30  # of an archive's content
MAX_FILES = 1_000_000
MAX_RATIO = 200  # unpacked size over packed size of a file; sound and pictures stay below 10
_CHUNK = 1 << 20
_SLACK = 1 << 20  # bytes to which any file may unpack whatever its ratio
_TRIES = 5


class Archive(NamedTuple):
    """A zip file to be had.

    checksum: such as "md5:bc69…" or "sha256:…", as its publisher gives it, or the address of a Zenodo
    record that states it.
    """

    url: str
    checksum: str

    @property
    def name(self) -> str:
        """Its file name."""
        return self.url.split("?")[0].rstrip("/").rpartition("/")[2]


def obtain(archives: Sequence[Archive], folder: Path, mirror: str = "", wait: float = 1.0) -> list[Path]:
    """Each archive's content in ``folder/<its name without .zip>``; those that are there are left alone.

    mirror: where the files are instead, such as "http://host/folder". wait: seconds before the first
    retry, doubled every time. Raises BadData when a server cannot be reached or says no, Corrupt when
    what came is not what its publisher put up, DiskFull.
    """
    if folder.exists() and not folder.is_dir():
        raise BadData(f"{folder} is a file; type: data.root=FOLDER to fetch into")
    there = []
    for archive in archives:
        target = folder / Path(archive.name).stem
        if not target.is_dir():
            url = f"{mirror.rstrip('/')}/{archive.name}" if mirror else archive.url
            packed = download(url, folder / ".download" / archive.name, published(archive), wait)
            unpack(packed, target)
            packed.unlink()
        there.append(target)
    return there


def download(url: str, path: Path, checksum: str, wait: float = 1.0) -> Path:
    """A file by http or https, going on where an earlier try stopped (``path``.part); verified, then renamed.

    Raises BadData when the server cannot be reached or refuses, Corrupt when the checksum differs.
    """
    if not url.startswith(("http://", "https://")):
        raise BadData(f"'{url}' cannot be downloaded; expected an address starting with http:// or https://")
    if path.is_file() and digest(path, checksum) == checksum:
        return path
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    for again in (True, False):
        resumed = part.is_file() and part.stat().st_size > 0
        _receive(url, part, wait)
        found = digest(part, checksum)
        if found == checksum:
            part.replace(path)
            io.sync_folder(path.parent)
            return path
        part.unlink()
        if not (resumed and again):  # an old beginning may be of another version: once more from the start
            break
    raise Corrupt(
        f"{url}: checksum {found}, expected {checksum}; try again, or choose another mirror with data.mirror=URL"
    )


def published(archive: Archive) -> str:
    """An archive's checksum, asked of its record where it is stated there.

    Raises BadData when the record cannot be had or says nothing of the file.
    """
    if not archive.checksum.startswith(("http://", "https://")):
        return archive.checksum
    try:
        with urllib.request.urlopen(archive.checksum, timeout=60) as answer:
            record = json.loads(answer.read(_CHUNK))
        return next(file["checksum"] for file in record["files"] if file["key"] == archive.name)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise BadData(
            f"{archive.checksum} does not say what {archive.name} should be ({type(error).__name__}: {error}); "
            "check the connection and run again"
        ) from None


def digest(path: Path, like: str) -> str:
    """Checksum of a file in the form of another one, such as "md5:…"."""
    kind = like.partition(":")[0]
    if kind not in ("md5", "sha256", "sha1", "sha512"):
        raise BadData(f"checksum '{like}'; expected md5:…, sha1:…, sha256:… or sha512:…")
    with open(path, "rb") as file:
        return f"{kind}:{hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()}"


def _receive(url: str, part: Path, wait: float) -> None:
    """Fetch what is missing of a file, trying again after an interruption for as long as there is progress."""
    left = _TRIES
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            if _continue(url, part, before):
                return
            trouble = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # nothing is missing
                return
            if error.code < 500 and error.code != 429:
                raise BadData(f"{url}: the server answered {error.code} ({error.reason}); mend the address") from None
            trouble = f"the server answered {error.code}"
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            trouble = str(getattr(error, "reason", error))
        left = _TRIES if part.is_file() and part.stat().st_size > before else left - 1
        if not left:
            raise BadData(f"{url}: {trouble}; check the connection and run again: what has come is kept")
        time.sleep(wait * 2 ** (_TRIES - left))


def _continue(url: str, part: Path, start: int) -> bool:
    """Append from byte ``start`` on; whether all came."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        if start and answer.status != 206:
            start = 0  # the server sends the whole file again
        expected = answer.headers.get("Content-Length")
        came, chunks = 0, round(int(expected or 0) / _CHUNK)
        with (
            io.disk_full(part),
            open(part, "r+b" if start else "wb") as file,
            progress.bar(f"{part.stem}, MiB", chunks) as advance,
        ):
            file.seek(start)
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                came += len(chunk)
                advance(1)
        return expected is None or came == int(expected)


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
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
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
        with packed.open(member) as source, open(path, "xb") as file:
            while chunk := source.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise BadData(
                        f"{packed.filename}: '{member.filename}' is larger than it says; nothing was unpacked"
                    )
                file.write(chunk)
    except OSError as error:
        told = _UNWRITABLE.get(error.errno)
        if told is None:
            raise
        raise BadData(f"{packed.filename}: '{member.filename[:80]}' {told}; nothing was unpacked") from None


_TWICE = "stands there twice, or as a file and as a folder"
_UNWRITABLE = {errno.EEXIST: _TWICE, errno.ENOTDIR: _TWICE, errno.EISDIR: _TWICE,
               errno.ENAMETOOLONG: "has a longer name than a file can have"}  # fmt: skip
