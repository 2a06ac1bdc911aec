"""Public archives by HTTP: resumed, within limits of size and time, and verified by their checksum."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium import io, progress
from sensorium.datasets import _unpack
from sensorium.errors import BadData, Corrupt

MAX_BYTES = 64 << 30  # of one file
MAX_SECONDS = 24 * 3600.0  # of one file, all tries together
_CHUNK = 1 << 20
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
    """Each archive's content in ``folder/<its name without .zip>``; those that are there are unchanged.

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
            _unpack.unpack(packed, target)
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
    """An archive's checksum, requested from its record where it is stated there.

    Raises BadData when the record cannot be had or says nothing of the file.
    """
    if not archive.checksum.startswith(("http://", "https://")):
        return archive.checksum
    try:
        with _OPENER.open(archive.checksum, timeout=60) as answer:
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


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects by HTTP only, and never from HTTPS to HTTP."""

    def redirect_request(self, request: Any, file: Any, code: int, message: str, headers: Any, target: str) -> Any:
        """The request to follow. Raises BadData for a target of another scheme."""
        allowed = ("https://",) if request.full_url.startswith("https://") else ("http://", "https://")
        if not target.lower().startswith(allowed):
            raise BadData(f"{request.full_url} redirects to '{target[:100]}'; expected {' or '.join(allowed)}…")
        return super().redirect_request(request, file, code, message, headers, target)


_OPENER = urllib.request.build_opener(_Redirects)


def _receive(url: str, part: Path, wait: float) -> None:
    """Fetch what is missing of a file, trying again after an interruption for as long as there is progress."""
    left, deadline = _TRIES, time.monotonic() + MAX_SECONDS
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            if _continue(url, part, before, deadline):
                return
            trouble = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # nothing is missing
                return
            if error.code < 500 and error.code != 429:
                raise BadData(f"{url}: the server answered {error.code} ({error.reason}); fix the address") from None
            trouble = f"the server answered {error.code}"
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            trouble = str(getattr(error, "reason", error))
        left = _TRIES if part.is_file() and part.stat().st_size > before else left - 1
        if not left:
            raise BadData(f"{url}: {trouble}; check the connection and run again: it goes on where it stopped")
        time.sleep(wait * 2 ** (_TRIES - left))


def _continue(url: str, part: Path, start: int, deadline: float) -> bool:
    """Append from byte ``start`` on; whether all came. Raises BadData beyond the limits."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with _OPENER.open(request, timeout=60) as answer:
        if start and answer.status != 206:
            start = 0  # the server sends the whole file again
        expected = answer.headers.get("Content-Length")
        if start + int(expected or 0) > MAX_BYTES:
            raise BadData(f"{url} has {start + int(expected or 0)} bytes; at most {MAX_BYTES} are downloaded")
        came, chunks = 0, round(int(expected or 0) / _CHUNK)
        with (
            io.typed_errors(part),
            open(part, "r+b" if start else "wb") as file,
            progress.bar(f"{part.stem}, MiB", chunks) as advance,
        ):
            file.seek(start)
            while chunk := answer.read1(_CHUNK):
                file.write(chunk)
                came += len(chunk)
                advance(came // _CHUNK - (came - len(chunk)) // _CHUNK)
                if start + came > MAX_BYTES:
                    raise BadData(f"{url} sends more than the {MAX_BYTES} bytes that are downloaded")
                if time.monotonic() > deadline:
                    raise BadData(
                        f"{url}: {start + came} bytes came within {MAX_SECONDS:.0f} s; run again to go on, or choose "
                        "another mirror with data.mirror=URL"
                    )
        return expected is None or came == int(expected)
