"""The one place that writes files: each is either absent, old, or whole.

A write goes to a temporary file beside its target, is flushed to the disk, renamed over the
target, and the directory is flushed too; a kill at any moment leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

from sensorium.errors import Busy, Corrupt, DiskFull

_TEMPORARY = ".tmp-"  # a name that starts so is never read and may be deleted by anyone holding the lock


def checksum(path: Path) -> str:
    """xxh3-128 of a file's bytes, as 32 hex digits."""
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def verify(path: Path, expected: str, remedy: str) -> None:
    """Raise Corrupt, naming the file and the remedy, unless the file has this checksum."""
    if not path.is_file():
        raise Corrupt(f"{path} is missing; {remedy}")
    found = checksum(path)
    if found != expected:
        raise Corrupt(f"{path} is damaged: checksum {found[:8]}…, expected {expected[:8]}…; {remedy}")


def write(path: Path, content: bytes | str | Callable[[BinaryIO], Any]) -> None:
    """Write a file atomically and durably from bytes, text or a function of the open file.

    Raises DiskFull when it does not fit; the previous content is then untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(6)}-{path.name}")
    try:
        with disk_full(path), open(temporary, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; NaN and infinity are refused, as JSON has no word for them."""
    write(path, json.dumps(value, indent=2, allow_nan=False, default=plain) + "\n")


def read_json(path: Path, remedy: str = "restore it, or make it anew") -> Any:
    """Read a JSON file. Raises Corrupt, naming the file, when it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise Corrupt(f"{path} is missing; {remedy}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise Corrupt(f"{path} is not valid JSON ({error}); {remedy}") from None


def plain(value: Any) -> Any:
    """NumPy scalars and arrays, paths and mappings as what JSON can write (``json.dumps(default=)``)."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


@contextlib.contextmanager
def publish(folder: Path) -> Iterator[Path]:
    """Build a folder aside and swap it in whole: readers see the old folder or the new one.

    >>> with publish(Path("index")) as building:          # doctest: +SKIP
    ...     (building / "vectors.npy").write_bytes(b"…")
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.with_name(f"{_TEMPORARY}{secrets.token_hex(6)}-{folder.name}")
    building.mkdir()
    retired = folder.with_name(f"{_TEMPORARY}{secrets.token_hex(6)}-old-{folder.name}")
    try:
        with disk_full(folder):
            yield building
            for path in sorted(building.rglob("*")):
                with open(path, "rb") if path.is_file() else contextlib.nullcontext() as file:
                    if file:
                        os.fsync(file.fileno())
                    else:
                        sync_folder(path)
            sync_folder(building)
        _swap(building, folder, retired)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    sync_folder(folder.parent)
    shutil.rmtree(retired, ignore_errors=True)


def _swap(new: Path, target: Path, retired: Path) -> None:
    """Exchange two folders in one step where the kernel can (Linux), else by two renames."""
    if not target.exists():
        os.rename(new, target)
        return
    if _exchange(new, target):
        os.rename(new, retired)
    else:
        os.rename(target, retired)
        os.rename(new, target)


def _exchange(a: Path, b: Path) -> bool:
    """renameat2(RENAME_EXCHANGE): a and b trade names atomically; False where unsupported."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    at_cwd, exchange = -100, 2
    return libc.renameat2(at_cwd, os.fsencode(a), at_cwd, os.fsencode(b), exchange) == 0


def sweep(folder: Path) -> None:
    """Delete what killed writers left in a folder; call it only while holding the folder's lock."""
    for path in Path(folder).glob(f"{_TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold a folder's lock (``.lock``) against other processes; the kernel frees it at a kill.

    Raises Busy when ``wait`` is false and another process holds it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Busy(f"{folder} is being written by another process; wait for it, or choose another --out") from None
        yield


@contextlib.contextmanager
def disk_full(path: Path) -> Iterator[None]:
    """Turn "no space left" and quota errors into DiskFull, with the space needed elsewhere named."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        free = shutil.disk_usage(Path(path).parent).free
        raise DiskFull(
            f"no room to write {path} ({free / 1e6:.0f} MB free on that disk); what was there before is untouched: "
            "free some space, or choose another folder with --out"
        ) from error


def exchange(new: Path, target: Path) -> None:
    """Put the folder ``new`` in ``target``'s place in one step and delete what was there.

    Everything in ``new`` must have been written through this module (so it is on the disk already).
    """
    new, target = Path(new), Path(target)
    retired = target.with_name(f"{_TEMPORARY}{secrets.token_hex(6)}-old-{target.name}")
    _swap(new, target, retired)
    sync_folder(target.parent)
    for old in (new, retired):
        shutil.rmtree(old, ignore_errors=True)
