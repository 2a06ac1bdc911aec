"""Modalities: one folder for each kind of item, which says how its items are read, decoded, packed and shown.

A modality is found by its folder: ``modalities/audio`` is the modality called audio, and what
``modalities/audio/__init__.py`` calls ``modality`` is a :class:`Modality`. Search, server, page and command line
take their inputs from :func:`found`, so a new folder adds ``run.search(video=…)``, ``sensorium search --video``,
uploads to ``POST /search`` and what the browser shows, and no other file is edited. A folder outside this package
is found when it lies on ``sensorium.modalities.__path__``, or through an entry point of the group
``sensorium.modalities`` whose value is the package.

>>> names()
('text', 'audio', 'face', 'image')
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from sensorium.errors import BadData
from sensorium.modalities._discovery import find, found, media_type, names, served_types

__all__ = ["Decoded", "Limits", "Modality", "QuickCheck", "check_file", "find", "found", "media_type", "names",
           "served_types"]  # fmt: skip


class Limits(NamedTuple):
    """Limits of one file: pixels of a picture, seconds of sound or video, bytes of other content."""

    pixels: int = 50_000_000
    seconds: float = 3600.0
    bytes: int = 1 << 30


class Decoded(NamedTuple):
    """A file's content as encoders take it, and the media type of the file.

    value: arrays, text, numbers and None, and tuples of them: what can be sent from one process to another.
    """

    value: Any
    media_type: str


@runtime_checkable
class Modality(Protocol):
    """A kind of item. An encoder whose ``takes`` is the modality's name takes values of it.

    Importing a modality must be quick: ``sensorium --help`` does it. Import decoders inside the methods.

    A whole modality, in ``sensorium/modalities/video/__init__.py`` or in a folder elsewhere::

        class Video:
            name, query, is_file = "video", "a video file", True
            media_types = {".mp4": "video/mp4", ".webm": "video/webm"}
            shown_as, packed_as = "none", ""
            def read(self, value): return read_frames(value) if isinstance(value, (str, Path)) else value
            def decode(self, content, limits): return Decoded(read_frames(io.BytesIO(content)), "video/mp4")
            def pack(self, value): return None
            def bad_items(self, error, values): return error

        modality = Video()
    """

    @property
    def name(self) -> str:
        """The folder's name; the input's name in ``run.search``, in ``POST /search`` and on the command line."""
        ...

    @property
    def query(self) -> str:
        """Name of a query in help and messages, such as "a sound file"."""
        ...

    @property
    def is_file(self) -> bool:
        """Whether a query is a file: a path, an upload or base64. False: the text itself."""
        ...

    @property
    def media_types(self) -> Mapping[str, str]:
        """The endings of files, in lower case with their dot, and the media type that each is served as."""
        ...

    @property
    def shown_as(self) -> str:
        """How the page shows an item: "image", "audio", "text" or "none"."""
        ...

    @property
    def packed_as(self) -> str:
        """Media type of what :meth:`pack` gives; "" when nothing is packed."""
        ...

    def read(self, value: Any) -> Any:
        """A path's content as :meth:`decode` gives it; any other value is checked and returned.

        Raises BadData, naming the file, when it cannot be read as this modality.
        """
        ...

    def decode(self, content: bytes, limits: Limits) -> Decoded:
        """A file's bytes as a value and their media type. Raises BadData for other content or beyond the limits.

        Runs in a process of its own, which is killed when it takes too long or too much memory.
        """
        ...

    def pack(self, value: Any) -> bytes | None:
        """A value that is no path as a file that a browser shows; None when there is nothing to show."""
        ...

    def bad_items(self, error: BadData, values: Sequence[Any]) -> BadData:
        """The error at the first bad item, with the count of bad ``values`` added where that is known."""
        ...


@runtime_checkable
class QuickCheck(Protocol):
    """What a modality may have besides: a look at a file that is quicker than reading it."""

    def check(self, path: Any) -> None:
        """Raise BadData, naming the file, when it is truncated, damaged or of another kind."""
        ...


def check_file(name: str) -> Callable[[Any], Any]:
    """What raises BadData for a file that is not whole or not of this modality: its quick check, else its ``read``."""
    modality = find(name)
    return modality.check if isinstance(modality, QuickCheck) else modality.read
