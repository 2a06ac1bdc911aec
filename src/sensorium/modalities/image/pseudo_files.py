"""Pseudo-images as PNG files that say what vector they are of: named, written in parallel, found again, read back."""

from __future__ import annotations

import json
import re
import struct
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash

from sensorium import io
from sensorium.errors import BadData
from sensorium.modalities.image import files
from sensorium.modalities.image.pseudo import Bounds, PseudoImage
from sensorium.types import Rows, blocks

KEYWORD = "sensorium"  # of the text in each file
_HEAD = 4096  # bytes of a file in which its text stands
_END = b"IEND\xaeB`\x82"  # the last bytes of every whole PNG file
_NAME = 200  # characters of a name; file systems take 255 bytes
_BLOCK = 64  # files a task of a thread


class Written(NamedTuple):
    """What :func:`write` did: how many files were made, how many were there already, and the files, in order."""

    made: int
    kept: int
    files: list[Path]


def names(kind: str, ids: Sequence[str]) -> list[str]:
    """File names ``KIND_ID.png``, in which all but letters, digits and ``_ . -`` of an id is ``_``.

    So Embed2Image names them. Ids that would share a name, on any file system, or that are long, get a checksum in
    theirs.

    >>> names("audio", ["rain.wav#1", "a b", "a?b"])
    ['audio_rain.wav_1.png', 'audio_a_b-f9d5fb51.png', 'audio_a_b-ce4e9f4c.png']
    """
    plain = [re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{kind}_{one}").strip("._") for one in ids]
    count: dict[str, int] = {}
    for name in plain:
        count[name.lower()] = count.get(name.lower(), 0) + 1
    return [
        f"{name}.png"
        if count[name.lower()] == 1 and len(name) <= _NAME
        else f"{name[:_NAME]}-{xxhash.xxh3_64(str(one).encode()).hexdigest()[:8]}.png"
        for name, one in zip(plain, ids, strict=True)
    ]


def digest(vector: np.ndarray) -> str:
    """What a vector is known by: xxh3-128 of its float32 numbers, as hex digits."""
    return xxhash.xxh3_128(np.ascontiguousarray(vector, "<f4").tobytes()).hexdigest()


def write(
    ids: Sequence[str],
    vectors: Rows,
    transform: PseudoImage,
    folder: Path,
    kind: str,
    workers: int = 1,
    advance: Callable[[int], None] = lambda done: None,
) -> Written:
    """Write a PNG file for each vector (n, d) into ``folder``, those that are not there yet.

    A file is there when it is whole and says that it is of this vector and these settings; any other of its name is
    written anew. Each is written aside and renamed, so an interruption leaves whole files only. Their bytes depend on
    vector and settings alone, not on ``workers``, the number of threads. advance: called with the number of new files.

    Raises BadRecipe without ``minmax``, BadData for vectors with NaN, DiskFull and ReadOnly.
    """
    transform.pixels(np.zeros((0, vectors.shape[1]), np.float32))  # refuses settings that no file can have
    folder = Path(folder)
    io.sweep(folder)
    paths = [folder / name for name in names(kind, ids)]
    stopped = threading.Event()

    def one_block(part: slice) -> int:
        x = np.asarray(vectors[part], np.float32)
        wanted = [_about(transform, row) for row in x]
        missing = [i for i, path in enumerate(paths[part]) if about(path) != wanted[i]]
        pixels = transform.pixels(x[missing]) if missing else ()
        bounds = transform.with_bounds(x[missing])[1] if missing else None
        for k, i in enumerate(missing):
            if stopped.is_set():
                return k
            more = {"low": bounds.low[k].tolist(), "high": bounds.high[k].tolist()}
            text = json.dumps({**wanted[i], **more}, separators=(",", ":"))
            io.Staged(paths[part][i], files.png(pixels[k], {KEYWORD: text})).commit(sync=False)
        advance(len(x))
        return len(missing)

    made = 0
    with ThreadPoolExecutor(max(1, workers), "pseudo-images") as pool:
        try:
            for count in pool.map(one_block, blocks(len(paths), _BLOCK)):
                made += count
        except BaseException:  # Ctrl-C, or a full disk: the threads end after the file they are at
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    if made:
        io.sync_folder(folder)
    return Written(made, len(paths) - made, paths)


def about(path: Path) -> dict[str, Any] | None:
    """What a file says of itself but its bounds: settings, width and vector; None for one that is not whole or ours."""
    found = _text(path)
    return None if found is None else {key: found.get(key) for key in ("transform", "dim", "vector")}


def read_vector(path: Path) -> np.ndarray:
    """The vector (d,) that a file is the picture of, up to range/255, float32.

    Raises BadData for a file that ``sensorium images`` did not write, BadRecipe where its settings lose numbers.
    """
    found = _text(path)
    if found is None:
        raise BadData(f"{path} is no pseudo-image with its settings; make it by: sensorium images STORE --out DIR")
    try:
        transform, dim = PseudoImage(**found["transform"]), int(found["dim"])
        bounds = Bounds(*(np.array(found[key], np.float32) for key in ("low", "high")))
    except (KeyError, TypeError, ValueError) as error:
        raise BadData(f"{path} says of itself what no pseudo-image can ({error}); make it anew") from None
    return transform.to_vector(PseudoImage.from_pixels(files.read(path)), dim, bounds)


class Stored:
    """The pictures of a folder, and of the folders in it, by the vector that each is of.

    Those of other settings are left out. The folder is scanned at the first picture.
    """

    def __init__(self, folder: Path, transform: PseudoImage) -> None:
        self.folder, self._wanted = Path(folder).expanduser(), settings(transform)
        self._paths: dict[str, Path] | None = None

    def read(self, vectors: np.ndarray, required: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Rows (k,) int64 of the vectors (n, d) that have a picture, and these (k, size, size, 3) uint8.

        required: raise BadData where the folder has no picture of these settings at all.
        """
        paths = self._known()
        if required and not paths:
            raise BadData(f"{self.folder} holds no pseudo-images of these settings ({_settings_text(self._wanted)}); "
                          f"make them by: sensorium images STORE --out {self.folder}")  # fmt: skip
        found = [(i, path) for i, row in enumerate(vectors) if (path := paths.get(digest(row))) is not None]
        size = self._wanted["size"]
        pixels = np.empty((len(found), size, size, 3), np.uint8)
        for k, (_, path) in enumerate(found):
            pixels[k] = files.read(path)
        return np.array([i for i, _ in found], np.int64), pixels

    def _known(self) -> dict[str, Path]:
        if self._paths is None:
            self._paths = {}
            for path in sorted(self.folder.rglob("*.png")) if self.folder.is_dir() else ():
                found = about(path)
                if found is not None and found["transform"] == self._wanted:
                    self._paths[found["vector"]] = path
        return self._paths


def settings(transform: PseudoImage) -> dict[str, Any]:
    """The settings that a file tells: all but ``quantize``, as every file is of 256 levels."""
    return {key: value for key, value in transform.asdict().items() if key != "quantize"}


def _settings_text(known: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in known.items())


def _about(transform: PseudoImage, vector: np.ndarray) -> dict[str, Any]:
    return {"transform": settings(transform), "dim": len(vector), "vector": digest(vector)}


def _text(path: Path) -> dict[str, Any] | None:
    """The text of a whole file of ours; None for another."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
            file.seek(0, 2)
            file.seek(max(0, file.tell() - len(_END)))
            if file.read() != _END or head[37:41] != b"tEXt":
                return None
        length = struct.unpack(">I", head[33:37])[0]
        keyword, _, text = head[41 : 41 + length].partition(b"\0")
        found = json.loads(text) if keyword == KEYWORD.encode() else None
    except (OSError, ValueError, struct.error):
        return None
    return found if isinstance(found, dict) else None
