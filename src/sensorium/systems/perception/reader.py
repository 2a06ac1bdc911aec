"""Frames to perception vectors: landmarks by the run's source, emotions by its classifier, or numbers as they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sensorium.errors import BadData, SensoriumError
from sensorium.modalities.face import emotions, landmarks
from sensorium.modalities.face.emotions import Classifier
from sensorium.modalities.face.landmarks import Face, LandmarkSource
from sensorium.modalities.face.layout import LANDMARKS, POINTS, PROBABILITIES, WIDTH
from sensorium.modalities.face.sources import numbers
from sensorium.search.run import Run

FALLBACK = "points"  #: the classifier that needs no picture
PICTURES = "own"  #: the classifier of pictures for a run that names none


@dataclass(frozen=True)
class Found:
    """The faces of one frame, the largest first, and their emotion probabilities (n, 7) float32."""

    faces: Sequence[Face]
    probabilities: np.ndarray

    @property
    def vectors(self) -> np.ndarray:
        """The perception vectors (n, 1441) float32."""
        return joined(np.array([face.landmarks for face in self.faces], np.float32), self.probabilities)


def joined(points: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Landmarks (n, 478, 3) and probabilities (n, 7) as perception vectors (n, 1441) float32."""
    n = len(points)
    return np.concatenate([points.reshape(n, 3 * POINTS), probabilities], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Reader:
    """What reads the frames of a run.

    source, classifier: for pictures; None where ``why`` says what is missing and what to type. numbers: the classifier
    for landmarks that a client sends; None where ``why_numbers`` says why.
    """

    source: LandmarkSource | None
    classifier: Classifier | None
    numbers: Classifier | None
    why: str | None = None
    why_numbers: str | None = None
    own: bool = field(default=False)  # the run's own encoder chose them

    def picture(self, rgb: np.ndarray, most: int) -> Found:
        """The faces of a picture (h, w, 3) uint8. Raises BadData where no pictures can be read; see ``why``."""
        if self.source is None or self.classifier is None:
            raise BadData(self.why or "no pictures are read here")
        return _classified(self.classifier, rgb, self.source.faces(rgb, most))

    def points(self, found: np.ndarray, most: int) -> Found:
        """Faces given as landmarks (n, 478, 3), the ``most`` largest. Raises BadData for what is no face."""
        if self.numbers is None:
            raise BadData(self.why_numbers or "landmarks alone are not read here")
        faces = landmarks.largest_first([numbers.given(one).face for one in found], most)
        return _classified(self.numbers, None, faces)

    def vectors(self, found: np.ndarray, most: int) -> Found:
        """Faces given as perception vectors (n, 1441), the ``most`` largest. Raises BadData for what is no face."""
        read = sorted((numbers.given(one) for one in found), key=lambda one: -one.face.area)[:most]
        rows = [one.probabilities for one in read]
        return Found([one.face for one in read], np.array(rows, np.float32).reshape(len(read), WIDTH - 3 * POINTS))


def _classified(classifier: Classifier, rgb: np.ndarray | None, faces: Sequence[Face]) -> Found:
    if not faces:
        return Found([], np.zeros((0, WIDTH - 3 * POINTS), np.float32))
    return Found(faces, classifier.probabilities(rgb, faces))


def of(run: Run, side: str) -> Reader:
    """The reader of a run, whose side of faces is ``side``: by its own encoder, else by what is installed here."""
    encoder = run.encoder(side)
    source = classifier = None
    why = why_numbers = None
    try:
        if encoder is None:
            source, classifier = landmarks.find("auto"), emotions.find(PICTURES)
        else:
            source, classifier = encoder.source, encoder.classifier
    except SensoriumError as error:
        source, why = None, str(error)
    try:
        alone = classifier if classifier is not None and not classifier.needs_pixels else emotions.find(FALLBACK)
    except SensoriumError as error:
        alone, why_numbers = None, str(error)
    return Reader(source, classifier, alone, why, why_numbers, encoder is not None)


def split(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Perception vectors (n, 1441) as landmarks (n, 478, 3) and probabilities (n, 7)."""
    return vectors[:, LANDMARKS].reshape(len(vectors), POINTS, 3), vectors[:, PROBABILITIES]
