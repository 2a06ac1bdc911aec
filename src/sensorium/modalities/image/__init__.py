"""Images: picture files and arrays, read in one way from a path, an upload and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sensorium.errors import BadData
from sensorium.modalities import Decoded, Limits

if TYPE_CHECKING:
    import numpy as np


class Pictures:
    """A modality whose items are pictures: (h, w), (h, w, 3) or (h, w, 4) uint8, or paths of picture files."""

    is_file, shown_as, packed_as = True, "image", "image/png"
    media_types: Mapping[str, str] = {
        ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
        ".webp": "image/webp", ".bmp": "image/bmp",
    }  # fmt: skip

    def __init__(self, name: str, query: str) -> None:
        self.name, self.query = name, query

    def read(self, value: Any) -> np.ndarray:
        """A picture's pixels: see :func:`sensorium.modalities.image.files.read`."""
        from sensorium.modalities.image import files

        return files.read(value)

    def decode(self, content: bytes, limits: Limits) -> Decoded:
        """A picture file's pixels: see :func:`sensorium.modalities.image.files.decode`."""
        from sensorium.modalities.image import files

        return Decoded(*files.decode(content, limits.pixels))

    def check(self, path: Any) -> None:
        """Raise BadData for a file that is no whole picture: see :func:`sensorium.modalities.image.whole.check`."""
        from sensorium.modalities.image import whole

        whole.check(path)

    def pack(self, value: Any) -> bytes | None:
        """A picture array as PNG, without loss; None for what is no picture."""
        from sensorium.modalities.image import files

        return files.pack(value)

    def bad_items(self, error: BadData, values: Sequence[Any]) -> BadData:
        """The error, with the number of the picture files that cannot be read."""
        from sensorium.modalities.image import files

        return files.counted(error, values)


modality = Pictures("image", "a picture file")
