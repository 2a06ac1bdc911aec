"""Reading of sound files: any that soundfile or PyAV reads, as mono float32 at one rate; typed errors for the rest."""

from __future__ import annotations

import io
import mmap
import os
import stat
import wave
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData, require
from sensorium.modalities.audio import decoders, excerpts, magic
from sensorium.modalities.audio.samples import as_array, as_rate, to_float
from sensorium.types import Excerpt

RATE = 16_000  # Hz, what speech encoders take
_KINDS = "wav flac ogg oga opus mp3 m4a aac aif aiff au caf wma webm mp4"
SUFFIXES = frozenset(f".{kind}" for kind in _KINDS.split(" "))
MAX_SECONDS = 3600.0  # a longer file is refused before it fills the memory
_RATES = (1_000, 1_000_000)  # Hz; what a header may claim
_MEDIA_TYPES = {"WAV": "audio/wav", "FLAC": "audio/flac", "Ogg": "audio/ogg", "MP3": "audio/mpeg", "AAC": "audio/aac",
                "WebM or Matroska": "audio/webm", "MP4": "audio/mp4"}  # fmt: skip
_WHOLE = 1 << 28  # bytes of a file that are read in one go; a larger one is mapped


def read(source: Any, rate: int = RATE, max_seconds: float = MAX_SECONDS) -> np.ndarray:
    """Mono float32 samples (n,) at ``rate`` Hz from a path, an open binary file or ``(samples, rate)``.

    Several channels are averaged. Integer samples become fractions of full scale.
    Raises BadData when the file is missing, empty, truncated, longer than ``max_seconds``, not
    sound at all, or holds NaN or infinity.
    """
    if hasattr(source, "samples"):  # a recipe for samples, such as an augmented recording
        return source.samples(rate)
    if isinstance(source, tuple) and not isinstance(source, Excerpt):
        (samples, found), name = source, "samples"
    else:
        (samples, found), name = read_channels(source, max_seconds), name_of(source)
    return resample(to_mono(as_array(samples, name), name), as_rate(found, name), rate, name)


def read_channels(source: Any, max_seconds: float = MAX_SECONDS, name: str = "") -> tuple[np.ndarray, int]:
    """Samples (n, channels) as they are in the file, int16 or float32, and their rate in Hz."""
    name, path = name or name_of(source), None
    if isinstance(source, Excerpt):
        return excerpts.read(source, max_seconds)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        content = _content(path, _size(path))
    else:
        content = source if isinstance(source, bytes) else source.read()
    if not len(content):
        raise BadData(f"{name} is empty (0 bytes); restore it, or leave it out")
    samples, rate = decoders.decode(content, name, max_seconds, path)
    if not len(samples):
        raise BadData(f"{name} holds no samples; restore it, or leave it out")
    return samples, rate


def read_mono(source: Any, max_seconds: float = MAX_SECONDS) -> tuple[np.ndarray, int]:
    """Mono float32 samples (n,) at the recording's own rate, and that rate in Hz: see :func:`read`.

    source: as of :func:`read`, or the bytes of a sound file.
    """
    if isinstance(source, tuple) and not isinstance(source, Excerpt):
        samples, rate = source
        return to_mono(as_array(samples)), as_rate(rate)
    name = "the recording" if isinstance(source, bytes) else name_of(source)
    samples, rate = read_channels(source, max_seconds, name)
    return to_mono(samples, name), rate


def to_mono(samples: np.ndarray, name: str = "samples") -> np.ndarray:
    """(n,) or (n, channels) as finite mono float32, scaled by the rule of ``samples.to_float``."""
    if samples.ndim not in (1, 2) or not len(samples):
        raise BadData(f"{name}: samples of shape {samples.shape}; expected (n,) or (n, channels) with n of 1 or more")
    samples = to_float(samples, name)
    if samples.ndim == 2:  # a mean over one channel takes longer than reading the file
        samples = samples.mean(1, dtype=np.float64) if samples.shape[1] > 1 else samples[:, 0]
    return np.ascontiguousarray(samples, np.float32)


def resample(samples: np.ndarray, found: int, rate: int, name: str = "samples") -> np.ndarray:
    """Samples (n,) from ``found`` to ``rate`` Hz by soxr's high-quality filter; at least one sample is left.

    Raises BadData for a rate that no recording has.
    """
    check_rate(found, name)
    if found == rate:
        return samples
    changed = _soxr().resample(samples, found, rate, quality="HQ")
    # So few samples that none is left at the lower rate: their mean stands for them.
    return changed if len(changed) else samples.mean(keepdims=True)


def check_rate(rate: int, name: str = "") -> None:
    """Raise BadData unless a rate in Hz is one that recordings have."""
    if not _RATES[0] <= rate <= _RATES[1]:
        raise BadData(f"{name}{': ' if name else ''}sampling rate {rate} Hz; expected {_RATES[0]} to {_RATES[1]} Hz")


class Resampler:
    """Resampling of a stream: the output does not depend on how the input is cut into chunks.

    Raises BadData for a rate that no recording has.
    """

    def __init__(self, found: int, rate: int = RATE) -> None:
        check_rate(as_rate(found))
        self.stream = None if found == rate else _soxr().ResampleStream(found, rate, 1, "float32", quality="HQ")

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """Samples (n,) in, (k,) float32 out; ``last`` returns the filter's tail too and ends the stream."""
        if self.stream is None:
            return samples
        return self.stream.resample_chunk(np.ascontiguousarray(samples, np.float32), last=last)


def from_bytes(data: bytes, encoding: str = "pcm16", name: str = "samples") -> np.ndarray:
    """Little-endian "pcm16" or "float32" bytes as float32 samples (n,).

    Raises BadData for bytes that do not fill whole samples, for NaN and infinity, and for an unknown encoding.
    """
    kinds = {"pcm16": "<i2", "float32": "<f4"}
    if encoding not in kinds:
        raise BadData(f"encoding '{encoding}'; expected {' or '.join(kinds)}")
    width = np.dtype(kinds[encoding]).itemsize
    if len(data) % width:
        raise BadData(f"{name}: {len(data)} bytes are no whole number of {encoding} samples of {width} bytes")
    if not data:
        return np.zeros(0, np.float32)
    return to_mono(np.frombuffer(data, kinds[encoding]), name)


def unreadable(sources: Sequence[Any]) -> dict[int, str]:
    """Position → what is wrong, of the recordings that cannot be read; each is read to its end."""

    def fault(source: Any) -> str | None:
        try:
            read(source)
        except BadData as error:
            return str(error)
        return None

    with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0)))) as pool:
        return {i: found for i, found in enumerate(pool.map(fault, sources)) if found is not None}


def counted(error: BadData, sources: Sequence[Any]) -> BadData:
    """The error at the first bad recording, with the count of the others."""
    broken = unreadable(sources)
    if not broken:
        return error
    return BadData(
        f"{len(broken)} of {len(sources)} recordings cannot be read, such as: {next(iter(broken.values()))}; "
        "or leave them all out with data.bad=skip"
    )


def wav(samples: np.ndarray, rate: int) -> bytes:
    """Samples (n,) or (n, channels) as a WAV file of 16 bits; float samples are clipped to full scale."""
    if samples.dtype.kind == "f":
        samples = np.clip(np.round(samples * 32767), -32768, 32767)
    elif samples.dtype != np.int16:
        raise BadData(f"samples of type {samples.dtype}; expected float or int16")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((samples.shape[1] if samples.ndim == 2 else 1, 2, rate, len(samples), "NONE", ""))
        file.writeframes(np.ascontiguousarray(samples, "<i2").tobytes())
    return out.getvalue()


def pack(value: Any) -> bytes | None:
    """(samples, rate), or an excerpt of a file, as WAV; None for anything else."""
    if isinstance(value, Excerpt):
        return wav(*read_mono(value))
    return wav(np.asarray(value[0]), int(value[1])) if isinstance(value, tuple) and len(value) == 2 else None


def media_type_of(content: bytes) -> str:
    """The media type of a sound file by its first bytes."""
    return _MEDIA_TYPES.get(magic.container(content[: magic.NEEDED]), "application/octet-stream")


def name_of(source: Any) -> str:
    """Name of a source in messages."""
    if isinstance(source, Excerpt):
        return f"{source.path} from {source.begin:g} to {source.end:g} s"
    return str(getattr(source, "name", source)) if hasattr(source, "read") else str(source)


def _size(path: Path) -> int:
    """Bytes of a file that is there and not empty."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # a path may hold what no file system takes
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise BadData(f"no sound file {path}; expected one of the formats that soundfile or PyAV reads")
    if not status.st_size:
        raise BadData(f"{path} is empty (0 bytes); restore it, or leave it out")
    return status.st_size


def _content(path: Path, size: int) -> bytes | mmap.mmap:
    """A file's bytes, in one read, as threads that read side by side wait for one another at every call."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(size) if size <= _WHOLE else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise BadData(f"{path} cannot be read ({error.strerror}); correct that, or leave it out") from None


def _soxr() -> Any:
    return require("soxr", "audio")
