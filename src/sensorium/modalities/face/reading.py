"""Values of kind "face" read: pictures, frames of videos, faces found before, and numbers; the faces of each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.errors import BadData, require
from sensorium.modalities.face import thorough, video
from sensorium.modalities.face.landmarks import Face, LandmarkSource
from sensorium.modalities.face.sources import numbers
from sensorium.modalities.image import files
from sensorium.types import FoundFace, VideoFrame


class Seen(NamedTuple):
    """What a value shows. rgb: its picture (h, w, 3) uint8, None of numbers. faces: the largest first; [] without any.

    probabilities: (7,) float32 where the value brought them.
    """

    rgb: np.ndarray | None
    faces: list[Face]
    probabilities: np.ndarray | None = None


def look(value: Any, source: LandmarkSource, most: int = 1) -> Seen:
    """The faces of a value, at most ``most``; ``FoundFace(value, landmarks)`` makes an item of each.

    value: a path, pixels uint8, a VideoFrame, a FoundFace, or a face as numbers: an array, a list or a file .npy.
    Raises BadData, naming the file, for what cannot be read or is no face.
    """
    if numbers.is_numbers(value := given(value)):
        found = numbers.given(value)
        return Seen(None, [found.face], found.probabilities)
    if isinstance(value, FoundFace):
        return Seen(rgb(value.picture), [numbers.given(value.landmarks).face])
    picture = rgb(value)
    return Seen(picture, source.faces(picture, most))


def rgb(value: Any) -> np.ndarray:
    """The picture of a value as (h, w, 3) uint8, upright, over white, its longer side 2,560 pixels at most."""
    if isinstance(value, VideoFrame):
        return thorough.shrunk(video.read(value))
    if isinstance(value, FoundFace):
        return rgb(value.picture)
    if video.is_video(value):
        raise BadData(f"{value} is a video, and a face is one picture; name a time of it by VideoFrame(path, second), "
                      "or type data=perception, which reads videos")  # fmt: skip
    picture = thorough.shrunk(files.read(value))  # before grey becomes three channels
    picture = files.over_white(picture)
    return np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture


def given(value: Any) -> Any:
    """The numbers of a file .npy; any other value as it is. Raises BadData, naming the file."""
    if isinstance(value, (str, os.PathLike)) and Path(value).suffix.lower() == ".npy":
        try:
            return np.load(Path(value).expanduser(), allow_pickle=False).astype(np.float32)
        except (OSError, ValueError, EOFError, TypeError) as error:
            raise BadData(f"cannot read {value} as a face of numbers ({error})") from None
    return value


def named(value: Any) -> str:
    """What a value is called in messages."""
    if isinstance(value, FoundFace):
        return named(value.picture)
    if isinstance(value, VideoFrame):
        return f"{value.path} at {value.second:g} s"
    if isinstance(value, np.ndarray):
        return f"a picture of {value.shape[1]} × {value.shape[0]} pixels" if value.ndim > 1 else "a face of numbers"
    return str(value) if isinstance(value, (str, os.PathLike)) else f"a {type(value).__name__}"


def crop(picture: np.ndarray, face: Face, side: int = 256) -> np.ndarray:
    """A square around a face, ``side`` pixels at most: how one face of several is shown."""
    height, width = picture.shape[:2]
    x, y, w, h = (np.array(face.box) * [width, height, width, height]).tolist()
    half = 0.75 * max(w, h, 2.0)
    left, top = max(0, round(x + w / 2 - half)), max(0, round(y + h / 2 - half))
    part = picture[top : max(top + 1, round(y + h / 2 + half)), left : max(left + 1, round(x + w / 2 + half))]
    if not part.size:
        return picture
    image = require("PIL.Image", "face").fromarray(np.ascontiguousarray(part))
    image.thumbnail((side, side))
    return np.asarray(image)
