"""Frames of video files by PyAV: one in N in order, and the one that is shown at a time, by an exact seek."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData, require
from sensorium.types import VideoFrame

ENDINGS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".y4m")
_EARLY = 1e-3  # seconds by which a time may be rounded down
_ONWARD = 5.0  # seconds that are decoded on rather than sought
_lock = threading.Lock()
_open: dict[Any, _Reader] = {}  # the one file that was read last


def is_video(path: Any) -> bool:
    """Whether a path has the ending of a video file."""
    return isinstance(path, (str, os.PathLike)) and Path(path).suffix.lower() in ENDINGS


def frames(path: str | Path, every: int = 1) -> Iterator[tuple[float, np.ndarray]]:
    """One frame in ``every`` of a video, from its first on: its time in seconds, its pixels (h, w, 3) uint8, upright.

    The times are those of :class:`sensorium.types.VideoFrame`. Frames that cannot be decoded are left out.
    Raises BadData, naming the file, for one that is no video or has no frame that can be read.
    """
    if every < 1:
        raise BadData(f"every={every}; expected 1 or more: one frame in so many")
    count = 0
    with _Reader(path) as reader:
        for second, frame in reader.onward():
            if count % every == 0:
                yield second, _pixels(frame)
            count += 1
    if not count:
        raise BadData(f"{path} has no frame that can be read; convert it, or leave it out")


def read(frame: VideoFrame) -> np.ndarray:
    """The pixels (h, w, 3) uint8, upright, that a video shows at a time: of the last frame that is not later.

    The file stays open for the next time, which need not be sought where it follows soon.
    Raises BadData for a time before or after the video's frames, and for a file that is no video.
    """
    path, second = Path(frame.path).expanduser(), float(frame.second)
    with _lock:
        try:
            status = path.stat()
            key: Any = (str(path), status.st_size, status.st_mtime_ns)
        except OSError:
            key = str(path)
        if key not in _open:
            for reader in _open.values():
                reader.close()
            _open.clear()
            _open[key] = _Reader(path)
        return _open[key].at(second)


class _Reader:
    """An open video file and the frame that it was read up to."""

    def __init__(self, path: str | Path) -> None:
        av = require("av", "audio")
        self.path, self._errors = path, (av.FFmpegError, OSError, ValueError, IndexError)
        try:
            if not Path(path).is_file():
                raise FileNotFoundError("no such file")
            self._file = av.open(os.fspath(path))
        except self._errors as error:
            raise BadData(f"cannot read {path} as a video ({error})") from None
        if not self._file.streams.video:
            self._file.close()
            raise BadData(f"{path} has no pictures: no video stream is in it")
        self._stream = self._file.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._first = float((self._stream.start_time or 0) * (self._stream.time_base or 0))
        self._frames: Iterator[tuple[float, Any]] = iter(())
        self._now: tuple[float, Any] | None = None
        self._next: tuple[float, Any] | None = None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def onward(self) -> Iterator[tuple[float, Any]]:
        """Time and frame of each frame from here on, until the file ends or can be decoded no further."""
        broken = 0
        packets = iter(self._file.demux(self._stream))
        while broken < 100:  # packets on end that are damaged: the rest is no video
            try:
                for frame in next(packets).decode():
                    if frame.time is not None:
                        broken = 0
                        yield round(float(frame.time) - self._first, 6), frame
            except StopIteration:
                return
            except self._errors:
                broken += 1

    def at(self, second: float) -> np.ndarray:
        """The pixels shown at a time."""
        if self._now is None or not self._now[0] - _EARLY <= second <= self._now[0] + _ONWARD:
            self._seek(second)
        while self._next is not None and self._next[0] <= second + _EARLY:
            self._now, self._next = self._next, next(self._frames, None)
        if self._now is None or second < self._now[0] - _EARLY:
            raise BadData(f"{self.path} has no frame at {second:g} s")
        if self._next is None and second > self._now[0] + 1:
            raise BadData(f"{self.path} ends at {self._now[0]:g} s; {second:g} s is not in it")
        return _pixels(self._now[1])

    def _seek(self, second: float) -> None:
        """Go to a frame that is not later than a time; the file's first where a seek leads nowhere."""
        for target in (second, second - 2.0, None):
            if target is None or target <= 0:
                self._restart()
            else:
                try:
                    self._file.seek(int((target + self._first) / self._stream.time_base), stream=self._stream)
                except self._errors:
                    continue
            self._frames = self.onward()
            self._now = next(self._frames, None)
            self._next = None if self._now is None else next(self._frames, None)
            if self._now is not None and self._now[0] <= second + _EARLY:
                return

    def _restart(self) -> None:
        """Open the file anew: its first frames are no place that every format can seek to."""
        av = require("av", "audio")
        self._file.close()
        self._file = av.open(os.fspath(self.path))
        self._stream = self._file.streams.video[0]
        self._stream.thread_type = "AUTO"


def _pixels(frame: Any) -> np.ndarray:
    """A frame as (h, w, 3) uint8 RGB, turned as the file says."""
    found = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(found, turns)) if turns else found
