"""Faces found in pictures and videos: each file is looked at once, and what was found is kept beside the embeddings."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from sensorium import fingerprint, io, modalities
from sensorium.contracts import Encoder
from sensorium.datasets._perception_media import Frame, Medium
from sensorium.errors import BadData
from sensorium.modalities.face import video
from sensorium.modalities.face.layout import POINTS
from sensorium.progress import bar
from sensorium.store.content_keys import KEY_BYTES, content_keys

FOLDER = "faces-found"  # beside the embeddings
_SECONDS = 20.0  # what was found is written this often, so that a kill costs no more
_MOST_PARTS = 32  # files of a folder, above which they are made one
_WAITING = 128  # files handed to the threads at once
#: One row a face; of a frame without one a row whose number of the face is -1. second is NaN of pictures.
_ROW = np.dtype([("key", f"V{KEY_BYTES}"), ("second", "<f8"), ("face", "<i2"), ("landmarks", "<f4", (POINTS, 3))])


def look(
    media: Sequence[Medium], encoder: Encoder | None, every: int, most: int, stores: Path | None, progress: bool
) -> list[list[Frame] | str]:
    """The frames of each picture or video with their faces, at most ``most`` each, or what is wrong with the file.

    encoder: what finds them; None where faces are not looked for, but frames listed. every: one frame in so many of a
    video. stores: folder of the embeddings; None keeps nothing. An interruption loses what was found in the last
    seconds, and the video that was read.
    """
    finder = None if encoder is None or not encoder.finds else encoder
    about = "" if finder is None else fingerprint.digest(dict(finder.finder or finder.fingerprint))
    kept = Kept(None if stores is None or finder is None else Path(stores) / FOLDER / about)
    stop = threading.Event()

    def one(medium: Medium) -> list[Frame] | str:
        try:
            if finder is None or medium.is_numbers:
                return list(_frames(medium, finder, every, most, stop))
            key = _key(medium, every, most)
            found = kept.get(key)
            if found is None:
                found = list(_frames(medium, finder, every, most, stop))
                kept.put(key, found)
            return found
        except BadData as error:
            return str(error)

    out: list[list[Frame] | str] = [""] * len(media)
    last = time.monotonic()
    cores = len(os.sched_getaffinity(0)) if "sched_getaffinity" in vars(os) else os.cpu_count() or 1
    what = "finding faces" if finder else "reading files"
    try:
        with bar(what, len(media), progress) as advance, ThreadPoolExecutor(min(4, cores)) as pool:
            try:
                for start in range(0, len(media), _WAITING):
                    block = range(start, min(start + _WAITING, len(media)))
                    tasks = {pool.submit(one, media[at]): at for at in block}
                    for task in as_completed(tasks):
                        out[tasks[task]] = task.result()
                        advance(1)
                        if time.monotonic() - last > _SECONDS:
                            kept.write()
                            last = time.monotonic()
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        kept.write()
    return out


def _frames(medium: Medium, finder: Encoder | None, every: int, most: int, stop: threading.Event) -> Iterator[Frame]:
    """The picture, or one frame in ``every`` of the video of which something is said."""
    if not medium.is_video:
        if finder is None and medium.path is not None:
            modalities.check_file("face")(medium.value)
        yield Frame(None, None if finder is None else finder.find(medium.value, most))
        return
    for second, rgb in video.frames(medium.value, every):
        if stop.is_set():
            raise BadData(f"{medium.value}: interrupted")
        if medium.at(second) is not None:
            yield Frame(second, None if finder is None else finder.find(rgb, most))


def _key(medium: Medium, every: int, most: int) -> bytes:
    """Changes when the content of the file, or what is looked for in it, does."""
    digest = xxhash.xxh3_128(content_keys("face", [medium.id], [medium.value])[0])
    digest.update(f"{most}".encode())
    if medium.is_video:
        digest.update(f"\0{every}\0{[(one.begin, one.end) for one in medium.said]}".encode())
    return digest.digest()


class Kept:
    """Faces by the key of their file, in files of which each is named by the checksum of its bytes. folder: None: none.

    A file that is damaged, or of another width, is passed over: what it held is looked for again.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.known: dict[bytes, np.ndarray] = {}
        self.waiting: dict[bytes, np.ndarray] = {}
        self.parts = [] if folder is None else sorted(folder.glob("part-*.npy"))
        for path in self.parts:
            self._read(path)

    def get(self, key: bytes) -> list[Frame] | None:
        """The frames of a file; None where they are not known."""
        rows = self.known.get(key)
        if rows is None:
            return None
        frames: list[Frame] = []
        for row in range(len(rows)):
            second = None if np.isnan(rows["second"][row]) else float(rows["second"][row])
            if rows["face"][row] < 1:
                frames.append(Frame(second, []))
            if rows["face"][row] >= 0:
                frames[-1].faces.append(rows["landmarks"][row])
        return frames

    def put(self, key: bytes, frames: Sequence[Frame]) -> None:
        """Keep the frames of a file."""
        rows = np.zeros(sum(max(1, len(frame.faces)) for frame in frames), _ROW)
        rows["key"], at = np.void(key), 0
        for frame in frames:
            for number, landmarks in enumerate(frame.faces or [None]):
                rows[at]["second"] = np.nan if frame.second is None else frame.second
                rows[at]["face"] = -1 if landmarks is None else number
                rows[at]["landmarks"] = np.nan if landmarks is None else landmarks
                at += 1
        self.known[key] = self.waiting[key] = rows

    def write(self) -> None:
        """Write what is new into a file of its own; many files become one. Raises DiskFull and ReadOnly."""
        if self.folder is None or not self.waiting:
            return
        whole = len(self.parts) >= _MOST_PARTS
        rows, self.waiting = list(dict(self.known if whole else self.waiting).values()), {}
        out = BytesIO()
        np.save(out, np.concatenate(rows), allow_pickle=False)
        path = self.folder / f"part-{xxhash.xxh3_128_hexdigest(out.getvalue())}.npy"
        self.folder.mkdir(parents=True, exist_ok=True)
        io.write(path, out.getvalue())
        for old in self.parts if whole else ():
            if old != path:
                with contextlib.suppress(OSError):  # another process made one file of them as well
                    old.unlink()
        self.parts = [path] if whole else [*self.parts, path]

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
            if path.stem.removeprefix("part-") != xxhash.xxh3_128_hexdigest(content):
                return
            table: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return
        if table.dtype != _ROW or not len(table):
            return
        keys = np.ascontiguousarray(table["key"])
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        for start, end in zip(starts, [*starts[1:], len(table)], strict=True):
            self.known[keys[start].tobytes()] = table[start:end]
