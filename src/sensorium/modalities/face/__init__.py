"""Faces: pictures, frames of videos and landmarks as numbers; read, packed and shown as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sensorium.errors import BadData
from sensorium.modalities import Decoded, Limits
from sensorium.modalities.image import Pictures

if TYPE_CHECKING:
    import numpy as np

_NPY = b"\x93NUMPY"


class Faces(Pictures):
    """Pictures of faces as :class:`~sensorium.modalities.image.Pictures`, and what else shows a face.

    That is a :class:`~sensorium.types.VideoFrame`, a :class:`~sensorium.types.FoundFace`, or landmarks as numbers:
    (478, 3), (1434,), or (1441,) with the seven emotion probabilities; of these also a file .npy.
    """

    def read(self, value: Any) -> np.ndarray:
        """A value's pixels; of numbers a drawing of the face."""
        from sensorium.modalities.face import drawing, reading
        from sensorium.modalities.face.sources import numbers
        from sensorium.types import FoundFace, VideoFrame

        if numbers.is_numbers(value := reading.given(value)):
            return drawing.draw(numbers.given(value).face.landmarks)
        if isinstance(value, FoundFace):
            return reading.crop(reading.rgb(value), numbers.given(value.landmarks).face)
        return reading.rgb(value) if isinstance(value, VideoFrame) else super().read(value)

    def decode(self, content: bytes, limits: Limits) -> Decoded:
        """The pixels of a picture file, or the numbers of a file .npy."""
        if content[: len(_NPY)] == _NPY:
            return Decoded(_numbers(content), "application/octet-stream")
        return super().decode(content, limits)

    def check(self, path: Any) -> None:
        """Raise BadData for a file that is no whole picture, and for a file .npy that is no face."""
        from sensorium.modalities.face import reading
        from sensorium.modalities.face.sources import numbers

        if numbers.is_numbers(value := reading.given(path)):
            numbers.given(value)
        else:
            super().check(path)

    def pack(self, value: Any) -> bytes | None:
        """What :meth:`read` gives of a value that is no path, as PNG; None where it cannot be read."""
        try:
            return super().pack(self.read(value))
        except BadData:
            return None

    def bad_items(self, error: BadData, values: Sequence[Any]) -> BadData:
        """The error, with the number of the picture files that cannot be read; one without a face as it is."""
        from sensorium.modalities.face.landmarks import NoFace

        return error if isinstance(error, NoFace) else super().bad_items(error, values)


def _numbers(content: bytes) -> np.ndarray:
    import io

    import numpy as np

    from sensorium.modalities.face.sources import numbers

    try:
        found = np.load(io.BytesIO(content), allow_pickle=False).astype(np.float32)
    except (ValueError, OSError, EOFError, TypeError) as error:
        raise BadData(f"it is not a face as numbers in .npy ({error})") from None
    numbers.given(found)
    return found


modality = Faces("face", "a picture of a face")
