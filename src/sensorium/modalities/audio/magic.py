"""Container formats of sound by their first bytes: to refuse a file where raw samples are expected."""

from __future__ import annotations

#: Bytes that are enough for :func:`container`.
NEEDED = 4096
_MARKS = {
    b"RIFF": "WAV", b"RIFX": "WAV", b"RF64": "WAV", b"OggS": "Ogg", b"fLaC": "FLAC",
    b"\x1aE\xdf\xa3": "WebM or Matroska",
    b"ID3": "MP3", b"FORM": "AIFF", b"caff": "CAF", b"0&\xb2u": "WMA", b".snd": "AU", b"#!AMR": "AMR",
}  # fmt: skip
_BITRATES = {  # kbit/s of MPEG layer III, by version (1: MPEG 1, 0: MPEG 2 and 2.5)
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    0: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


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
    for name, length in (("MP3", _mp3_frame), ("AAC", _aac_frame)):
        first = length(head)
        if first and length(head[first:]):
            return name
    return None


def _mp3_frame(data: bytes) -> int:
    """Bytes of the MPEG layer III frame that begins here; 0 where none does."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:
        return 0
    version, rate, bits = data[1] >> 3 & 3, data[2] >> 2 & 3, data[2] >> 4
    if version == 1 or rate == 3 or bits in (0, 15):
        return 0
    newest = int(version == 3)
    return (144 if newest else 72) * 1000 * _BITRATES[newest][bits] // _RATES[version][rate] + (data[2] >> 1 & 1)


def _aac_frame(data: bytes) -> int:
    """Bytes of the ADTS frame that begins here; 0 where none does."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0 or data[2] >> 2 & 15 > 12:
        return 0
    size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    return size if size > 7 else 0
