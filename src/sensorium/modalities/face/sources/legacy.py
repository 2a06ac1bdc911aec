"""Landmarks by ``mediapipe.solutions.face_mesh``, whose model lies in the package: mediapipe 0.10.21 and before."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadRecipe
from sensorium.modalities.face.landmarks import Face, LandmarkSource, largest_first
from sensorium.modalities.face.sources import _mediapipe
from sensorium.modalities.face.sources._following import Following

MODEL = "modules/face_landmark/face_landmark_with_attention.tflite"
TOGETHER = 10  #: faces that the graph looks for, so that the largest of them is known


#: Checksum of that model in 0.10.21, by which vectors are known where mediapipe is not installed.
CHECKSUM = "31695618890f75d1f0938e3f1467e3c2"


@lru_cache(1)
def fingerprint() -> Mapping[str, Any]:
    """The checksum of the package's landmark model; mediapipe is not imported."""
    folder = _mediapipe.folder() if _mediapipe.has_solutions() else None
    there = folder is not None and (folder / MODEL).is_file()
    return {"landmarks": io.checksum(folder / MODEL) if folder is not None and there else CHECKSUM}


class Legacy(LandmarkSource):
    """The face mesh with irises. confidence: from which score of the detector on something is a face, 0 to 1.

    Raises MissingExtra without mediapipe, BadRecipe where it is newer than 0.10.21.
    """

    name = "legacy"

    def __init__(self, confidence: float = 0.5) -> None:
        if _mediapipe.version() is None:
            raise _mediapipe.NoMediapipe("is not installed")
        if not _mediapipe.has_solutions():
            found = ".".join(map(str, _mediapipe.version() or ()))
            raise BadRecipe(f"landmarks=legacy is mediapipe {_mediapipe.LAST_LEGACY} or before; found {found}, which "
                            "brings no model; give it one by landmarks=tasks model=face_landmarker.task, or type: "
                            f"{_mediapipe.INSTALL_LEGACY}")  # fmt: skip
        self._confidence = confidence

    def fingerprint(self) -> Mapping[str, Any]:
        """The checksum of the landmark model."""
        return fingerprint()

    def faces(self, rgb: np.ndarray, most: int = 1) -> list[Face]:
        """The faces of a picture (h, w, 3) uint8, the largest first."""
        most_of = max(most, TOGETHER)
        with _mediapipe.borrowed(("legacy", self._confidence, most_of), lambda: self._begun(most_of)) as graph:
            return largest_first(_read(graph, rgb), most)

    def following(self, most: int = 1) -> LandmarkSource:
        """A graph that looks for faces where the picture before had them, and for further ones up to ``most``."""
        return Following(self, lambda: self._graph(most, still=False), _read)

    def _begun(self, most: int) -> Any:
        graph = self._graph(most)
        graph.process(_mediapipe.FIRST)
        return graph

    def _graph(self, most: int, still: bool = True) -> Any:
        return _mediapipe.load().solutions.face_mesh.FaceMesh(
            static_image_mode=still,
            max_num_faces=most,
            refine_landmarks=True,
            min_detection_confidence=self._confidence,
        )


def _read(graph: Any, rgb: np.ndarray) -> list[Face]:
    meshes = graph.process(np.ascontiguousarray(rgb)).multi_face_landmarks or ()
    points = [np.array([(p.x, p.y, p.z) for p in mesh.landmark], np.float32) for mesh in meshes]
    return [Face(mesh) for mesh in points if np.isfinite(mesh).all()]
