"""Binary encoding of arrays: a JSON header and then their bytes, which a page reads without copying.

Layout, little-endian: u32 length L of the header; L bytes of UTF-8 JSON, padded with spaces so that
4 + L is a multiple of 8; then the arrays, each at its ``at`` (bytes after the header, a multiple of
4). The header's ``arrays`` lists name, type ("f32", "u32", "u8"), shape and at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

TYPES = {"f32": np.dtype("<f4"), "u32": np.dtype("<u4"), "u8": np.dtype("u1")}
_NAMES = {dtype: name for name, dtype in TYPES.items()}
MEDIA_TYPE = "application/vnd.sensorium.arrays"


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """A header and arrays of float32, uint32 or uint8 as one body. Raises KeyError for another type."""
    listed, parts, at = [], [], 0
    for name, array in arrays.items():
        kind = _NAMES[array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype]
        content = np.ascontiguousarray(array, TYPES[kind]).tobytes()
        listed.append({"name": name, "type": kind, "shape": list(array.shape), "at": at})
        content += b"\0" * (-len(content) % 4)
        parts.append(content)
        at += len(content)
    head = json.dumps({**header, "arrays": listed}, allow_nan=False).encode()
    head += b" " * (-(4 + len(head)) % 8)
    return b"".join([len(head).to_bytes(4, "little"), head, *parts])


def unpack(body: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and arrays of a body of :func:`pack`. Raises ValueError when the body is cut short."""
    start = 4 + int.from_bytes(body[:4], "little")
    header = json.loads(body[4:start])
    found = {}
    for one in header.pop("arrays"):
        count = int(np.prod(one["shape"]))
        array = np.frombuffer(body, TYPES[one["type"]], count, start + one["at"])
        found[one["name"]] = array.reshape(one["shape"])
    return header, found
