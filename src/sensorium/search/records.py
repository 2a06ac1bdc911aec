"""Encoding of a journal: a header with the committed end, and one checksummed record for each change.

Format 2: MAGIC; two slots, written in turn, each a number that grows (u64), the committed end of the file (u64),
where the last append begins (u64) and the xxh3-64 of these; then records. A record is the size of its payload
(u32), the payload's xxh3-64 (u64), the xxh3-64 (u64) of these two and of the record's offset, and the payload:
size of JSON (u32), JSON, the vector as the encoder gave it (float32), and the bytes of what the item looks like.
All numbers are little-endian. The JSON's "more" is how many records of the same append follow; absent for 0. An
append is read whole or not at all.

Format 1, which is read but not written, has no slots, and no checksum of a record's head.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import xxhash

from sensorium import io
from sensorium.errors import BadData

MAGIC = b"sensorium journal 2\n"
MAGIC_1 = b"sensorium journal 1\n"
LONGEST_TEXT = 100_000  # characters of one value
LARGEST_JSON = 1 << 20  # bytes of an item's id and columns
LARGEST = 1 << 28  # bytes of one payload
_SLOT = struct.Struct("<QQQQ")
_HEAD = struct.Struct("<IQQ")
_HEAD_1 = struct.Struct("<IQ")
_SIZE = struct.Struct("<I")
START = len(MAGIC) + 2 * _SLOT.size


@dataclass(frozen=True)
class Change:
    """The last word on one id. vector: (d,) or (t, d) as the encoder ``encoder`` gave it; None removes the item."""

    id: str
    vector: np.ndarray | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = ""
    media_type: str = ""
    media: bytes = b""


class Committed(NamedTuple):
    """A slot: its number, the offset at which committed records end, and the offset of the last append."""

    number: int
    end: int
    last: int

    @property
    def content(self) -> bytes:
        """The slot's bytes."""
        return _SLOT.pack(*self, _digest(struct.pack("<QQQ", *self)))

    @property
    def offset(self) -> int:
        """Offset of the slot in the file."""
        return len(MAGIC) + self.number % 2 * _SLOT.size


def check(change: Change) -> None:
    """Raise BadData for a value that is longer than a journal takes."""
    for name, value in change.columns.items():
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            raise BadData(f"column '{name[:100]}' has {len(value):,} characters, at most {LONGEST_TEXT:,} are taken")


class Unpacked(NamedTuple):
    """A payload read: its change without media, where in the payload those begin, and how many records follow."""

    change: Change
    start: int
    more: int


def pack(change: Change, media: bytes | None = None, more: int = 0) -> bytes:
    """A change as the payload of a record. more: how many records of the same append follow it.

    Raises BadData when it is too large, or no valid JSON.
    """
    fields: dict[str, Any] = {"id": change.id, "op": "remove"}
    if more:
        fields["more"] = more
    vector = b""
    if change.vector is not None:
        array = np.ascontiguousarray(change.vector, "<f4")
        vector = array.tobytes()
        fields |= {"op": "add", "shape": array.shape, "encoder": change.encoder, "columns": dict(change.columns)}
        if change.media_type:
            fields["media_type"] = change.media_type
    try:
        text = json.dumps(fields, ensure_ascii=False, default=io.plain).encode("utf-8")
    except (TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        raise BadData(f"item '{change.id[:100]!a}': its columns cannot be stored ({error})") from None
    payload = b"".join((_SIZE.pack(len(text)), text, vector, change.media if media is None else media))
    if len(text) > LARGEST_JSON or len(payload) > LARGEST:
        raise BadData(
            f"item '{change.id[:100]}': {len(text):,} bytes of columns and {len(payload):,} in all; "
            f"at most {LARGEST_JSON:,} and {LARGEST:,} are taken"
        )
    return payload


def unpack(payload: bytes) -> Unpacked:
    """What :func:`pack` packed. Raises ValueError for other bytes."""
    try:
        (size,) = _SIZE.unpack_from(payload)
        fields = json.loads(payload[_SIZE.size : _SIZE.size + size])
        start, more = _SIZE.size + size, int(fields.get("more", 0))
        if fields["op"] == "remove":
            return Unpacked(Change(fields["id"]), start, more)
        count = int(np.prod(fields["shape"]))
        vector = np.frombuffer(payload, "<f4", count, start).astype(np.float32).reshape(fields["shape"])
        change = Change(fields["id"], vector, dict(fields["columns"]), fields["encoder"], fields.get("media_type", ""))
    except (struct.error, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no change: {error}") from error
    return Unpacked(change, start + 4 * count, more)


def record(payload: bytes, at: int) -> bytes:
    """A payload as the record at an offset of the file."""
    first = _HEAD_1.pack(len(payload), _digest(payload))
    return first + struct.pack("<Q", _digest(first + at.to_bytes(8, "little"))) + payload


def records(payloads: Iterator[bytes] | list[bytes], at: int) -> Iterator[bytes]:
    """Payloads as the records that begin at an offset."""
    for payload in payloads:
        one = record(payload, at)
        at += len(one)
        yield one


def header(end: int, last: int) -> bytes:
    """The header of a new file."""
    return MAGIC + Committed(0, end, last).content + Committed(1, end, last).content


def committed(content: bytes) -> Committed | None:
    """The committed end of a file, by the slots of its header (START bytes); None when neither is valid."""
    slots = [Committed(*_SLOT.unpack_from(content, len(MAGIC) + n * _SLOT.size)[:3]) for n in (0, 1)]
    at = (content[len(MAGIC) : len(MAGIC) + _SLOT.size], content[len(MAGIC) + _SLOT.size : START])
    return max((one for one, there in zip(slots, at, strict=True) if one.content == there), default=None)


class Head(NamedTuple):
    """The head of a record: sizes of head and payload in bytes, and the payload's checksum."""

    length: int
    size: int
    checksum: int

    def fits(self, payload: bytes) -> bool:
        """Whether this is the payload."""
        return len(payload) == self.size and _digest(payload) == self.checksum


def head_of(content: bytes, at: int) -> Head | None:
    """The head of the record at an offset, from its first bytes; None when it is damaged."""
    size, checksum, own = _HEAD.unpack_from(content)
    valid = own == _digest(content[: _HEAD.size - 8] + at.to_bytes(8, "little"))
    return Head(_HEAD.size, size, checksum) if valid and 0 < size <= LARGEST else None


def head_of_1(content: bytes) -> Head | None:
    """The head of a record of format 1, which has no checksum; None when it cannot be one."""
    size, checksum = _HEAD_1.unpack_from(content)
    return Head(_HEAD_1.size, size, checksum) if 0 < size <= 1 << 30 else None


HEAD_SIZE, HEAD_SIZE_1 = _HEAD.size, _HEAD_1.size


def follows_1(content: bytes) -> bool:
    """Whether a whole record of format 1 begins after the first byte of ``content``: what is before it is damaged."""
    at = 1
    while (at := content.find(b'{"id"', at)) >= 0:
        begin = at - _SIZE.size - _HEAD_1.size
        if begin >= 0:
            head = head_of_1(content[begin:])
            if head is not None and head.fits(content[begin + head.length : begin + head.length + head.size]):
                return True
        at += 1
    return False


def damaged_1(content: bytes) -> bool:
    """Whether the last bytes of a file of format 1 are a damaged record, not one that was cut short."""
    if len(content) <= _HEAD_1.size or not content.strip(b"\0"):
        return False
    size, checksum = _HEAD_1.unpack_from(content)
    rest = content[_HEAD_1.size :]
    return size <= len(rest) or _digest(rest) == checksum  # all there, but other; or only its size is wrong


def _digest(content: bytes) -> int:
    return int(xxhash.xxh3_64_intdigest(content))
