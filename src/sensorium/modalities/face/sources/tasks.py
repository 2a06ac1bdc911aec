"""Landmarks by MediaPipe's FaceLandmarker and a file ``face_landmarker.task``: every mediapipe with ``tasks``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.face.landmarks import Face, LandmarkSource, largest_first
from sensorium.modalities.face.sources import _mediapipe

TOGETHER = 10  #: faces that the graph looks for, so that the largest of them is known
ABOUT = (
    "download it once from https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/"
    "float16/latest/face_landmarker.task and give its path: model=face_landmarker.task"
)


class Tasks(LandmarkSource):
    """FaceLandmarker with a model bundle. blendshapes: compute the 52 scores too, where the file has their model."""

    name = "tasks"

    def __init__(self, model: str | Path | None, blendshapes: bool = False) -> None:
        if not model:
            raise BadRecipe(f"landmarks=tasks needs a model file; {ABOUT}")
        self.path, self.blendshapes = Path(model).expanduser(), blendshapes
        if not self.path.is_file():
            raise BadData(f"{self.path} is no file; {ABOUT}")
        self._mediapipe = _mediapipe.load()
        self._graphs = _mediapipe.PerThread(self._graph)

    @cached_property
    def _model(self) -> str:
        return io.checksum(self.path)

    def fingerprint(self) -> Mapping[str, Any]:
        """The checksum of the model file."""
        return {"landmarks": self._model}

    def faces(self, rgb: np.ndarray, most: int = 1) -> list[Face]:
        """The faces of a picture (h, w, 3) uint8, the largest first."""
        mediapipe = self._mediapipe
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(rgb))
        found = self._graphs.get(max(most, TOGETHER)).detect(picture)
        faces = []
        for i, mesh in enumerate(found.face_landmarks):
            points = np.array([(p.x, p.y, p.z) for p in mesh], np.float32)
            scores = [one.score for one in found.face_blendshapes[i]] if self.blendshapes else None
            if np.isfinite(points).all():
                faces.append(Face(points, None if scores is None else np.array(scores, np.float32)))
        return largest_first(faces, most)

    def _graph(self, most: int) -> Any:
        from mediapipe.tasks import python
        from mediapipe.tasks.python import vision

        base = python.BaseOptions(model_asset_path=str(self.path))
        options = vision.FaceLandmarkerOptions(base, num_faces=most, output_face_blendshapes=self.blendshapes)
        try:
            return vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise BadData(f"{self.path} is no face landmarker of MediaPipe ({str(error).splitlines()[0]}); "
                          f"{ABOUT}") from None  # fmt: skip
