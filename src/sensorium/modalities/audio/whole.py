"""A quick look at a sound file, whether it is whole: without decoding it where its format allows."""

from __future__ import annotations

import os
from pathlib import Path

from sensorium.errors import SensoriumError, require
from sensorium.modalities.audio import declared, files, riff

_HEAD = 1 << 12


def check(path: str | os.PathLike[str]) -> None:
    """Raise BadData, naming the file, for a recording that is truncated, damaged or none at all.

    Of FLAC and Ogg the header and the last sample are read; WAV, and whatever looks doubtful, is read whole.
    """
    if not _sure(Path(path)):
        files.read_mono(path)


def seconds(path: str | os.PathLike[str]) -> float:
    """Length of a sound file, from its header where that can be read, else by decoding it. Raises BadData."""
    soundfile = require("soundfile", "audio")
    try:
        with soundfile.SoundFile(os.open(path, os.O_RDONLY)) as file:
            if 0 < file.frames < 1 << 40:
                return file.frames / file.samplerate
    except Exception:  # libsndfile meets files of other formats with errors of several kinds
        pass
    samples, rate = files.read_channels(path)
    return len(samples) / rate


def _sure(path: Path) -> bool:
    soundfile = require("soundfile", "audio")
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
        if riff.is_wave(head) or declared.end(head) is not None or head[:4] not in (b"fLaC", b"OggS"):
            return False
        with soundfile.SoundFile(os.open(path, os.O_RDONLY)) as file:
            if not 0 < file.frames <= files.MAX_SECONDS * file.samplerate:
                return False
            file.seek(file.frames - 1)
            return len(file.read(1)) == 1
    except SensoriumError:
        raise
    except Exception:  # libsndfile meets damaged files with errors of several kinds; reading it says which
        return False
