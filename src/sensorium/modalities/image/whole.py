"""A quick look at a picture file, whether it is whole: without unpacking its pixels where its format allows."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from sensorium.errors import require
from sensorium.modalities.image import files

_TAIL = 1 << 12  # bytes at the end of a JPEG file in which its last marker stands


def check(path: str | os.PathLike[str]) -> None:
    """Raise BadData, naming the file, for a picture that is truncated, damaged or none at all.

    PNG: the checksum of every chunk. JPEG, WebP, GIF, BMP: the header, and that the end is there. Every other
    format, and whatever looks doubtful, is read whole.
    """
    pillow = require("PIL.Image", "image")
    try:
        pillow.init()
        known = [name for name in files.FORMATS if name in pillow.OPEN]
        with open(path, "rb") as file, pillow.open(file, formats=known) as picture:
            few = picture.size[0] * picture.size[1] <= files.MAX_PIXELS
            sure = few and _whole(picture, file)
    except Exception:  # plugins meet damaged files with errors of any kind; reading it says which
        sure = False
    if not sure:
        files.read(path)


def _whole(picture: Any, file: BinaryIO) -> bool:
    """Whether the format shows that the file has its end; False where it does not."""
    if picture.format == "PNG":
        picture.verify()
        return True
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    head = file.read(12)
    if picture.format == "WEBP":
        return int.from_bytes(head[4:8], "little") + 8 <= size
    if picture.format == "BMP":
        return int.from_bytes(head[2:6], "little") <= size
    file.seek(max(0, size - _TAIL))
    tail = file.read()
    return {"JPEG": b"\xff\xd9" in tail, "MPO": b"\xff\xd9" in tail, "GIF": b"\x3b" in tail[-2:]}.get(
        picture.format, False
    )
