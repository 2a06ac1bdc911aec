"""Faces in a picture: their landmarks, what finds them, and the choice of it by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest


class NoFace(BadData):
    """A picture in which no face was found."""


class Face(NamedTuple):
    """One face: landmarks (478, 3) float32, see :mod:`sensorium.modalities.face.layout`; blendshapes (52,) or None."""

    landmarks: np.ndarray
    blendshapes: np.ndarray | None = None

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, width and height of the landmarks, as shares of the picture's width and height."""
        low, high = self.landmarks[:, :2].min(0), self.landmarks[:, :2].max(0)
        return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])

    @property
    def area(self) -> float:
        """Share of the picture that :attr:`box` covers."""
        return self.box[2] * self.box[3]


@runtime_checkable
class LandmarkSource(Protocol):
    """What finds the faces of a picture. May be called from several threads at once."""

    name: str

    def fingerprint(self) -> Mapping[str, Any]:
        """What the landmarks depend on: the model's checksum and the settings; equal, where landmarks are equal."""
        ...

    def faces(self, rgb: np.ndarray, most: int = 1) -> list[Face]:
        """At most ``most`` faces of a picture (h, w, 3) uint8, the largest first; [] where there is none."""
        ...

    def following(self, most: int = 1) -> LandmarkSource:
        """A source for the pictures of one stream, in turn, one call at a time; by default this source.

        It may look for each face where the picture before had it, so that a face is not lost between two pictures and
        its landmarks tremble less; they then differ a little from those of the picture alone. Close it at the end.
        """
        return self

    def close(self) -> None:
        """Give back what :meth:`following` took; nothing by default."""
        return


SOURCES = ("legacy", "tasks", "numbers")


def find(
    name: str = "auto", model: str | Path | None = None, *, blendshapes: bool = False, confidence: float = 0.5
) -> LandmarkSource:
    """The source of this name: "legacy", "tasks" (with ``model``, a .task file), "numbers", or "auto".

    auto: tasks where a model is given, else legacy, whose model lies in its package. blendshapes: the 52 scores too.
    confidence: from which score of the detector on something is a face.
    Raises MissingExtra without mediapipe, BadRecipe for another name, or where a model is missing or not taken.
    """
    from sensorium.modalities.face.sources import legacy, numbers, tasks

    if name == "auto":
        name = "tasks" if model else "legacy"
    if name not in SOURCES:
        raise BadRecipe(f"no source of landmarks '{name}'; {nearest(name, ('auto', *SOURCES))}")
    if name == "tasks":
        return tasks.Tasks(model, blendshapes, confidence)
    if blendshapes:
        raise BadRecipe(f"landmarks={name} has no blendshapes; they need landmarks=tasks model=face_landmarker.task")
    if model:
        raise BadRecipe(f"landmarks={name} takes no model; leave it out, or type left.encoder.landmarks=tasks")
    return numbers.Numbers() if name == "numbers" else legacy.Legacy(confidence)


def state() -> tuple[bool, str]:
    """Whether pictures can be read here without a further file, and what is there or missing, with what to type.

    Nothing is imported: MediaPipe takes seconds.
    """
    from sensorium.modalities.face.sources import _mediapipe, tasks

    found = ".".join(map(str, _mediapipe.version() or ()))
    if not found:
        return False, f"mediapipe is not installed; type: {_mediapipe.INSTALL_LEGACY}"
    if _mediapipe.has_solutions():
        return True, f"mediapipe {found} with its model"
    return False, f"mediapipe {found} without a model; {tasks.ABOUT}"


#: Overlap (intersection over union) of two boxes from which they are one face, found twice.
ONE_FACE = 0.35


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (left, top, width, height)."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(wide, 0.0) * max(high, 0.0)
    union = a[2] * a[3] + b[2] * b[3] - both
    return both / union if union > 0 else 0.0


def distinct(faces: Iterable[Face]) -> list[Face]:
    """The faces; of several that are one face, found twice, the first."""
    kept: list[Face] = []
    for face in faces:
        if all(overlap(face.box, other.box) < ONE_FACE for other in kept):
            kept.append(face)
    return kept


def largest_first(faces: Sequence[Face], most: int) -> list[Face]:
    """At most ``most`` faces by falling area."""
    return sorted(faces, key=lambda face: -face.area)[:most]
