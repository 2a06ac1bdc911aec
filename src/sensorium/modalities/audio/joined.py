"""Concatenated recordings in one file, of one format or several, found by their headers."""

from __future__ import annotations

from sensorium.errors import BadData
from sensorium.modalities.audio import flac, magic, mp3
from sensorium.modalities.audio.mp3 import Part


def parts(content: bytes, name: str) -> list[Part]:
    """The recordings of one format with which a file begins; one, all of it, where it is not Ogg, MP3, FLAC or AAC.

    Raises BadData for an Ogg file without its end, and for an MP3 file with fewer frames than it declares.
    """
    if content[:4] == b"OggS":
        return _ogg(content, name)
    if content[:4] == b"fLaC":
        return flac.parts(content)
    if end := _adts_end(content):
        return [Part(0, end)]
    if (content[:3] == b"ID3" or content[:1] == b"\xff") and (found := mp3.parts(content, name)):
        return found
    return [Part(0, len(content))]


def following(content: bytes, at: int) -> int:
    """Where the next recording begins, at ``at`` or later; the length of content where none does.

    at: where the one before ends. What lies between, such as tags, belongs to the one before.
    """
    if at >= len(content):
        return len(content)
    if mp3.begins(content, at) or magic.container(content[at : at + magic.NEEDED]) == "AAC":
        return at
    found = magic.HEADER.search(content, at)
    return found.start() if found else len(content)


def _adts_end(content: bytes) -> int:
    """Where the frames of an AAC file without container end; 0 where it is no such file."""
    at = 0
    while size := magic.aac_frame(content[at : at + 8]):
        at += size
    return min(at, len(content))


_BEGINS, _ENDS = 2, 4  # flags of an Ogg page


def _ogg(content: bytes, name: str) -> list[Part]:
    """Links of a chained Ogg file: a page that begins a stream, after pages that do not, begins a link."""
    starts, ended, begun, at = [0], False, True, 0
    while at < len(content):
        if content[at : at + 4] != b"OggS":  # junk between pages, or after the last; or a file of another format
            after = content.find(b"OggS", at)
            if after < 0 or following(content, at) < after:
                break
            at = after
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
    return [Part(start, stop) for start, stop in zip(starts, [*starts[1:], min(at, len(content))], strict=True)]
