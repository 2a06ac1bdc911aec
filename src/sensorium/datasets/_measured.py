"""Measures of clips, made once: kept by the content of each file beside the embeddings, and read from there again."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from sensorium import fingerprint, io
from sensorium.errors import BadData
from sensorium.modalities.audio import measures
from sensorium.progress import bar
from sensorium.store.content_keys import KEY_BYTES, content_keys

FOLDER = "clip-measures"  # beside the embeddings
_SECONDS = 30.0  # what was measured is written this often, so that a kill costs no more
_MOST_PARTS = 32  # files of a folder, above which they are made one
#: Digits after the point: what differs below them is no difference between clips.
_DIGITS = {"duration": 6, "loudness": 2, "rms": 5, "peak": 5, "clipping": 7, "snr": 1}
_WAITING = 256  # clips handed to the threads at once: an interruption ends soon


@dataclass(frozen=True)
class Measured:
    """Columns by name (n,), what is wrong with clips that cannot be measured, and how many were measured now."""

    columns: dict[str, np.ndarray]
    faults: dict[int, str]
    new: int


def measured(paths: Sequence[Any], folder: Path | None, longest: float, progress: bool = False) -> Measured:
    """The measures of sound files, or of (samples, rate); NaN, or 0 of whole numbers, of those with a fault.

    folder: of the embeddings, beside which measures are kept; None keeps none. longest: seconds; longer clips have a
    fault. An interruption loses what was measured in the last half minute.
    """
    kept = Kept(None if folder is None else Path(folder) / FOLDER / digest())
    names = list(measures.COLUMNS)
    table = np.full((len(paths), len(names)), np.nan)
    faults: dict[int, str] = {}

    def one(at: int) -> tuple[bytes, np.ndarray]:
        key = content_keys("audio", [str(at)], [paths[at]])[0]
        row = kept.get(key)
        if row is None:
            found = measures.measure_file(paths[at], longest)
            return key, np.array([found[name] for name in names])
        if (seconds := row[names.index("duration")]) > longest:
            raise BadData(f"{paths[at]} is {seconds:.0f} s long; at most {longest:.0f} s are read: cut it into parts")
        return key, row

    new, last = 0, time.monotonic()
    workers = min(8, len(os.sched_getaffinity(0)))
    try:
        with bar("measuring clips", len(paths), progress) as advance, ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(paths), _WAITING):
                tasks = {pool.submit(one, at): at for at in range(start, min(start + _WAITING, len(paths)))}
                for task in as_completed(tasks):
                    try:
                        key, table[tasks[task]] = task.result()
                        new += kept.put(key, table[tasks[task]])
                    except BadData as error:
                        faults[tasks[task]] = str(error)
                    advance(1)
                if time.monotonic() - last > _SECONDS:
                    kept.write()
                    last = time.monotonic()
    finally:
        kept.write()
    return Measured({name: _column(name, table[:, at]) for at, name in enumerate(names)}, faults, new)


def with_rate(columns: Mapping[str, np.ndarray], transcripts: Sequence[str | None]) -> dict[str, np.ndarray]:
    """The measured columns, and speech_rate where there is a transcript: see ``measures.speech_rate``."""
    if all(text is None for text in transcripts):
        return dict(columns)
    each = zip(transcripts, *(columns[name].tolist() for name in ("duration", "silence_start", "silence_end")),
               strict=True)  # fmt: skip
    rate = np.array([measures.speech_rate(*one) for one in each])
    return {**columns, "speech_rate": np.round(rate, 2)}


def digest() -> str:
    """Short name of what is measured and how, so that measures of another version are not taken for these."""
    return fingerprint.digest([measures.VERSION, list(measures.COLUMNS)])


def _column(name: str, values: np.ndarray) -> np.ndarray:
    if name == "sample_rate":
        return np.nan_to_num(values).astype(np.int64)
    return np.round(values, _DIGITS.get(name, 4))


class Kept:
    """Measures by content key, in files of which each is named by the checksum of its bytes. folder: None for none.

    A file that is damaged, or of another width, is passed over: what it held is measured again.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.type = np.dtype([("key", f"V{KEY_BYTES}"), ("values", "<f8", len(measures.COLUMNS))])
        self.known: dict[bytes, np.ndarray] = {}
        self.waiting: dict[bytes, np.ndarray] = {}
        self.parts = [] if folder is None else sorted(folder.glob("part-*.npy"))
        for path in self.parts:
            self._read(path)

    def get(self, key: bytes) -> np.ndarray | None:
        """The measures of a content; None where they are not known."""
        return self.known.get(key)

    def put(self, key: bytes, values: np.ndarray) -> int:
        """Keep the measures of a content; returns 1 where they were not known, else 0."""
        if key in self.known:
            return 0
        self.known[key] = self.waiting[key] = values.copy()
        return 1

    def write(self) -> None:
        """Write what is new into a file of its own; many files become one. Raises DiskFull and ReadOnly."""
        if self.folder is None or not self.waiting:
            return
        whole = len(self.parts) >= _MOST_PARTS
        path = self._write(self.known if whole else self.waiting)
        for old in self.parts if whole else ():
            if old != path:
                with contextlib.suppress(OSError):  # another process made one file of them as well
                    old.unlink()
        self.parts = [path] if whole else [*self.parts, path]
        self.waiting = {}

    def _write(self, rows: dict[bytes, np.ndarray]) -> Path:
        table = np.zeros(len(rows), self.type)
        table["key"] = np.frombuffer(b"".join(rows), f"V{KEY_BYTES}")
        table["values"] = list(rows.values())
        out = BytesIO()
        np.save(out, table, allow_pickle=False)
        path = self.folder / f"part-{xxhash.xxh3_128_hexdigest(out.getvalue())}.npy"
        self.folder.mkdir(parents=True, exist_ok=True)
        io.write(path, out.getvalue())
        return path

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
            if path.stem.removeprefix("part-") != xxhash.xxh3_128_hexdigest(content):
                return
            table = np.load(BytesIO(content), allow_pickle=False)
        except (OSError, ValueError):
            return
        if table.dtype == self.type:
            self.known.update(zip((key.tobytes() for key in table["key"]), table["values"], strict=True))
