"""Content keys: 16 bytes that change if and only if the content of an item changes."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xxhash

from sensorium.errors import BadData
from sensorium.types import Excerpt, Pictured, VideoFrame

KEY_BYTES = 16


@runtime_checkable
class _Array(Protocol):
    """Types that NumPy converts to an array: its own, torch's, a picture of Pillow."""

    def __array__(self) -> np.ndarray: ...


def content_keys(kind: str, ids: Iterable[str], values: Iterable[Any]) -> list[bytes]:
    """xxh3-128 of each item's content: text as UTF-8, bytes, the bytes of a file, an array's dtype, shape and bytes.

    For kinds other than "text" a string is a path. Raises BadData naming the id when a file is
    missing or a value is of no known type.
    """
    return [_key(kind, name, value) for name, value in zip(ids, values, strict=True)]


def _key(kind: str, name: str, value: Any) -> bytes:
    if isinstance(value, str) and kind == "text":
        return xxhash.xxh3_128_digest(b"text\0" + value.encode("utf-8", "surrogatepass"))
    digest = xxhash.xxh3_128()
    _update(digest, kind, name, value)
    return digest.digest()


def _update(digest: Any, kind: str, name: str, value: Any) -> None:
    if isinstance(value, (bytes, bytearray, memoryview)):
        digest.update(b"bytes\0")
        digest.update(bytes(value))
    elif isinstance(value, Pictured):
        digest.update(b"pictured\0" + ("" if value.text is None else f"text\0{value.text}\0").encode())
        if value.image is not None:
            _update(digest, kind, name, value.image)
    elif isinstance(value, Excerpt):
        digest.update(b"excerpt\0" + _file_digest(kind, name, value.path))
        digest.update(f"{float(value.begin)!r}\0{float(value.end)!r}".encode())
    elif isinstance(value, VideoFrame):
        digest.update(b"frame\0" + _file_digest(kind, name, value.path) + f"{float(value.second)!r}".encode())
    elif isinstance(value, (str, os.PathLike)):
        digest.update(b"file\0")
        _update_by_file(digest, kind, name, value)
    elif isinstance(value, tuple):  # such as (samples, rate)
        digest.update(b"tuple\0%d\0" % len(value))
        for part in value:
            _update(digest, kind, name, part)
    elif isinstance(value, (bool, int, float, np.generic)):
        digest.update(f"{type(value).__name__}\0{value}\0".encode())
    elif isinstance(value, _Array):
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise BadData(f"{kind} item '{name}' holds Python objects; expected an array of numbers")
        digest.update(f"array\0{array.dtype.str}\0{array.shape}\0".encode())
        if array.size:
            digest.update(memoryview(np.ascontiguousarray(array)).cast("B"))
    else:
        raise BadData(
            f"{kind} item '{name}' is {type(value).__name__}; expected text, bytes, a path, an array or (samples, rate)"
        )


def _update_by_file(digest: Any, kind: str, name: str, path: str | os.PathLike[str]) -> None:
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    except OSError as error:
        raise BadData(
            f"{kind} item '{name}': cannot read {Path(path)} ({error.strerror}); restore the file or drop the item"
        ) from error


def _file_digest(kind: str, name: str, path: str) -> bytes:
    """Digest of a file's bytes, which are read once for all of its excerpts."""
    try:
        status = os.stat(path)
        return _digest_of(path, status.st_size, status.st_mtime_ns, status.st_ino)
    except OSError as error:
        raise BadData(
            f"{kind} item '{name}': cannot read {Path(path)} ({error.strerror}); restore the file or drop the item"
        ) from error


@functools.lru_cache(maxsize=4096)
def _digest_of(path: str, size: int, modified: int, inode: int) -> bytes:
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.digest()


def vector_keys(vectors: np.ndarray, offsets: np.ndarray | None = None) -> list[bytes]:
    """Keys of vectors without a source: xxh3-128 of each item's own bytes."""
    if not vectors.size:
        return []
    view, size = memoryview(np.ascontiguousarray(vectors)).cast("B"), vectors.itemsize * vectors.shape[1]
    if offsets is None:
        return [xxhash.xxh3_128_digest(view[at : at + size]) for at in range(0, len(view), size)]
    cuts = (np.asarray(offsets) * size).tolist()
    return [xxhash.xxh3_128_digest(view[a:b]) for a, b in pairwise(cuts)]
