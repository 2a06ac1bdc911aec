"""Length of a sound file by its own header, to detect truncation, which the decoders do not report."""

from __future__ import annotations

import struct

_UNKNOWN = 0x7FF00000  # lengths from here on are what streaming writers leave


def end(content: bytes) -> int | None:
    """Byte at which the file ends as its header declares, by format; None where the header does not say.

    Content is truncated when it is shorter. AIFF, AU, CAF, RF64, W64, MP4 and WebM or Matroska are known here.
    """
    head = content[:16]
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _chunk_end(content, 12, ">4sI", b"SSND")
    if head[:4] == b".snd" and len(head) == 16:
        start, size = struct.unpack_from(">II", head, 4)
        return start + size if size < _UNKNOWN else None
    if head[:4] == b"caff":
        return _chunk_end(content, 8, ">4sq", b"data", pad=1)
    if head[:4] in (b"RF64", b"BW64") and content[12:16] == b"ds64" and len(content) >= 36:
        size = struct.unpack_from("<Q", content, 28)[0]
        at = content.find(b"data", 48, 1 << 16)
        return at + 8 + size if at > 0 and 0 < size < 1 << 62 else None
    if head == b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00":  # GUID of Sony Wave64
        size = struct.unpack_from("<Q", content, 16)[0] if len(content) >= 24 else 0
        return size if 0 < size < 1 << 62 else None
    if head[4:8] == b"ftyp":
        return _boxes_end(content)
    if head[:4] == b"\x1aE\xdf\xa3":
        return _ebml_end(content)
    return None


def _chunk_end(content: bytes, at: int, layout: str, name: bytes, pad: int = 2) -> int | None:
    """End of the chunk of samples; of the chunk that crosses the end where it is not reached."""
    width = struct.calcsize(layout)
    while at + width <= len(content):
        kind, size = struct.unpack_from(layout, content, at)
        if kind == name and not 0 < size < _UNKNOWN:
            return None
        stop = at + width + max(size, 0)
        if kind == name or stop > len(content):
            return stop
        at = stop + (-size % pad)
    return None


def _boxes_end(content: bytes) -> int:
    """End of the last box of an MP4 file."""
    at = 0
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        if size == 1 and at + 16 <= len(content):
            size = int.from_bytes(content[at + 8 : at + 16], "big")
        if size == 0:  # to the end of the file
            return len(content)
        if size < 8 or (at and _begins(content, at)):  # no box: what follows is something else
            return at
        at += size
    return at


#: EBML elements whose length may be unknown, which are entered then: Segment, Cluster.
_ENTERED = (0x18538067, 0x1F43B675)


def _ebml_end(content: bytes) -> int | None:
    """End of the last element of a Matroska or WebM file; elements of unknown length are entered."""
    at = 0
    while at < len(content):
        if at and _begins(content, at):
            return at
        kind, at_size = _ebml_number(content, at, True)
        size, start = _ebml_number(content, at_size, False)
        if start > len(content) or not kind:
            return start
        if size is None:
            if kind not in _ENTERED:
                return None
            at = start
            continue
        at = start + size
    return at


def _begins(content: bytes, at: int) -> bool:
    """Whether another sound file, or a tag, begins at a byte where an element of this one could."""
    head = content[at : at + 8]
    if head[4:] == b"ftyp" or head[:3] in (b"TAG", b"ID3") or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
        return True
    return head[:4] in (b"RIFF", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff", b"\x1aE\xdf\xa3")


def _ebml_number(content: bytes, at: int, marker: bool) -> tuple[int | None, int]:
    """A number of 1 to 8 bytes, with its length marker or without, and where it ends; None for "unknown"."""
    first = content[at] if at < len(content) else 0
    width = 9 - first.bit_length() if first else 9
    raw = int.from_bytes(content[at : at + width], "big")
    if marker:
        return raw, at + width
    value = raw & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), at + width
