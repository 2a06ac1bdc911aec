"""Atomic, durable writes: a file or folder is absent, as before, or whole, whatever happens meanwhile.

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
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

from sensorium.errors import BadData, Busy, Corrupt, DiskFull, ReadOnly

_TEMPORARY = ".tmp-"  # a name that starts so is never read, and is locked for as long as its writer lives
_GLANCE = 0.1  # seconds that a lock may be held by a process that only asks whether it is held
_YOUNG = 60.0  # seconds a nameless file is left alone, in case its writer has not locked it yet

_ABSENT = object()

Content = bytes | str | Iterable[Any] | Callable[[BinaryIO], Any]
"""What can be written: bytes, text, buffers one after the other, or a function of the open file."""


def _beside(path: Path) -> Path:
    return path.with_name(f"{_TEMPORARY}{secrets.token_hex(6)}-{path.name}")


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


class Staged:
    """A file written whole and durable beside its target, which :meth:`commit` renames into place.

    Attributes: path (the target), size in bytes, checksum (xxh3-128, computed while writing).
    The temporary file stays locked until then, so that :func:`sweep` can distinguish it from a dead writer's.
    """

    def __init__(self, path: Path, content: Content) -> None:
        self.path = Path(path)
        self.temporary = _beside(self.path)
        self.size, self.checksum = 0, ""
        with typed_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.temporary, "xb")  # noqa: SIM115  closed by commit or discard
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)  # waits for a sweep that looks at it this moment
                self._fill(content)
                self._file.flush()
                os.fsync(self._file.fileno())
            except BaseException:
                self.discard()
                raise

    def _fill(self, content: Content) -> None:
        if callable(content):  # it may seek, as zip writers do, so its checksum is taken afterwards
            content(self._file)
            self._file.flush()
            self.size, self.checksum = self.temporary.stat().st_size, checksum(self.temporary)
            return
        parts = [content] if isinstance(content, (bytes, str)) else content
        digest = xxhash.xxh3_128()
        for part in parts:
            view = memoryview(part.encode("utf-8") if isinstance(part, str) else part)
            if view.nbytes:
                view = view.cast("B")
                digest.update(view)
                self.size += self._file.write(view)
        self.checksum = digest.hexdigest()

    def commit(self, sync: bool = True) -> None:
        """Rename into place; with ``sync=False`` the caller makes the folder durable (:func:`sync_folder`)."""
        with typed_errors(self.path):
            try:
                os.replace(self.temporary, self.path)
            except BaseException:
                self.discard()
                raise
            self._file.close()
            if sync:
                sync_folder(self.path.parent)

    def discard(self) -> None:
        """Delete the temporary file; the target stays as it was."""
        # The error that led here matters more than one of these. Closing flushes, which a full disk refuses again.
        with contextlib.suppress(OSError):
            self.temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._file.close()


def write(path: Path, content: Content) -> None:
    """Write a file atomically and durably from bytes, text, several buffers or a function of the open file.

    Raises DiskFull when it does not fit; the previous content is then untouched.
    """
    Staged(path, content).commit()


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; NaN and infinity are refused, which JSON cannot hold."""
    write(path, json.dumps(value, indent=2, allow_nan=False, default=plain) + "\n")


def read_json(path: Path, remedy: str = "restore it, or make it anew") -> Any:
    """Read a JSON file. Raises Corrupt, naming the file, when it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise Corrupt(f"{path} is missing; {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{path} is not valid JSON ({error}); {remedy}") from None


def read_object(path: Path, remedy: str = "restore it, or make it anew", **types: Any) -> dict[str, Any]:
    """Read a JSON file that holds an object with these keys, each of its type (or one of a tuple of types).

    Raises Corrupt, naming the file and the key. True and false are no integers.

    >>> read_object(Path("head.json"), format=int, name=str)          # doctest: +SKIP
    """
    body = read_json(path, remedy)
    if not isinstance(body, dict):
        raise Corrupt(f"{path} is damaged: it holds {type(body).__name__}, not an object; {remedy}")
    for key, kinds in types.items():
        value = body.get(key, _ABSENT)
        wrong_bool = isinstance(value, bool) and bool not in (kinds if isinstance(kinds, tuple) else (kinds,))
        if value is _ABSENT or wrong_bool or not isinstance(value, kinds):
            problem = "is missing" if value is _ABSENT else f"is {value!r:.40}"
            raise Corrupt(f"{path} is damaged: '{key}' {problem}; {remedy}")
    return body


def plain(value: Any) -> Any:
    """NumPy scalars and arrays, paths and mappings as what JSON can write (``json.dumps(default=)``)."""
    with contextlib.suppress(AttributeError):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


@contextlib.contextmanager
def publish(folder: Path) -> Iterator[Path]:
    """Build a folder aside and swap it in whole: readers see the old folder or the new one.

    Raises BadData when ``folder`` is a file, DiskFull when the new folder does not fit; what was
    there before is then untouched.

    >>> with publish(Path("index")) as building:          # doctest: +SKIP
    ...     (building / "vectors.npy").write_bytes(b"…")
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise BadData(f"{folder} is a file, a folder was expected; move it away, or choose another --out")
    building = _beside(folder)
    with typed_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        building.mkdir()
        handle = os.open(building, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # waits for a sweep that looks at it this moment
            yield building
            sync_tree(building)
            _swap(building, folder)
            sync_folder(folder.parent)
        finally:
            os.close(handle)
            # After the swap this name holds the previous folder, after an error the unfinished one.
            shutil.rmtree(building, ignore_errors=True)
    sweep(folder.parent, f"*-{folder.name}")


def copy_folder(source: Path, target: Path, ignore: Callable[[str, list[str]], Iterable[str]]) -> None:
    """Copy the files below a folder into another one, which may be there; links are copied as links.

    ignore: as of ``shutil.copytree``. Raises DiskFull. The caller makes the copy durable (:func:`sync_tree`).
    """
    with typed_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        names = os.listdir(source)
        for name in sorted(set(names) - set(ignore(str(source), names))):
            if (source / name).is_dir() and not (source / name).is_symlink():
                copy_folder(source / name, target / name, ignore)
            else:
                shutil.copy2(source / name, target / name, follow_symlinks=False)


def sync_tree(folder: Path) -> None:
    """Make every file and folder below a folder durable."""
    for path in [*sorted(Path(folder).rglob("*")), Path(folder)]:
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())


def _swap(new: Path, target: Path) -> bool:
    """Put ``new`` in the target's place; whether there was a target, which is under the name ``new`` now."""
    while True:
        if _exchange(new, target):
            return True
        if not target.exists():
            # Another publisher may be faster: the rename then fails and the exchange is tried again.
            try:
                os.rename(new, target)
                return False
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        else:  # no atomic exchange on this system: a reader may find nothing for an instant
            retired = _beside(target)
            os.rename(target, retired)
            os.rename(new, target)
            os.rename(retired, new)
            return True


def _exchange(a: Path, b: Path) -> bool:
    """renameat2(RENAME_EXCHANGE): a and b trade names atomically; False where one is missing, or it cannot be had."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    try:
        rename = libc.renameat2
    except AttributeError:
        return False
    at_cwd, exchange = -100, 2
    if rename(at_cwd, os.fsencode(a), at_cwd, os.fsencode(b), exchange) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOENT, errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code), str(b))


def sweep(folder: Path, pattern: str = "*", age: float = _YOUNG) -> int:
    """Delete the temporary files and folders that killed writers left; returns how many.

    A living writer holds a lock on its temporary file, which the kernel frees when it dies.
    """
    count = 0
    for path in Path(folder).glob(f"{_TEMPORARY}{pattern}"):
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:  # renamed or swept in the meantime
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(handle).st_mtime >= age:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
                count += 1
        except OSError:  # a living writer's, or of a disk that may only be read
            pass
        finally:
            os.close(handle)
    return count


def remove_folder(folder: Path, name: str = "") -> None:
    """Delete a folder so that a kill leaves it whole or gone: it is renamed first. No error where there is none.

    name: what the temporary name ends in, by which :func:`sweep` finds it; the folder's own by default.
    """
    folder = Path(folder)
    retired = _beside(folder.with_name(name or folder.name))
    try:
        with typed_errors(folder):
            os.rename(folder, retired)
    except FileNotFoundError:
        return
    shutil.rmtree(retired, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    with typed_errors(folder):
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
    folder, end = Path(folder), time.monotonic() + _GLANCE
    while True:
        with typed_errors(folder / ".lock"):
            folder.mkdir(parents=True, exist_ok=True)
            file = open(folder / ".lock", "a")  # noqa: SIM115  closed below
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                if time.monotonic() < end:
                    time.sleep(_GLANCE / 10)
                    continue
                raise Busy(
                    f"{folder} is being written by another process; wait for it, or choose another --out"
                ) from None
            if _is_still(folder / ".lock", file.fileno()):
                yield
                return
        # The process that had the lock deleted the file or moved the folder away: the lock protects nothing any more.


def _is_still(path: Path, handle: int) -> bool:
    """Whether an open file is the one that lies at a path now."""
    try:
        now, mine = os.stat(path), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino)


@contextlib.contextmanager
def typed_errors(path: Path) -> Iterator[None]:
    """Turn the system's error of a write into DiskFull (no space, quota, file size) or ReadOnly (no permission)."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise ReadOnly(
                f"{error.filename or path} may not be written ({os.strerror(error.errno)}); what was there before is "
                "untouched: give write permission, or choose another folder"
            ) from error
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        there = next(parent for parent in Path(path).absolute().parents if parent.is_dir())
        free = shutil.disk_usage(there).free
        raise DiskFull(
            f"no room to write {path} ({free / 1e6:.0f} MB free on that disk); what was there before is untouched: "
            "free some space, or choose another folder with --out"
        ) from error


def exchange(new: Path, target: Path) -> None:
    """Put the folder ``new`` in ``target``'s place in one step and delete what was there.

    Everything in ``new`` must have been written through this module (so it is on the disk already). What was there
    is renamed before it is deleted, so that the name ``new`` is free for the next writer or taken, nothing between.
    """
    new, target = Path(new), Path(target)
    with typed_errors(target):
        replaced = _swap(new, target)
    sync_folder(target.parent)
    if replaced:  # else the name ``new`` is free, and may be another writer's by now
        with contextlib.suppress(DiskFull, ReadOnly):  # the new one is in place
            remove_folder(new, target.name)
