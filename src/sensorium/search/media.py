"""What a run's items look like, kept with the run: pictures and sounds packed, or paths inside the data's folder."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData, Corrupt
from sensorium.table import Table
from sensorium.types import Items

FORMAT = 1
FOLDER = "media"
REMEDY = "make it anew: sensorium index RUN"
#: Types of files that are shown by path; a file of another ending is not served.
TYPES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
    ".bmp": "image/bmp", ".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".oga": "audio/ogg",
    ".opus": "audio/ogg", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".aac": "audio/aac",
}  # fmt: skip
_PACKED = {"image": "image/png", "face": "image/png", "audio": "audio/wav"}


def build(items: Items, rows: np.ndarray, folder: Path, side: str) -> int:
    """Keep what ``rows`` of the items look like under ``folder``/media; returns how many can be shown.

    Arrays (h, w), (h, w, 3) or (h, w, 4) uint8 become PNG and (samples, rate) become WAV in one
    packed file; paths stay paths, below the deepest folder that holds all of them. Text and
    vectors need nothing here.
    """
    if items.kind not in _PACKED:
        return 0
    values = [items.values[int(row)] for row in rows]
    paths = [Path(v).expanduser().absolute() if isinstance(v, (str, os.PathLike)) else None for v in values]
    named = [path for path in paths if path is not None]
    root = Path(os.path.commonpath([path.parent for path in named])) if named else None
    start, size = np.zeros(len(rows), np.int64), np.full(len(rows), -1, np.int64)
    names = np.array([path.relative_to(root).as_posix() if path and root else "" for path in paths], np.str_)

    def packed() -> Iterator[bytes]:
        at = 0
        for i, value in enumerate(values):
            content = None if paths[i] else _pack(value)
            if content is not None:
                start[i], size[i] = at, len(content)
                at += len(content)
                yield content

    where = folder / FOLDER
    io.write(where / f"{side}.bin", packed())
    Table(items.ids[rows], {"start": start, "size": size, "path": names}).save(where / f"{side}.parquet")
    told = {"format": FORMAT, "type": _PACKED[items.kind], "root": str(root) if root else None,
            "bytes": (where / f"{side}.bin").stat().st_size}  # fmt: skip
    io.write_json(where / f"{side}.json", told)
    return int(np.count_nonzero((size >= 0) | (names != "")))


class Media:
    """The packed file and paths of one side, opened; it stays readable when the run folder is exchanged."""

    def __init__(self, folder: Path, side: str) -> None:
        where = Path(folder) / FOLDER
        self.told = io.read_json(where / f"{side}.json", REMEDY)
        if not isinstance(self.told, dict) or self.told.get("format") != FORMAT:
            raise Corrupt(f"{where / f'{side}.json'} is not of format {FORMAT}; {REMEDY}")
        table = Table.load(where / f"{side}.parquet")
        self._rows = {id: row for row, id in enumerate(table.ids.tolist())}
        self._start, self._size, self._path = (table.columns[name] for name in ("start", "size", "path"))
        self._root = Path(self.told["root"]).resolve() if self.told["root"] else None
        self._file = os.open(where / f"{side}.bin", os.O_RDONLY)
        if os.fstat(self._file).st_size != self.told["bytes"]:
            raise Corrupt(f"{where / f'{side}.bin'} is not {self.told['bytes']} bytes long; {REMEDY}")

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def __contains__(self, id: str) -> bool:
        row = self._rows.get(id)
        return row is not None and bool(self._size[row] >= 0 or self._path[row])

    def get(self, id: str) -> tuple[str, bytes | Path] | None:
        """Media type, and bytes or an existing file inside the data's folder; None when there is nothing to show."""
        if id not in self:
            return None
        row = self._rows[id]
        if self._size[row] >= 0:
            return self.told["type"], os.pread(self._file, int(self._size[row]), int(self._start[row]))
        assert self._root is not None
        try:
            path = (self._root / str(self._path[row])).resolve(strict=True)
        except (OSError, RuntimeError):  # gone, or a loop of links
            return None
        kind = TYPES.get(path.suffix.lower())
        if kind is None or not path.is_file() or not path.is_relative_to(self._root):
            return None
        return kind, path


def open(folder: Path, side: str) -> Media | None:
    """What a side's items look like; None for a run that keeps nothing of them."""
    return Media(folder, side) if (Path(folder) / FOLDER / f"{side}.json").is_file() else None


def _pack(value: Any) -> bytes | None:
    """A picture as PNG or a sound as WAV; None for what is neither."""
    if isinstance(value, tuple) and len(value) == 2:
        return wav(np.asarray(value[0]), int(value[1]))
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        return png(value)
    return None


def png(picture: np.ndarray) -> bytes:
    """A picture (h, w), (h, w, 3) or (h, w, 4) uint8 as a PNG file, without loss.

    Raises BadData for another shape.
    """
    shape = picture.shape
    colour = {2: 0}.get(len(shape), {3: 2, 4: 6}.get(shape[-1]) if len(shape) == 3 else None)
    if colour is None or not picture.size:
        raise BadData(f"picture of shape {shape}; expected (h, w), (h, w, 3) or (h, w, 4)")
    lines = np.zeros((shape[0], 1 + int(np.prod(shape[1:]))), np.uint8)  # each line begins with its filter: none
    lines[:, 1:] = picture.reshape(shape[0], -1)
    header = struct.pack(">IIBBBBB", shape[1], shape[0], 8, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def wav(samples: np.ndarray, rate: int) -> bytes:
    """Samples (n,) or (n, channels) as a WAV file of 16 bits; float samples are clipped to full scale."""
    if samples.dtype.kind == "f":
        samples = np.clip(np.round(samples * 32767), -32768, 32767)
    elif samples.dtype != np.int16:
        raise BadData(f"samples of type {samples.dtype}; expected float or int16")
    data = np.ascontiguousarray(samples, "<i2").tobytes()
    channels = samples.shape[1] if samples.ndim == 2 else 1
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, channels, rate,
        rate * channels * 2, channels * 2, 16, b"data", len(data),
    ) + data  # fmt: skip
