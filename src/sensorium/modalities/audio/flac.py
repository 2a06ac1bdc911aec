"""FLAC: where each recording of a file ends, by the header of its last frame."""

from __future__ import annotations

from typing import NamedTuple

from sensorium.modalities.audio import magic
from sensorium.modalities.audio.mp3 import Part

_STREAMINFO = (b"\0\0\0\x22", b"\x80\0\0\x22")  # header of the block that comes first, or is the only one
_FRAMES = 4  # frames of MP3 or AAC one after the other that no samples of FLAC have by chance
_TRIES = 10_000  # places that are looked at; of 100 MB of samples some 2,000 look like the begin of a frame


class Frame(NamedTuple):
    """A frame header: its number (of the frame, or of its first sample where sizes vary), and its samples."""

    number: int
    samples: int
    varies: bool


def parts(content: bytes) -> list[Part]:
    """The FLAC recordings with which a file begins; the last one ends where a file of another format begins.

    Without the total number of samples in its header, a recording ends where the next FLAC one begins.
    """
    found, start = [], 0
    while start < len(content):
        stop = _next(content, start + 4)
        last = _last_frame(content, start, stop)
        other = stop if last is None else _other(content, last, stop)
        found.append(Part(start, other))
        if other < stop:
            break
        start = stop
    return found


def frame(content: bytes, at: int) -> Frame | None:
    """The frame whose header begins here; None where none does, or its checksum (CRC-8) is another. RFC 9639, 9.1."""
    head = content[at : at + 16]
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    ones = 8 - (head[4] ^ 0xFF).bit_length()  # leading ones, as in UTF-8: bytes of the number
    if ones in (1, 8):
        return None
    number, stop = head[4] & (0x7F >> ones), 5 + max(0, ones - 1)
    for byte in head[5:stop]:
        number = number << 6 | byte & 0x3F
    size, rate = head[2] >> 4, head[2] & 15
    wide = size - 5 if size in (6, 7) else 0  # bytes of a size that is written out
    samples = int.from_bytes(head[stop : stop + wide], "big") + 1 if wide else _samples(size)
    stop += wide + (0 if rate < 12 else 1 if rate == 12 else 2)
    if stop >= len(head) or not samples or _crc8(head[:stop]) != head[stop]:
        return None
    return Frame(number, samples, bool(head[1] & 1))


def _samples(code: int) -> int:
    """Samples of a frame by the code in its header; 0 for a reserved one."""
    if code == 1:
        return 192
    return 576 << code - 2 if 2 <= code <= 5 else 256 << code - 8 if code >= 8 else 0


def _crc8(content: bytes) -> int:
    value = 0
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x07 if value & 0x80 else 0)) & 0xFF
    return value


def _next(content: bytes, at: int) -> int:
    """Where the next FLAC recording begins; the length of content where none does."""
    while (at := content.find(b"fLaC", at)) >= 0:  # one search: it is a few per cent of the time that decoding takes
        if content[at + 4 : at + 8] in _STREAMINFO:
            return at
        at += 4
    return len(content)


def _last_frame(content: bytes, start: int, stop: int) -> int | None:
    """Where the last frame of the recording at ``start`` begins; None where the header has no number of samples."""
    info = content[start + 8 : start + 42]
    total = int.from_bytes(info[13:18], "big") & ((1 << 36) - 1)
    block, first, is_last = int.from_bytes(info[2:4], "big"), start + 4, False
    while not is_last and first + 4 <= stop:  # blocks of metadata
        is_last = content[first] >= 0x80
        first += 4 + int.from_bytes(content[first + 1 : first + 4], "big")
    sync, at = content[first : first + 2], stop
    if not total or len(sync) < 2:
        return None
    for _ in range(_TRIES):
        at = content.rfind(sync, first, at)
        if at < 0:
            return None
        found = frame(content, at)
        if found and found.number * (1 if found.varies else block) + found.samples == total:
            return at
    return None


def _other(content: bytes, at: int, stop: int) -> int:
    """Where a file of another format begins, from the last frame at ``at`` on; ``stop`` where none does."""
    found = magic.HEADER.search(content, at, stop)
    stop = found.start() if found else stop
    here = at
    for _ in range(_TRIES):
        here = content.find(b"\xff", here + 1, stop)
        if here < 0 or _follow(content, here):
            break
    else:
        return stop
    return stop if here < 0 else here


def _follow(content: bytes, at: int) -> bool:
    """Whether frames of MP3 or of AAC follow one another from here."""
    for length in (magic.mp3_frame, magic.aac_frame):
        here = at
        for count in range(_FRAMES):
            size = length(content[here : here + 64])
            if not size:
                break
            here += size
            if count == _FRAMES - 1:
                return True
    return False
