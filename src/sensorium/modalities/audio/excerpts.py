"""Excerpts of sound files: a part is read by seeking to it, where the format can be sought exactly; and their grid."""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import numpy as np

from sensorium.errors import BadData, SensoriumError, require
from sensorium.types import Excerpt

#: Formats in which libsndfile finds any sample exactly; a file of another one is decoded, and kept for the next part.
_SOUGHT = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG")
_LATE = 0.1  # seconds that a part may begin or end after the file's end: headers and tables round
_TENTH = 0.1  # of a hop: a rest that short adds no window where windows overlap as much
_MICRO = 1e-6  # seconds to which times are rounded
_lock = threading.Lock()
_last: dict[Any, tuple[np.ndarray, int]] = {}  # the one file that was decoded whole


def grid(duration: float, window: float, hop: float) -> list[tuple[float, float]]:
    """Begin and end, in seconds, of the windows over a recording: at least one, and the last ends where it ends.

    Windows begin every ``hop`` seconds. A recording that is no longer than a window is one window. Where a whole
    number of hops does not reach the end, one more window ends there; for a rest below a tenth of a hop the last one is
    moved instead, where that leaves no gap.

    >>> grid(22, 10, 5)
    [(0.0, 10.0), (5.0, 15.0), (10.0, 20.0), (12.0, 22.0)]
    """
    slack = min(_TENTH * hop, max(window - hop, 0.0)) + _MICRO
    if duration <= window + slack:
        return [(0.0, float(duration))]
    count = math.ceil((duration - window - slack) / hop) + 1
    begins = [round(at * hop, 6) for at in range(count - 1)]
    return [*((at, round(at + window, 6)) for at in begins), (round(duration - window, 6), float(duration))]


def read(excerpt: Excerpt, max_seconds: float = 3600.0) -> tuple[np.ndarray, int]:
    """Samples (n, channels) of the excerpt, int16 or float32, and their rate in Hz: those of the file at these times.

    The length of the file itself is not limited where it can be sought. Raises BadData for a part beyond the file's
    end, longer than ``max_seconds``, and for a file that cannot be read.
    """
    begin, end = float(excerpt.begin), float(excerpt.end)
    if not 0 <= begin < end or not math.isfinite(end):
        raise BadData(f"{excerpt.path}: an excerpt from {begin:g} to {end:g} s; expected 0 ≤ begin < end")
    if end - begin > max_seconds:
        raise BadData(f"{excerpt.path}: an excerpt of {end - begin:g} s; expected at most {max_seconds:g} s")
    found = _sought(excerpt)
    return _cut(excerpt, *_whole(excerpt.path, max_seconds)) if found is None else found


def _sought(excerpt: Excerpt) -> tuple[np.ndarray, int] | None:
    """The samples, read from their place in the file; None where its format cannot be sought exactly."""
    soundfile = require("soundfile", "audio")
    try:
        with soundfile.SoundFile(os.open(excerpt.path, os.O_RDONLY)) as file:
            if file.format not in _SOUGHT or not 0 < file.frames < 1 << 40:
                return None
            if excerpt.end > file.frames / file.samplerate + _LATE:  # or its header is wrong: several files in one
                return None
            start, stop = _span(excerpt, file.frames, file.samplerate)
            file.seek(start)
            kind = "int16" if file.subtype in ("PCM_16", "PCM_S8", "PCM_U8") else "float32"
            samples = file.read(stop - start, dtype=kind, always_2d=True)
            return (samples, int(file.samplerate)) if len(samples) == stop - start else None
    except SensoriumError:
        raise
    except Exception:  # libsndfile meets other formats and damaged files with errors of several kinds
        return None  # reading it whole says what is wrong


def _cut(excerpt: Excerpt, samples: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    start, stop = _span(excerpt, len(samples), rate)
    return samples[start:stop], rate


def _span(excerpt: Excerpt, n: int, rate: int) -> tuple[int, int]:
    """First and last sample. Raises BadData for a part that the file does not have."""
    start, stop = round(excerpt.begin * rate), round(excerpt.end * rate)
    if stop > n + _LATE * rate or start >= n:
        raise BadData(
            f"{excerpt.path} is {n / rate:g} s long; an excerpt from {excerpt.begin:g} to {excerpt.end:g} s "
            "is not in it"
        )
    return start, max(start + 1, min(stop, n))


def _whole(path: str, max_seconds: float) -> tuple[np.ndarray, int]:
    """All samples of a file; those of the last file are kept, as parts are read file by file."""
    from sensorium.modalities.audio import files

    with _lock:
        try:
            status = os.stat(path)
        except OSError:
            status = None
        key = None if status is None else (path, status.st_size, status.st_mtime_ns, status.st_ino)
        if key is None or key not in _last:
            found = files.read_channels(path, max(max_seconds, files.MAX_SECONDS))
            _last.clear()
            if key is not None:
                _last[key] = found
            return found
        return _last[key]
