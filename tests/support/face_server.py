"""A real server over runs of faces, and a source of landmarks that needs no mediapipe."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
from live_server import Server
from made_faces import face

from sensorium.modalities.face.emotions import Classifier
from sensorium.modalities.face.landmarks import Face, LandmarkSource


class FaceServer(Server):
    """A server whose readiness does not depend on sound."""

    def ready(self) -> bool:
        return httpx.get(f"http://127.0.0.1:{self.port}/healthz").status_code == 200


class Marks(LandmarkSource):
    """A made face in the middle of every picture that is not black; takes ``seconds`` for each."""

    name = "marks"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.shapes = seconds, list[tuple[int, ...]]()

    def fingerprint(self) -> Mapping[str, Any]:
        return {}

    def faces(self, rgb: np.ndarray, most: int = 1) -> list[Face]:
        assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
        self.shapes.append(rgb.shape)
        time.sleep(self.seconds)
        return [Face(face(scale=0.1, aspect=rgb.shape[1] / rgb.shape[0]))] if rgb.any() else []


class Bright(Classifier):
    """Happy, where the picture is bright, else sad."""

    name, needs_pixels = "bright", True

    def fingerprint(self) -> Mapping[str, Any]:
        return {}

    def probabilities(self, rgb: np.ndarray | None, faces: Any) -> np.ndarray:
        assert rgb is not None
        at = 3 if rgb.mean() > 100 else 5
        return np.repeat(0.02 + 0.86 * np.eye(7, dtype=np.float32)[at][None], len(faces), 0)
