"""Landmarks by ``mediapipe.solutions.face_mesh``, whose model lies in the package: mediapipe 0.10.21 and before."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadRecipe
from sensorium.modalities.face.landmarks import Face, LandmarkSource, largest_first
from sensorium.modalities.face.sources import _mediapipe

MODEL = "modules/face_landmark/face_landmark_with_attention.tflite"
TOGETHER = 10  #: faces that the graph looks for, so that the largest of them is known


class Legacy(LandmarkSource):
    """The face mesh with irises. Raises MissingExtra without mediapipe, BadRecipe where it is newer than 0.10.21."""

    name = "legacy"

    def __init__(self) -> None:
        if _mediapipe.version() is not None and not _mediapipe.has_solutions():
            found = ".".join(map(str, _mediapipe.version() or ()))
            raise BadRecipe(f"landmarks=legacy is mediapipe {_mediapipe.LAST_LEGACY} or before; found {found}, which "
                            "brings no model; give it one by landmarks=tasks model=face_landmarker.task, or type: "
                            f"{_mediapipe.INSTALL_LEGACY}")  # fmt: skip
        self._solutions = _mediapipe.load().solutions
        self._graphs = _mediapipe.PerThread(self._graph)

    @cached_property
    def _model(self) -> str:
        path: Path = _mediapipe.folder() / MODEL
        return io.checksum(path)

    def fingerprint(self) -> Mapping[str, Any]:
        """The checksum of the landmark model."""
        return {"landmarks": self._model}

    def faces(self, rgb: np.ndarray, most: int = 1) -> list[Face]:
        """The faces of a picture (h, w, 3) uint8, the largest first."""
        found = self._graphs.get(max(most, TOGETHER)).process(np.ascontiguousarray(rgb))
        meshes = found.multi_face_landmarks or ()
        points = [np.array([(p.x, p.y, p.z) for p in mesh.landmark], np.float32) for mesh in meshes]
        return largest_first([Face(mesh) for mesh in points if np.isfinite(mesh).all()], most)

    def _graph(self, most: int) -> Any:
        return self._solutions.face_mesh.FaceMesh(
            static_image_mode=True, max_num_faces=most, refine_landmarks=True, min_detection_confidence=0.5
        )
