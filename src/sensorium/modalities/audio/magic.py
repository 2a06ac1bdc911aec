"""Magic bytes: container formats of sound, to refuse a file where raw samples are expected."""

from __future__ import annotations

import re

from sensorium.modalities.audio import mp3

#: Bytes that are enough for :func:`container`.
NEEDED = 4096
_MARKS = {
    b"RIFF": "WAV", b"RIFX": "WAV", b"RF64": "WAV", b"OggS": "Ogg", b"fLaC": "FLAC",
    b"\x1aE\xdf\xa3": "WebM or Matroska", b"riff\x2e\x91\xcf\x11": "WAV",
    b"ID3": "MP3", b"FORM": "AIFF", b"caff": "CAF", b"0&\xb2u": "WMA", b".snd": "AU", b"#!AMR": "AMR",
}  # fmt: skip

#: Headers of sound files, with enough of each that samples and pictures do not have it by chance.
HEADER = re.compile(
    rb"RIFF....WAVE|riff\x2e\x91\xcf\x11|RF64....WAVE|FORM....AIF[FC]|fLaC[\0\x80]\0\0\x22|OggS\0\x02\0{8}"
    rb"|caff\0\x01\0\0|\.snd\0\0..[\0\xff]...\0\0\0.|\x1aE\xdf\xa3[^\0].{0,60}?(?:webm|matroska)|\0\0..ftyp",
    re.DOTALL,
)


def container(head: bytes) -> str | None:
    """Name of the container format of a file that begins with ``head``; None for raw samples, as far as it shows.

    Frames of MP3 and AAC without a tag count from the second frame on, as two bytes of sync may be samples too.
    """
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        # The type at byte 8 is awaited: four bytes alone may be samples.
        kind = head[8:12]
        return _MARKS[head[:4]] if kind in (b"WAVE", b"AIFF", b"AIFC", b"AVI ") else None
    if head[:3] == b"ID3":
        return "MP3" if len(head) >= 10 and head[3] < 0xFF and head[4] < 0xFF and max(head[6:10]) < 0x80 else None
    if head[4:8] == b"ftyp":
        return "MP4"
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    for name, length in (("MP3", mp3_frame), ("AAC", aac_frame)):
        first = length(head)
        if first and length(head[first:]):
            return name
    return None


def mp3_frame(data: bytes) -> int:
    """Bytes of the MPEG layer III frame that begins here; 0 where none does."""
    found = mp3.frame(data, 0)
    return found.size if found else 0


def aac_frame(data: bytes) -> int:
    """Bytes of the ADTS frame that begins here; 0 where none does."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0 or data[2] >> 2 & 15 > 12:
        return 0
    size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    return size if size > 7 else 0
