"""Files of a repository of the Hub: listed with their checksums, fetched into a folder, and verified; none executed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any

from sensorium.errors import BadData, Corrupt, DiskFull, HubError
from sensorium.store import hub, hub_errors
from sensorium.store.hub import Place

CARD = "README.md"
#: Files of a repository that its owner, or the Hub itself, may write.
PROSE = (CARD, ".gitattributes", ".gitignore", "LICENSE", "LICENSE.md", "NOTICE")
_LARGE_JSON = 256 << 20  # bytes of a manifest at most
_SLICE = 200  # names in one call of the client: it compares each with all files


@dataclass(frozen=True)
class File:
    """One file: its size, its SHA-256 where it is stored as a large one, else Git's own SHA-1 of it."""

    bytes: int
    sha256: str
    blob: str

    def is_of(self, content: bytes) -> bool:
        """Whether the file has this content."""
        if self.bytes != len(content):
            return False
        if self.sha256:
            return hashlib.sha256(content).hexdigest() == self.sha256
        return _blob(len(content), [content]) == self.blob


@dataclass(frozen=True)
class Listing:
    """The files of one commit of a repository, by path; all paths lie inside of it."""

    place: Place
    commit: str
    files: Mapping[str, File] = field(default_factory=dict)

    @property
    def foreign(self) -> list[str]:
        """Paths of files that are neither prose nor, by their names, of a store."""
        return [path for path in self.files if path not in PROSE]


def listing(place: Place, again: str, revision: str | None = None) -> Listing:
    """The files of a revision, by default of the branch main.

    Raises HubError, Corrupt for a path that leads out of the repository.
    """
    client = hub.client()

    def ask() -> Listing:
        info = client.repo_info(place.name, repo_type=place.type, revision=revision)
        tree = client.list_repo_tree(place.name, repo_type=place.type, revision=info.sha, recursive=True)
        kind = hub_errors.module().hf_api.RepoFile
        files = {one.path: File(one.size, one.lfs.sha256 if one.lfs else "", one.blob_id or "")
                 for one in tree if isinstance(one, kind)}  # fmt: skip
        return Listing(place, info.sha, files)

    with hub_errors.asking(str(place) + (f" at {revision}" if revision else ""), again):
        found = hub_errors.repeated(ask, str(place))
    for path in found.files:
        if not inside(path):
            raise Corrupt(f"{place} lists a file '{path[:100]}', which leads out of the folder; nothing was fetched")
    return found


def inside(path: str) -> bool:
    """Whether a path of a repository stays within the folder that it is written to, on every system.

    >>> inside("index/left.json"), inside("../x"), inside("/etc/passwd"), inside("a/../../b"), inside("C:x")
    (True, False, False, False, False)
    """
    pure = PurePosixPath(path)
    plain = path == pure.as_posix() and not pure.is_absolute() and path not in ("", ".")
    return plain and ".." not in pure.parts and not any(c in path for c in "\\:\0")


def read_json(listed: Listing, path: str, place: Path, again: str) -> Any:
    """One JSON file of a repository, fetched into a folder. Raises BadData when it is none, HubError."""
    if listed.files[path].bytes > _LARGE_JSON:
        raise BadData(f"{listed.place}: {path} has {listed.files[path].bytes:,} bytes, which no file of ours has")
    fetch(listed, [path], place, again, show=False)
    try:
        return json.loads((place / path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadData(
            f"{listed.place}: {path} is not valid JSON ({error}); expected what was pushed by sensorium"
        ) from None


def card_of(listed: Listing, place: Path, again: str) -> str:
    """The text of a repository's card, fetched into a folder; "" without one. Raises HubError."""
    if CARD not in listed.files:
        return ""
    fetch(listed, [CARD], place, again, show=False)
    return (place / CARD).read_text("utf-8", "replace")


def fetch(listed: Listing, paths: Iterable[str], place: Path, again: str, *, show: bool = True) -> None:
    """Fetch files into a folder and verify them; those that lie there whole are not fetched again.

    Raises HubError, DiskFull, Corrupt for a file that is not what the Hub's checksum says (it is deleted, so that the
    next call fetches it anew).
    """
    wanted = sorted(paths)
    missing = [path for path in wanted if not is_whole(place / path, listed.files[path])]
    place.mkdir(parents=True, exist_ok=True)
    total = sum(listed.files[path].bytes for path in missing)
    if total > shutil.disk_usage(place).free:
        raise DiskFull(f"{place}: {total:,} bytes do not fit on the disk; free some space, or choose another --out")
    for patterns in _patterns(missing, listed.files):

        def get(patterns: Sequence[str] = patterns) -> None:
            if len(missing) == 1:
                hub_errors.module().hf_hub_download(
                    listed.place.name, missing[0], repo_type=listed.place.type, revision=listed.commit, local_dir=place,
                    library_name="sensorium",
                )  # fmt: skip
                return
            hub_errors.module().snapshot_download(
                listed.place.name, repo_type=listed.place.type, revision=listed.commit, local_dir=place,
                allow_patterns=list(patterns), library_name="sensorium",
            )  # fmt: skip

        with hub_errors.asking(str(listed.place), again), hub.progress_bars(show):
            hub_errors.repeated(get, str(listed.place))
    for path in missing:
        verify(place / path, listed.files[path], f"{listed.place}: {path}", again)


def verify(path: Path, file: File, what: str, again: str) -> None:
    """Raise HubError for a file that did not come, Corrupt (after deleting it) for one of another content."""
    if not path.is_file():
        raise HubError(f"{what} did not come from the Hub; nothing is lost, type again: {again}")
    if not is_whole(path, file):
        path.unlink()
        raise Corrupt(f"{what} is not what the Hub's checksum says; it was deleted, type again: {again}")


def is_whole(path: Path, file: File) -> bool:
    """Whether a file lies there with the content that the Hub's checksum says."""
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    with open(path, "rb") as opened:
        if file.sha256:
            return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256
        return _blob(file.bytes, iter(lambda: opened.read(1 << 20), b"")) == file.blob


def _blob(size: int, parts: Iterable[bytes]) -> str:
    """Git's name of a file: SHA-1 of a header and the content."""
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _patterns(paths: Sequence[str], files: Mapping[str, File]) -> Iterable[list[str]]:
    """Patterns of the client for these paths: by name where they are few, else by ending where no others have it."""
    if len(paths) <= _SLICE:
        return [[escape(path) for path in paths]] if paths else []
    endings = {"*" + "".join(PurePosixPath(path).suffixes[-2:]) for path in paths}
    return [sorted(endings)]
