"""Decoding of sound files, complete or an error: soundfile where it reads the format, else PyAV."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData, SensoriumError, require
from sensorium.modalities.audio import declared, joined, riff

_BLOCK = 1 << 20  # samples of all channels that are read at once where a file does not say how many it has
_MANY = 1 << 40  # samples that no file has: what a streaming writer leaves
#: Containers whose header states the length of their sound, for PyAV; of others it is an estimate.
_STATED = ("matroska", "mov", "asf", "flac")
_SLACK = 0.25, 0.02  # seconds, and share of the stated length, by which priming and padding may shorten it


def decode(content: bytes, name: str, max_seconds: float, path: Path | None = None) -> tuple[np.ndarray, int]:
    """Samples (n, channels) int16 or float32 of a sound file, and their rate in Hz.

    Several recordings laid end to end are read one after the other, at the rate of the first. path: of
    the file, which libraries read faster than bytes in memory.

    Raises BadData, naming the file, for one that is truncated, longer than ``max_seconds`` or no sound.
    """
    blocks: list[tuple[np.ndarray, int]] = []
    while True:
        found, stop = _leading(content, name, max_seconds, path)
        blocks += found
        if stop >= len(content):
            return _join(blocks, name, max_seconds)
        content, path = bytes(content[stop:]), None


def _leading(
    content: bytes, name: str, max_seconds: float, path: Path | None
) -> tuple[list[tuple[np.ndarray, int]], int]:
    """The recordings of one format with which content begins, and where one of another format or file follows."""
    if riff.is_wave(content):
        waves = riff.waves(content, name)
        blocks = [_wave(content, one, name, max_seconds, path) for one in waves]
        return blocks, joined.following(content, waves[-1].stop)
    end = declared.end(content)
    if end is not None and end > len(content):
        raise BadData(f"{name} is truncated: {len(content)} of {end} bytes are there; restore it")
    parts = joined.parts(content, name)
    stop = joined.following(content, parts[-1].stop if end is None else end)
    if content[:4] == b"riff" and end is not None:  # Wave64, which libsndfile reads beyond its end
        return [_decode(bytes(content[:end]), name, max_seconds)], stop
    if stop == len(content) and len(parts) == 1:
        return [_decode(content, name, max_seconds, parts[0].samples, path)], stop
    pieces = [(bytes(content[one.start : min(one.stop, stop)]), one.samples) for one in parts]
    return [_decode(piece, name, max_seconds, samples) for piece, samples in pieces], stop


def _wave(content: bytes, wave: riff.Wave, name: str, max_seconds: float, path: Path | None) -> tuple[np.ndarray, int]:
    samples = riff.pcm16(content, wave)
    if samples is not None:
        _check_length(len(samples) / wave.rate, name, max_seconds)
        return samples, wave.rate
    whole = wave.at == 0 and wave.riff + 8 == len(content) and wave.data == wave.stop - wave.start
    return (
        _decode(content, name, max_seconds, 0, path)
        if whole
        else _decode(riff.corrected(content, wave), name, max_seconds)
    )


def _join(blocks: list[tuple[np.ndarray, int]], name: str, max_seconds: float) -> tuple[np.ndarray, int]:
    """Blocks one after the other, at the rate of the longest; of several channels their mean where channels differ."""
    if len(blocks) == 1:
        return blocks[0]
    _check_length(sum(len(x) / rate for x, rate in blocks), name, max_seconds)
    from sensorium.modalities.audio.files import resample, to_mono

    rate = max(blocks, key=lambda block: len(block[0]) / block[1])[1]
    if len({(x.shape[1:], x.dtype, r) for x, r in blocks}) == 1:
        return np.concatenate([x for x, _ in blocks]), rate
    mono = [resample(to_mono(x, name), found, rate, name) for x, found in blocks if len(x)]
    return (np.concatenate(mono)[:, None] if mono else np.zeros((0, 1), np.float32)), rate


def _decode(
    content: bytes, name: str, max_seconds: float, at_least: int = 0, path: Path | None = None
) -> tuple[np.ndarray, int]:
    """One recording by soundfile, or by PyAV where soundfile cannot read it or finds less than ``at_least``."""
    soundfile = require("soundfile", "audio")
    source = _Bytes(content) if path is None else None
    try:
        with soundfile.SoundFile(os.open(path, os.O_RDONLY) if source is None else source) as file:
            samples, rate = _read(file, name, max_seconds), file.samplerate
        if len(samples) >= at_least - 2 * 1152:  # frames of MP3
            return samples, rate
        fault = f"{len(samples)} of {at_least} samples"
    except (SensoriumError, MemoryError):
        raise
    except Exception as error:  # it meets damaged files with errors of several kinds
        fault = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return _decode_av(io.BytesIO(content) if isinstance(content, bytes) else str(path), name, max_seconds, fault)


class _Bytes(io.BytesIO):
    """Bytes as a file; a damaged header makes libsndfile seek before the start, which then does nothing."""

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of a file, but a place before the start is ignored."""
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def _read(file: Any, name: str, max_seconds: float) -> np.ndarray:
    """All samples of an open file; BadData when there are fewer than it declares."""
    # Floats are the same numbers. From FLAC they take no longer; from plain PCM up to three times as long.
    dtype = "int16" if file.subtype == "PCM_16" and file.format != "FLAC" else "float32"
    known = file.frames < _MANY
    # An MP3 file without Xing header has only an estimate, which may be too small as well as too large.
    estimated = file.format == "MP3"
    if known and not estimated:
        _check_length(file.frames / file.samplerate, name, max_seconds)
    blocks, count, most = [], 0, file.frames if known else max(1, _BLOCK // file.channels)
    while len(block := file.read(most, dtype=dtype, always_2d=True)):
        blocks.append(block)
        count += len(block)
        _check_length(count / file.samplerate, name, max_seconds)
        if known and count >= file.frames:
            break
    if known and not estimated and count < file.frames:
        raise BadData(f"{name} is truncated: {count} of {file.frames} samples are there; restore it")
    return np.concatenate(blocks) if len(blocks) != 1 else blocks[0]


def _decode_av(source: Any, name: str, max_seconds: float, fault: str) -> tuple[np.ndarray, int]:
    av = require("av", "audio")
    try:
        with av.open(source) as container:
            if not container.streams.audio:
                raise BadData(f"{name} has no sound in it; expected a recording")
            blocks = _frames(container, name, max_seconds)
            stated = _stated_seconds(container)
    except (SensoriumError, MemoryError):
        raise
    except Exception as error:
        other = error.strerror if isinstance(error, av.FFmpegError) else error
        raise BadData(
            f"{name} cannot be read as sound (soundfile: {fault.strip()} PyAV: {other}); restore it"
        ) from None
    seconds = sum(len(x) / rate for x, rate in blocks)
    if stated is not None and seconds < stated - max(_SLACK[0], _SLACK[1] * stated):
        raise BadData(f"{name} is truncated: {seconds:.2f} of {stated:.2f} s are there; restore it")
    if not blocks:
        raise BadData(f"{name} holds no samples; restore it, or leave it out")
    return _join(blocks, name, max_seconds)


def _frames(container: Any, name: str, max_seconds: float) -> list[tuple[np.ndarray, int]]:
    """Samples (n, channels) float32 and rate of each stretch of equal rate and channels."""
    import av

    found: list[tuple[np.ndarray, int]] = []
    blocks: list[np.ndarray] = []
    form, seconds, resampler = None, 0.0, None

    def take(frames: list[Any]) -> None:
        # Samples of all channels in one plane: PyAV reads past the eighth of separate planes.
        blocks.extend(frame.to_ndarray().reshape(-1, frame.layout.nb_channels) for frame in frames)

    def close() -> None:
        if resampler is not None:
            take(resampler.resample(None))
        if blocks:
            found.append((np.concatenate(blocks), form[0]))
            blocks.clear()

    for frame in container.decode(audio=0):
        now = (frame.sample_rate, frame.layout.name, frame.format.name)
        if now != form:
            close()
            form, resampler = now, av.AudioResampler(format="flt")
        take(resampler.resample(frame))
        seconds += frame.samples / frame.sample_rate
        _check_length(seconds, name, max_seconds)
    close()
    return found


def _stated_seconds(container: Any) -> float | None:
    """Length of the sound that the header states; None where the container states none, or that of a picture too."""
    if not container.format.name.startswith(_STATED):
        return None
    stream = container.streams.audio[0]
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is None or len(container.streams) > 1:
        return None
    return container.duration / 1e6


def _check_length(seconds: float, name: str, max_seconds: float) -> None:
    if seconds > max_seconds:
        raise BadData(f"{name} is {seconds:.0f} s long; at most {max_seconds:.0f} s are read: cut it into parts")
