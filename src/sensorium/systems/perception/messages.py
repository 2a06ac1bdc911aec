"""Binary messages of ``WS /faces``: frames as pictures, as landmarks, or as perception vectors.

A message is a header of nine bytes, little-endian, and the content: u32 frame number, u32 milliseconds of the
client's clock, u8 kind. Kind 1: a JPEG, PNG or WebP file. Kind 2: u8 number of faces n, then n x 478 x 3 float32
landmarks. Kind 3: u8 n, then n x 1441 float32 perception vectors, whose emotions the client has computed itself.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from sensorium.modalities.face.layout import POINTS, WIDTH
from sensorium.serve.problems import Problem
from sensorium.systems.perception.limits import FaceLimits

PICTURE, LANDMARKS, VECTORS = 1, 2, 3
KINDS = {PICTURE: "a picture file", LANDMARKS: "landmarks", VECTORS: "perception vectors"}
HEADER = struct.Struct("<IIB")
_SHAPES = {LANDMARKS: (POINTS, 3), VECTORS: (WIDTH,)}


@dataclass(frozen=True)
class Frame:
    """One frame: its number and the client's milliseconds as they came, and a picture file or numbers of n faces."""

    number: int
    sent: int
    picture: bytes | None = None
    landmarks: np.ndarray | None = None
    vectors: np.ndarray | None = None


def number_of(data: bytes) -> int | None:
    """The frame number of a message; None for one that is too short to have one."""
    return int.from_bytes(data[:4], "little") if len(data) >= 4 else None


def parse(data: bytes, limits: FaceLimits) -> Frame:
    """A binary message as a frame. Raises a 413 or 422 problem that says what was expected."""
    if len(data) > limits.bytes:
        raise Problem(413, f"a frame of {len(data)} bytes; at most {limits.bytes}: send a smaller picture, such as "
                           "640 x 480 JPEG")  # fmt: skip
    if len(data) < HEADER.size:
        raise Problem(422, f"a message of {len(data)} bytes; expected a header of {HEADER.size}: u32 frame, "
                           "u32 milliseconds, u8 kind, and then the content")  # fmt: skip
    number, sent, kind = HEADER.unpack_from(data)
    content = memoryview(data)[HEADER.size :]
    if kind not in KINDS:
        known = ", ".join(f"{key} ({text})" for key, text in KINDS.items())
        raise Problem(422, f"a frame of kind {kind}; expected one of {known}")
    if not content:
        raise Problem(422, f"a frame without content; expected {KINDS[kind]} after the header")
    if kind == PICTURE:
        return Frame(number, sent, picture=bytes(content))
    numbers = _numbers(content, kind, limits)
    return Frame(number, sent, landmarks=numbers) if kind == LANDMARKS else Frame(number, sent, vectors=numbers)


def _numbers(content: memoryview, kind: int, limits: FaceLimits) -> np.ndarray:
    """The numbers of n faces, (n, …) float32. Raises a 422 problem for another count than the message announces."""
    n, shape = content[0], _SHAPES[kind]
    size = 4 * int(np.prod(shape))
    if n > limits.faces:
        raise Problem(413, f"{n} faces in one frame; at most {limits.faces}")
    if len(content) - 1 != n * size:
        each = " x ".join(map(str, shape))
        raise Problem(422, f"{KINDS[kind]} of {n} faces in {len(content) - 1} bytes; expected {n * size}: {each} "
                           "float32 for each face")  # fmt: skip
    numbers = np.frombuffer(content, "<f4", offset=1).astype(np.float32).reshape(n, *shape)
    bad = int((~np.isfinite(numbers)).sum())
    if bad:
        raise Problem(422, f"{KINDS[kind]}: {bad} of {numbers.size} numbers are NaN or infinite; send finite ones")
    return numbers
