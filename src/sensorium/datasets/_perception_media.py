"""Pictures and videos of faces before they are looked at: what is said of each, or of a part of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sensorium.modalities.face import video
from sensorium.types import VideoFrame


class Said(NamedTuple):
    """Label and prompt of a picture, or of a video from ``begin`` to before ``end``, in seconds. row: of the table."""

    label: str | None
    prompt: str | None = None
    begin: float = 0.0
    end: float = math.inf
    row: int = -1


@dataclass(frozen=True, eq=False)
class Medium:
    """A picture or a video. value: its path, or pixels (h, w) or (h, w, 3) uint8. said: in the order of their begins.

    person, group: whom it shows, and what never stands in two splits, None where that is not known. folder: below that
    of its label, "" for none. columns: further metadata.
    """

    id: str
    value: Any
    said: Sequence[Said]
    person: str | None = None
    group: str | None = None
    split: str = ""
    folder: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_video(self) -> bool:
        """Whether it is a video file."""
        return video.is_video(self.value)

    @property
    def is_numbers(self) -> bool:
        """Whether it is a file of landmarks."""
        return str(self.value)[-4:].lower() == ".npy"

    @property
    def path(self) -> str | None:
        """Its path; None of pixels."""
        return None if isinstance(self.value, np.ndarray) else str(self.value)

    def at(self, second: float | None) -> Said | None:
        """What is said of its frame at a time; of a picture, None, all."""
        if second is None:
            return self.said[0]
        return next((one for one in self.said if one.begin <= second < one.end), None)

    def picture(self, second: float | None) -> Any:
        """Its picture at a time, as a value of kind "face"."""
        return self.value if second is None else VideoFrame(str(self.value), second)


class Frame(NamedTuple):
    """A picture, or a video's frame at ``second``, and the landmarks (478, 3) of its faces; None: not looked for."""

    second: float | None
    faces: list[np.ndarray] | None
