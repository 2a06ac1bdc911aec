"""MPEG audio layer III: frames and their headers, and concatenated recordings in one file."""

from __future__ import annotations

from typing import NamedTuple

from sensorium.errors import BadData


class Part(NamedTuple):
    """One recording: bytes start to stop. samples: how many it has at least, where that can be counted; else 0."""

    start: int
    stop: int
    samples: int = 0


_BITRATES = (  # kbit/s
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
)
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_OTHERS = (b"RIFF", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff", b".snd", b"\x1aE\xdf\xa3")  # no frame begins so
_SPARE = 2  # frames more than declared that are no recording of their own


class Frame(NamedTuple):
    """One frame: its bytes, rate in Hz, channels, samples of one channel, and what a header in it declares."""

    size: int
    rate: int
    mono: bool
    samples: int
    declared: int | None  # frames, where this frame is a Xing, Info or VBRI header
    header: bool


def frame(content: bytes, at: int) -> Frame | None:
    """The layer III frame that begins here; None where none does, or its bit rate is free."""
    head = content[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, rate, bits = head[1] >> 3 & 3, head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or rate == 3 or bits in (0, 15):
        return None
    newest, mono = version == 3, head[3] >> 6 == 3
    hertz = _RATES[version][rate]
    size = (144 if newest else 72) * 1000 * _BITRATES[not newest][bits] // hertz + (head[2] >> 1 & 1)
    side = (17 if mono else 32) if newest else (9 if mono else 17)
    tag = content[at + 4 + side : at + 4 + side + 12]
    header, declared = tag[:4] in (b"Xing", b"Info"), None
    if header and tag[7:8] and tag[7] & 1:
        declared = int.from_bytes(tag[8:12], "big")
    if content[at + 36 : at + 40] == b"VBRI":
        header, declared = True, int.from_bytes(content[at + 50 : at + 54], "big")
    return Frame(size, hertz, mono, 1152 if newest else 576, declared, header)


def _tag(content: bytes, at: int) -> int:
    """Bytes of the ID3 or APE tag that begins here; 0 where none does."""
    if content[at : at + 3] == b"ID3" and at + 10 <= len(content):
        a, b, c, d = content[at + 6 : at + 10]
        return 10 + (a << 21 | b << 14 | c << 7 | d) + 10 * (content[at + 5] >> 4 & 1)
    if content[at : at + 3] == b"TAG":
        return 128
    if content[at : at + 8] == b"APETAGEX":
        return 32 + int.from_bytes(content[at + 12 : at + 16], "little")
    return 0


def _other(content: bytes, at: int) -> bool:
    """Whether a file of another format begins here."""
    return content[at : at + 4] in _OTHERS or content[at + 4 : at + 8] == b"ftyp"


def begins(content: bytes, at: int) -> bool:
    """Whether an MP3 file begins here: two frames, perhaps after a tag."""
    if content[at : at + 3] == b"ID3":
        at += _tag(content, at)
    first = frame(content, at)
    return first is not None and frame(content, at + first.size) is not None


def parts(content: bytes, name: str) -> list[Part]:
    """Recordings of an MP3 file: each begins with a header of its own, after a tag, at another rate, or after as many
    frames as the header before it declares. Empty when no two frames follow one another."""
    found: list[Part] = []
    at = start = frames = samples = 0
    first: Frame | None = None

    def close(stop: int) -> None:
        nonlocal start, frames, samples, first
        if first is not None and first.declared and frames < first.declared - 1:
            raise BadData(f"{name} is truncated: {frames} of {first.declared} frames are there; restore it")
        spare = found and frames <= _SPARE and (first is None or not first.header)
        if spare:
            found[-1] = found[-1]._replace(stop=stop)
        elif first is not None and frames:
            found.append(Part(start, stop, samples))
        start, frames, samples, first = stop, 0, 0, None

    while at < len(content):
        if skipped := _tag(content, at):
            if content[at : at + 3] == b"ID3" and first is not None:
                close(at)
            at += skipped
            continue
        here = frame(content, at)
        if here is None or not (frames or frame(content, at + here.size) or _tag(content, at + here.size)):
            after = content.find(b"\xff", at + 1)
            if after < 0 or ((found or frames) and _other(content, at)):
                break
            at = after
            continue
        if at + here.size > len(content):  # its end is missing: no decoder gives a sample of it
            break
        other = first is not None and (here.rate, here.mono) != (first.rate, first.mono)
        full = first is not None and first.declared and frames >= first.declared
        if first is not None and (here.header or other or full):
            close(at)
        first = first or here
        frames += not here.header
        samples += 0 if here.header else here.samples
        at += here.size
    close(at if frames and _other(content, at) else len(content))
    return found
