"""An encoder of faces for tests without a landmark model: what a made picture shows is written into its first pixels."""

import numpy as np
from made_faces import face

from sensorium.contracts import Encoder
from sensorium.errors import BadData
from sensorium.modalities.face import video
from sensorium.modalities.image import files
from sensorium.types import FoundFace, VideoFrame

SIDE = 64


def picture(faces: int = 1, person: int = 0, smile: float = 0.0) -> np.ndarray:
    """A picture (64, 64, 3) that shows so many faces of a person, the next ones of the next persons."""
    made = np.full((SIDE, SIDE, 3), 128, np.uint8)
    made[:32, :32, 0], made[:32, 32:, 0] = 30 * faces, 4 * person
    made[32:, :32, 0] = round(100 + 100 * smile)
    return made


class SeenFaces(Encoder):
    """Landmarks of made pictures, 478 points as numbers; ``looked`` counts the pictures that were searched."""

    takes, dim, finds, batch = "face", 1434, True, 8
    fingerprint = {"name": "seen-faces"}  # noqa: RUF012
    finder = {"name": "seen-faces"}  # noqa: RUF012
    looked = 0
    stop_at = -1

    def find(self, value, most=1):
        SeenFaces.looked += 1
        if SeenFaces.looked == SeenFaces.stop_at:
            raise KeyboardInterrupt
        rgb = value if isinstance(value, np.ndarray) else files.read(value)
        if rgb.ndim == 2 or rgb.shape[:2] != (SIDE, SIDE):
            return []
        faces, person = round(rgb[8, 8, 0] / 30), round(rgb[8, 48, 0] / 4)
        smile = (float(rgb[48, 8, 0]) - 100) / 100
        return [face(person=person + k, smile=smile, scale=0.2 - 0.02 * k) for k in range(min(faces, most))]

    def encode(self, values):
        return np.array([self._one(value).reshape(-1) for value in values], np.float32).reshape(-1, 1434)

    def _one(self, value):
        if isinstance(value, FoundFace):
            return value.landmarks
        found = self.find(video.read(value) if isinstance(value, VideoFrame) else value)
        if not found:
            raise BadData("no face")
        return found[0]


def write_video(path, pictures, rate=10):
    """A video of these pictures, without loss."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=rate)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "bgr0"
        for rgb in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
