"""Picture files read to pixels, in one way for a path and for an upload; pixels written as PNG."""

from __future__ import annotations

import io
import os
import stat
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData, require
from sensorium.types import Pictured, shown_part

#: Pillow's names of the formats that are taken from strangers, and the media types that they are served as.
UPLOADS = {
    "PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "GIF": "image/gif",
    "WEBP": "image/webp", "BMP": "image/bmp",
}  # fmt: skip
#: What is read from a path besides: formats of still pictures, none of which runs another program.
FORMATS = (*UPLOADS, "TIFF", "PPM", "JPEG2000", "AVIF", "TGA", "ICO", "PCX", "QOI")
MAX_PIXELS = 178_956_970  # of a file that is read from a path: above this Pillow takes it for a bomb
_ORIENTATION = 0x0112  # EXIF tag


def _fits(picture: np.ndarray) -> bool:
    return picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (3, 4))


def read(picture: Any) -> np.ndarray:
    """A picture as uint8 (h, w) grey, (h, w, 3) RGB or (h, w, 4) RGB with opacity, upright.

    picture: a path, such an array, or an image of Pillow. From a file: the first picture of several, turned as its EXIF
    orientation says; CMYK becomes RGB, palettes their colours, 16 bits the upper 8; transparency becomes the
    fourth channel. EXIF data that cannot be read are ignored.

    Raises BadData, naming the file, when it cannot be read as a picture; for an array of another type or shape.
    """
    if isinstance(picture, Pictured):
        raise BadData("this item is a picture with a text, and this encoder takes the picture alone; take both by "
                      "left.encoder=joined, or leave out data.text")  # fmt: skip
    if isinstance(picture, (str, os.PathLike)):
        path = Path(picture).expanduser()
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise BadData("it is no file")
            if not status.st_size:
                raise BadData("it is empty")
            with open(path, "rb") as file:
                return _pixels(file, FORMATS, MAX_PIXELS)[0]
        except (OSError, ValueError, BadData) as error:  # a path may hold what no file system takes
            raise BadData(f"cannot read {path} as a picture ({error})") from None
    if (pillow := sys.modules.get("PIL.Image")) and isinstance(picture, pillow.Image):
        try:
            return _upright(_plain(picture), _orientation(picture))
        except (OSError, ValueError, BadData) as error:
            raise BadData(f"cannot read a picture of Pillow, mode {picture.mode} ({error})") from None
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.size and _fits(picture):
        return picture
    shape = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
    raise BadData(f"expected a picture as uint8 (h, w), (h, w, 3) or (h, w, 4), or a path; got {shape}")


def decode(content: bytes, max_pixels: int) -> tuple[np.ndarray, str]:
    """The pixels of a PNG, JPEG, GIF, WebP or BMP file as :func:`read` gives them, and its media type.

    Raises BadData for another file, or one of more than ``max_pixels``. For a process of its own: it lifts
    Pillow's own limit, as the number of pixels is checked here before anything is unpacked.
    """
    _pillow().MAX_IMAGE_PIXELS = None
    try:
        pixels, kind = _pixels(io.BytesIO(content), tuple(UPLOADS), max_pixels)
    except OSError as error:
        raise BadData(f"it is not a PNG, JPEG, GIF, WebP or BMP picture ({error})") from None
    return pixels, UPLOADS[kind]


def over_white(picture: np.ndarray) -> np.ndarray:
    """A picture without transparency, (h, w) or (h, w, 3): transparency is blended with white."""
    if picture.ndim == 2 or picture.shape[2] == 3:
        return picture
    from PIL import Image

    paper = Image.new("RGBA", (picture.shape[1], picture.shape[0]), "white")
    return np.asarray(Image.alpha_composite(paper, Image.fromarray(picture)).convert("RGB"))


def grey(picture: np.ndarray) -> np.ndarray:
    """A picture as luma (h, w) uint8 (ITU-R 601-2), over white paper."""
    if picture.ndim == 2:
        return picture
    return np.asarray(_pillow().fromarray(over_white(picture)).convert("L"))


def counted(error: BadData, pictures: Sequence[Any]) -> BadData:
    """The error at the first bad picture, with the count of files that cannot be read."""
    broken = []
    for picture in map(shown_part, pictures):
        if isinstance(picture, (str, os.PathLike)):
            try:
                read(picture)
            except BadData as fault:
                broken.append(str(fault))
    if not broken:
        return error
    return BadData(f"{len(broken)} of {len(pictures)} pictures are bad, such as: {broken[0]}; fix or leave them out")


def png(picture: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
    """A picture (h, w), (h, w, 3) or (h, w, 4) uint8 as a PNG file, without loss.

    text: what the file says of itself besides, in Latin-1: a chunk ``tEXt`` for each keyword, before the pixels.
    Raises BadData for another shape. Written here, as runs of drawn pictures are made without Pillow.
    """
    shape = picture.shape
    colour = {2: 0}.get(len(shape), {3: 2, 4: 6}.get(shape[-1]) if len(shape) == 3 else None)
    if colour is None or not picture.size:
        raise BadData(f"picture of shape {shape}; expected (h, w), (h, w, 3) or (h, w, 4)")
    lines = np.zeros((shape[0], 1 + int(np.prod(shape[1:]))), np.uint8)  # each line begins with its filter: none
    lines[:, 1:] = picture.reshape(shape[0], -1)
    header = struct.pack(">IIBBBBB", shape[1], shape[0], 8, colour, 0, 0, 0)
    said = [(b"tEXt", f"{key}\0{value}".encode("latin-1")) for key, value in (text or {}).items()]
    parts = ((b"IHDR", header), *said, (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def pack(value: Any) -> bytes | None:
    """A picture array as PNG; None for what is no uint8 array."""
    return png(value) if isinstance(value, np.ndarray) and value.dtype == np.uint8 else None


def _pillow() -> Any:
    return require("PIL.Image", "image")


def _pixels(file: Any, formats: Sequence[str], max_pixels: int) -> tuple[np.ndarray, str]:
    """The first picture of an open file, upright, and Pillow's name of its format.

    Raises OSError for what Pillow cannot read, whatever its plugin raises; BadData beyond ``max_pixels``.
    """
    image = _pillow()
    try:
        image.init()
        with image.open(file, formats=[name for name in formats if name in image.OPEN]) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise BadData(f"{width} × {height} pixels; at most {max_pixels:,}")
            kind = picture.format
            picture.load()
            return _upright(_plain(picture), _orientation(picture)), kind
    except image.UnidentifiedImageError:  # its own message shows the object that holds the bytes
        raise OSError("cannot identify its format") from None
    except (BadData, MemoryError, OSError):
        raise
    except Exception as error:  # plugins meet damaged files with errors of any kind
        raise OSError(f"{type(error).__name__}: {error}") from None


def _plain(picture: Any) -> np.ndarray:
    """A loaded picture of any of Pillow's modes as uint8 (h, w), (h, w, 3) or (h, w, 4)."""
    clear = picture.info.get("transparency")
    if picture.mode in ("I", "I;16", "I;16L", "I;16B", "I;16N"):
        deep = np.asarray(picture).astype(np.int64)
        if deep.size and not 0 <= deep.min() <= deep.max() < 1 << 16:
            raise BadData("its pixels have more than 16 bits; save it in 8 or 16 bits")
        grey = (deep >> 8).astype(np.uint8)
        if not isinstance(clear, int):
            return grey
        return np.dstack([grey, grey, grey, np.where(deep == clear, 0, 255).astype(np.uint8)])
    if picture.mode == "F":
        raise BadData("its pixels are floating-point numbers; save it in 8 or 16 bits")
    if "A" in picture.getbands() or "a" in picture.mode or clear is not None:
        return np.asarray(picture.convert("RGBA"))
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"))
    return np.asarray(picture.convert("RGB"))


def _orientation(picture: Any) -> int:
    """EXIF orientation from 1 to 8; 1, upright, where there is none or it cannot be read."""
    try:
        found = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF data that are no EXIF data: the picture is whole all the same
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels turned upright by EXIF orientation (1 to 8)."""
    if orientation in (2, 5, 7):
        pixels = pixels[:, ::-1]
    if orientation == 4:
        pixels = pixels[::-1]
    turns = {3: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)  # quarters, against the clock
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else np.ascontiguousarray(pixels)
