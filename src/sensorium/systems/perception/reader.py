"""Frames to perception vectors: landmarks by the run's source, emotions by its classifier, or numbers as they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sensorium.encoders.face import GIVEN, POINTS
from sensorium.encoders.face import Face as FaceEncoder
from sensorium.errors import BadData, SensoriumError
from sensorium.modalities.face import emotions, landmarks
from sensorium.modalities.face.emotions import Classifier
from sensorium.modalities.face.landmarks import Face, LandmarkSource
from sensorium.modalities.face.layout import BLENDSHAPES, LANDMARKS, PROBABILITIES, WIDTH
from sensorium.modalities.face.layout import POINTS as COUNT
from sensorium.modalities.face.sources import numbers
from sensorium.search.run import Run

PICTURES = "own"  #: the classifier of pictures for a run that names none


@dataclass(frozen=True)
class Found:
    """The faces of one frame, the largest first, and their emotion probabilities (n, 7) float32."""

    faces: Sequence[Face]
    probabilities: np.ndarray

    @property
    def vectors(self) -> np.ndarray:
        """The perception vectors (n, 1441) float32, without blendshapes."""
        return joined(np.array([face.landmarks for face in self.faces], np.float32), self.probabilities)


def joined(points: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Landmarks (n, 478, 3) and probabilities (n, 7) as perception vectors (n, 1441) float32."""
    n = len(points)
    return np.concatenate([points.reshape(n, 3 * COUNT), probabilities], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Reader:
    """What reads the frames of a run.

    source, classifier: for pictures; None where ``why`` says what is missing and what to type. numbers: the classifier
    for landmarks that a client sends; None where ``why_numbers`` says why. own: the run's own encoder chose them; for
    a run of vectors, nothing is known of what made its numbers. blendshapes: the head takes the 52 scores too.
    """

    source: LandmarkSource | None
    classifier: Classifier | None
    numbers: Classifier | None
    why: str | None = None
    why_numbers: str | None = None
    own: bool = False
    blendshapes: bool = False

    def picture(self, rgb: np.ndarray, most: int, source: LandmarkSource | None = None) -> Found:
        """The faces of a picture (h, w, 3) uint8; source: that of a stream, see ``LandmarkSource.following``.

        Raises BadData where no pictures can be read; see ``why``.
        """
        source = source or self.source
        if source is None or self.classifier is None:
            raise BadData(self.why or "no pictures are read here")
        return _classified(self.classifier, rgb, source.faces(rgb, most))

    def points(self, found: np.ndarray, most: int) -> Found:
        """Faces given as landmarks (n, 478, 3), the ``most`` largest. Raises BadData for what is no face."""
        if self.numbers is None:
            raise BadData(self.why_numbers or "landmarks alone are not read here")
        faces = landmarks.largest_first([numbers.given(one).face for one in found], most)
        return _classified(self.numbers, None, faces)

    def vectors(self, found: np.ndarray, most: int) -> Found:
        """Faces given as perception vectors (n, 1441), the ``most`` largest. Raises BadData for what is no face."""
        if self.blendshapes:
            raise BadData(self.why_numbers or "vectors without blendshapes are not read here")
        read = sorted((numbers.given(one) for one in found), key=lambda one: -one.face.area)[:most]
        rows = [one.probabilities for one in read]
        return Found([one.face for one in read], np.array(rows, np.float32).reshape(len(read), WIDTH - 3 * COUNT))


def _classified(classifier: Classifier, rgb: np.ndarray | None, faces: Sequence[Face]) -> Found:
    """The faces with their emotions; without those that a classifier cannot look at, such as one of flat grey."""
    if not faces:
        return Found([], np.zeros((0, WIDTH - 3 * COUNT), np.float32))
    try:
        return Found(faces, classifier.probabilities(rgb, faces))
    except BadData:
        if len(faces) == 1:
            return Found([], np.zeros((0, WIDTH - 3 * COUNT), np.float32))
    each = [_classified(classifier, rgb, [face]) for face in faces]
    return Found([face for one in each for face in one.faces], np.concatenate([one.probabilities for one in each]))


def of(run: Run, side: str, model: str = "") -> Reader:
    """The reader of a run, whose side of faces is ``side``: by its own encoder, else by what is installed here.

    model: a file face_landmarker.task for runs that name no source of landmarks.
    """
    encoder = run.encoder(side)
    own = encoder if isinstance(encoder, FaceEncoder) else None
    looks = own is not None and own.landmarks != "numbers"
    source = classifier = None
    why = why_numbers = None
    try:
        source = own.source if own is not None and looks else landmarks.find("auto", model or None)
        classifier = own.classifier if own is not None and own.emotions != GIVEN else emotions.find(PICTURES)
        if own is not None and own.emotions == POINTS and not looks:
            classifier = emotions.find(POINTS)
    except SensoriumError as error:
        source, why = None, str(error)
    try:
        alone = classifier if classifier is not None and not classifier.needs_pixels else emotions.find(POINTS)
    except SensoriumError as error:
        alone, why_numbers = None, str(error)
    wide = own is not None and own.blendshapes
    if wide:
        why_numbers = f"this run's faces have {len(BLENDSHAPES)} blendshapes beside their landmarks; send pictures"
    return Reader(source, classifier, None if wide else alone, why, why_numbers, looks, wide)


def split(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Perception vectors (n, 1441) as landmarks (n, 478, 3) and probabilities (n, 7)."""
    return vectors[:, LANDMARKS].reshape(len(vectors), COUNT, 3), vectors[:, PROBABILITIES]
