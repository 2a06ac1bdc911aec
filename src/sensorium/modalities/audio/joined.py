"""Concatenated recordings in one file: chained Ogg, MP3 and FLAC, found by their headers."""

from __future__ import annotations

from sensorium.errors import BadData
from sensorium.modalities.audio import mp3
from sensorium.modalities.audio.mp3 import Part


def parts(content: bytes, name: str) -> list[Part]:
    """The recordings of which a file consists; one, all of it, where its format is not Ogg, MP3 or FLAC.

    Raises BadData for an Ogg file without its end, and for an MP3 file with fewer frames than it declares.
    """
    if content[:4] == b"OggS":
        return _ogg(content, name)
    if content[:4] == b"fLaC":
        return _flac(content)
    if (content[:3] == b"ID3" or content[:1] == b"\xff") and (found := mp3.parts(content, name)):
        return found
    return [Part(0, len(content))]


def _flac(content: bytes) -> list[Part]:
    starts, at = [0], content.find(b"fLaC", 4)  # one search: it is a few per cent of the time that decoding takes
    while at > 0:
        if content[at + 4 : at + 8] in _STREAMINFO:
            starts.append(at)
        at = content.find(b"fLaC", at + 4)
    return [Part(start, stop) for start, stop in zip(starts, [*starts[1:], len(content)], strict=True)]


_STREAMINFO = (b"\0\0\0\x22", b"\x80\0\0\x22")  # header of the block that comes first, or is the only one
_BEGINS, _ENDS = 2, 4  # flags of an Ogg page


def _ogg(content: bytes, name: str) -> list[Part]:
    """Links of a chained Ogg file: a page that begins a stream, after pages that do not, begins a link."""
    starts, ended, begun, at = [0], False, True, 0
    while at < len(content):
        if content[at : at + 4] != b"OggS":  # junk between pages, or after the last
            at = content.find(b"OggS", at)
            if at < 0:
                break
            continue
        segments = content[at + 26] if at + 27 <= len(content) else 255
        stop = at + 27 + segments + sum(content[at + 27 : at + 27 + segments])
        if at + 27 + segments > len(content) or stop > len(content):
            raise BadData(
                f"{name} is truncated: its last page has {len(content) - at} bytes of {stop - at}; restore it"
            )
        flags = content[at + 5]
        if flags & _BEGINS and not begun:
            starts.append(at)
        begun, ended = bool(flags & _BEGINS), bool(flags & _ENDS)
        at = stop
    if not ended:
        raise BadData(f"{name} is truncated: the page that ends its stream is not there; restore it")
    return [Part(start, stop) for start, stop in zip(starts, [*starts[1:], len(content)], strict=True)]
