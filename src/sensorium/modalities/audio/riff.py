"""WAV headers: where the samples are, whatever the lengths in the header say, and whether any are missing."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from sensorium.errors import BadData
from sensorium.modalities.audio import magic

#: Lengths from here on are what streaming writers leave in a header: 0x7ffff000, 0x80000000, 0xffffffff and the like.
UNKNOWN = 0x7FF00000
_PCM, _EXTENSIBLE = 1, 0xFFFE


class Wave(NamedTuple):
    """One WAV file within ``content``: bytes ``at`` to ``stop``, its samples from ``start`` on.

    tag: format tag, 1 for PCM. step: bytes of one sample of all channels. riff, data: the declared lengths.
    """

    at: int
    start: int
    stop: int
    tag: int
    channels: int
    rate: int
    step: int
    bits: int
    riff: int
    data: int


def is_wave(content: bytes, at: int = 0) -> bool:
    """Whether a WAV file begins at this byte."""
    return content[at : at + 4] == b"RIFF" and content[at + 8 : at + 12] == b"WAVE"


def waves(content: bytes, name: str) -> list[Wave]:
    """The WAV files of which content consists: one, or several laid end to end.

    Lengths that are 0, or what a streaming writer leaves, mean "to the end", or to the header of the next sound file.
    A RIFF length that is too large is ignored when the samples are whole, and a data length that is too large when
    the RIFF length says that the file is. Raises BadData for a truncated file and for a header that describes no sound.
    """
    found, at = [], 0
    while is_wave(content, at):
        one = _wave(content, at, name)
        found.append(one)
        at = one.stop + (one.stop - one.start) % 2
    return found


def pcm16(content: bytes, wave: Wave) -> np.ndarray | None:
    """Samples (n, channels) int16 without a copy; None for samples of another type."""
    if (wave.tag, wave.bits, wave.step) != (_PCM, 16, 2 * wave.channels):
        return None
    count = (wave.stop - wave.start) // wave.step * wave.channels
    return np.frombuffer(content, "<i2", count, wave.start).reshape(-1, wave.channels)


def contradiction(content: bytes, name: str) -> str:
    """What the header of a WAV file says of its rate or length that the file itself contradicts; "" where nothing.

    A header states the rate twice, as Hz and as bytes a second. A length is contradicted where bytes follow the samples
    that are no chunks, more than 0.1 s and 1% of them. Raises BadData as :func:`waves` does.
    """
    found = waves(content, name)
    if len(found) != 1:
        return ""
    one, at = found[0], content.find(b"fmt ", 12)
    byte_rate = struct.unpack_from("<I", content, at + 16)[0]
    if one.tag == _PCM and byte_rate and byte_rate != one.rate * one.step:
        return f"its header says {one.rate} Hz, and {byte_rate} bytes a second, which are {byte_rate / one.step:g} Hz"
    stop = one.stop + (one.stop - one.start) % 2
    said, there = ((end - one.start) / (one.step * one.rate) for end in (one.stop, len(content)))
    if there - said > max(0.1, 0.01 * said) and not _ends_in_chunks(content, stop):
        return f"its header says {said:g} s, but the file has {there:g} s"
    return ""


def corrected(content: bytes, wave: Wave) -> bytes:
    """One WAV file by itself, with the lengths that it has."""
    head, samples = bytearray(content[wave.at : wave.start]), content[wave.start : wave.stop]
    struct.pack_into("<I", head, 4, len(head) + len(samples) - 8)
    struct.pack_into("<I", head, len(head) - 4, len(samples))
    return bytes(head) + samples


def _wave(content: bytes, first: int, name: str) -> Wave:
    size = len(content)
    riff = int.from_bytes(content[first + 4 : first + 8], "little")
    at, form = first + 12, None
    while at + 8 <= size:
        kind, length = struct.unpack_from("<4sI", content, at)
        if kind == b"data":
            break
        if kind == b"fmt " and length >= 16 and at + 24 <= size:
            form = struct.unpack_from("<HHIIHH", content, at + 8)
        at += 8 + length + length % 2
    if form is None or at + 8 > size:
        end = max(at + 8, first + 8 + riff if riff < UNKNOWN else 0)
        if end > size:
            raise BadData(f"{name} is truncated: {size} of {end} bytes are there; restore it")
        raise BadData(f"{name} cannot be read as sound: it has no format before its samples; restore it")
    tag, channels, rate, _, step, bits = form
    if not channels or not rate or not step:
        raise BadData(
            f"{name} cannot be read as sound: its header declares {channels} channels at {rate} Hz, {step} bytes each"
        )
    start, there = at + 8, size - at - 8
    if length >= UNKNOWN or (length == 0 and not _ends_in_chunks(content, start)):
        after = magic.HEADER.search(content, start)
        length = after.start() - start if after else there
    elif length > there:
        if not riff >= 36 or first + 8 + riff > size:
            raise BadData(f"{name} is truncated: {size} of {start + length} bytes are there; restore it")
        length = there
    declared = struct.unpack_from("<I", content, at + 4)[0]
    return Wave(first, start, start + length, tag, channels, rate, step, bits, riff, declared)


def _ends_in_chunks(content: bytes, at: int) -> bool:
    """Whether nothing but whole chunks with names of letters follow to the end."""
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        if not (kind.isascii() and kind.decode("ascii").strip().isalnum()):
            return False
        at += 8 + length + length % 2
    return at in (len(content), len(content) + 1)
