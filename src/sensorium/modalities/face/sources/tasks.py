"""Landmarks by MediaPipe's FaceLandmarker and a file ``face_landmarker.task``: every mediapipe with ``tasks``."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.face.landmarks import Face, LandmarkSource, largest_first
from sensorium.modalities.face.sources import _mediapipe
from sensorium.modalities.face.sources._following import Following

TOGETHER = 10  #: faces that the graph looks for, so that the largest of them is known
LANDMARK_MODEL = "face_landmarks_detector.tflite"  #: in the bundle
ABOUT = (
    "download it once from https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/"
    "float16/latest/face_landmarker.task and give its path: model=face_landmarker.task"
)


def fingerprint(path: Path) -> Mapping[str, Any]:
    """The checksum of the landmark model in a bundle. Raises BadData for a file that is none."""
    try:
        with zipfile.ZipFile(path) as bundle:
            return {"landmarks": xxhash.xxh3_128_hexdigest(bundle.read(LANDMARK_MODEL))}
    except FileNotFoundError:
        raise BadData(f"{path} is no file; {ABOUT}") from None
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise BadData(f"{path} is no face landmarker of MediaPipe ({error}); {ABOUT}") from None


class Tasks(LandmarkSource):
    """FaceLandmarker with a model bundle.

    blendshapes: compute the 52 scores too; the file must have their model. confidence: from which score of the
    detector on something is a face, 0 to 1. Raises BadRecipe without a model, BadData for a file that is none.
    """

    name = "tasks"

    def __init__(self, model: str | Path | None, blendshapes: bool = False, confidence: float = 0.5) -> None:
        if not model:
            raise BadRecipe(f"landmarks=tasks needs a model file; {ABOUT}")
        self.path, self.blendshapes, self._confidence = Path(model).expanduser(), blendshapes, confidence
        if _mediapipe.version() is None:
            raise _mediapipe.NoMediapipe("is not installed", "pip install mediapipe")
        self._known = fingerprint(self.path)

    def fingerprint(self) -> Mapping[str, Any]:
        """The checksum of the landmark model in the bundle: that of the legacy source, where the models are equal."""
        return self._known

    def faces(self, rgb: np.ndarray, most: int = 1) -> list[Face]:
        """The faces of a picture (h, w, 3) uint8, the largest first."""
        most_of = max(most, TOGETHER)
        key = "tasks", str(self.path), self._known["landmarks"], self.blendshapes, self._confidence, most_of
        with _mediapipe.borrowed(key, lambda: self._begun(most_of)) as graph:
            return largest_first(self._faces(graph.detect(_image(rgb))), most)

    def following(self, most: int = 1) -> LandmarkSource:
        """A graph that looks for faces where the picture before had them, and for further ones up to ``most``."""
        clock = itertools.count(0, _STEP)
        return Following(self, lambda: self._graph(most, still=False),
                         lambda graph, rgb: self._faces(graph.detect_for_video(_image(rgb), next(clock))))  # fmt: skip

    def _faces(self, found: Any) -> list[Face]:
        faces = []
        for i, mesh in enumerate(found.face_landmarks):
            points = np.array([(p.x, p.y, p.z) for p in mesh], np.float32)
            scores = [one.score for one in found.face_blendshapes[i]] if self.blendshapes else None
            if np.isfinite(points).all():
                faces.append(Face(points, None if scores is None else np.array(scores, np.float32)))
        return faces

    def _begun(self, most: int) -> Any:
        graph = self._graph(most)
        graph.detect(_image(_mediapipe.FIRST))
        return graph

    def _graph(self, most: int, still: bool = True) -> Any:
        from mediapipe.tasks import python
        from mediapipe.tasks.python import vision

        base = python.BaseOptions(model_asset_path=str(self.path))
        mode = vision.RunningMode.IMAGE if still else vision.RunningMode.VIDEO
        options = vision.FaceLandmarkerOptions(
            base, running_mode=mode, num_faces=most, output_face_blendshapes=self.blendshapes,
            min_face_detection_confidence=self._confidence,
        )  # fmt: skip
        try:
            return _mediapipe.never_finalised(vision.FaceLandmarker.create_from_options(options))
        except TypeError as error:  # the protobuf of another mediapipe
            found = ".".join(map(str, _mediapipe.version() or ()))
            raise BadRecipe(f"landmarks=tasks does not run by mediapipe {found} beside this protobuf "
                            f"({str(error).splitlines()[0]}); type: pip install -U mediapipe") from None  # fmt: skip
        except (RuntimeError, ValueError) as error:
            raise BadData(f"{self.path} is no face landmarker of MediaPipe ({str(error).splitlines()[0]}); "
                          f"{ABOUT}") from None  # fmt: skip


def _image(rgb: np.ndarray) -> Any:
    mediapipe = _mediapipe.load()
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(rgb))


_STEP = 33  # milliseconds from picture to picture; the graph wants a time that grows
