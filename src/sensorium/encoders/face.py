"""Faces as perception vectors: 478 landmarks of MediaPipe's face mesh, then seven emotion probabilities."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium.contracts import Encoder
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.face import canonical, emotions, landmarks, reading, thorough
from sensorium.modalities.face.landmarks import Face as OneFace
from sensorium.modalities.face.landmarks import LandmarkSource, NoFace
from sensorium.modalities.face.layout import BLENDSHAPES, EMOTIONS, WIDTH
from sensorium.modalities.face.reading import Seen
from sensorium.modalities.face.sources import legacy, numbers, tasks
from sensorium.types import VideoFrame

LICENCE = "Apache 2.0 (landmark model); MIT (own, points, fer), trained on FER2013, whose pictures are for research"
WEIGHTS = "the package mediapipe 0.10.21, or a file face_landmarker.task; own and points lie in this package"
GIVEN, POINTS = "given", "points"  # values of the key ``emotions``: those that came along; from landmarks alone
FACES, SEARCHES = ("largest", "all"), ("thorough", "whole")
_MOST = 50  # faces of a picture
_THREADS = 4  # at most: each has the graphs once


class Face(Encoder):
    """A face as 1,441 numbers: x, y and z of 478 landmarks, then the probabilities of seven emotions.

    The numbers are raw: x and z in widths of the picture, y in heights, where the face is in it. A head that centres,
    scales and turns them is ``face``. The emotions are angry, disgust, fear, happy, neutral, sad and surprise.
    Items are pictures, frames of videos, or landmarks as numbers. A picture without a face raises NoFace.

    landmarks: "legacy" (mediapipe 0.10.21, whose package has the model), "tasks" (with ``model``), "numbers" (landmarks
    that were computed elsewhere: pictures are refused), or "auto": tasks with a model, numbers where all items are
    numbers, else legacy.
    model: path of MediaPipe's file face_landmarker.task, for "tasks"; "" for the others.
    emotions: what tells the emotion: "own" (a small network on the face's pixels), "points" (from the landmarks
    alone), "fer" (the package of that name), the id or folder of an image classifier of transformers, or "given": the
    seven that the numbers brought. Numbers without them get those of "points".
    faces: "largest", or "all" of a picture as a sequence of vectors, for heads that take frames.
    search: "thorough": also tight crops, small faces and pictures that lie on their side; "whole": as MediaPipe does.
    blendshapes: with true, MediaPipe's 52 expression scores follow, 1,493 numbers; they need "tasks".
    """

    takes: ClassVar[str] = "face"
    finds = True
    batch: ClassVar[int] = 16

    def __init__(
        self,
        landmarks: str = "auto",
        model: str = "",
        emotions: str = "own",
        faces: str = "largest",
        search: str = "thorough",
        blendshapes: bool = False,
    ) -> None:
        known = ("auto", "legacy", "tasks", "numbers")
        for key, value, expected in (("landmarks", landmarks, known), ("faces", faces, FACES),
                                     ("search", search, SEARCHES)):  # fmt: skip
            if value not in expected:
                raise BadRecipe(f"face: {key}={value!r}; expected {', '.join(expected)}")
        if not emotions:
            raise BadRecipe("face: emotions=''; expected own, points, fer, given, or a classifier of transformers")
        if landmarks == "auto" and model:
            landmarks = "tasks"
        if model and landmarks != "tasks":
            raise BadRecipe(
                f"face: landmarks={landmarks} takes no model; leave it out, or type left.encoder.landmarks=tasks"
            )
        if landmarks == "tasks" and not model:
            raise BadRecipe(f"face: landmarks=tasks needs a model file; {tasks.ABOUT}")
        if blendshapes and landmarks not in ("tasks", "numbers"):
            raise BadRecipe("face: blendshapes=true needs landmarks=tasks and model=face_landmarker.task")
        self.landmarks, self.model, self.emotions = landmarks, model, emotions
        self.faces, self.search, self.blendshapes = faces, search, bool(blendshapes)
        self.frames = faces == "all"

    @property
    def dim(self) -> int:
        """Width of a vector: 1441, with blendshapes 1493."""
        return WIDTH + len(BLENDSHAPES) * self.blendshapes

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors: checksums of the landmark model and of the emotion classifier, and the search.

        The two interfaces of MediaPipe have equal ones where their landmark models are equal.
        """
        classifier = GIVEN if self.emotions == GIVEN else dict(self.classifier.fingerprint())
        return {"name": "face", **self._looks, "emotions": classifier, "faces": self.faces,
                **({"blendshapes": True} if self.blendshapes else {})}  # fmt: skip

    @property
    def finder(self) -> dict[str, Any]:
        """What the faces that are found depend on: all of the fingerprint but the emotions."""
        return {"name": "face", **self._looks}

    @property
    def example(self) -> np.ndarray:
        """A face as numbers, which every setting takes."""
        face = canonical.shape() * 0.2 + np.float32(0.5)
        odds = np.full(len(EMOTIONS), 1 / len(EMOTIONS), np.float32)
        scores = np.zeros(len(BLENDSHAPES) * self.blendshapes, np.float32)
        return np.concatenate([face.reshape(-1), odds, scores])

    def check(self, values: Sequence[Any]) -> None:
        """Settle ``landmarks=auto`` by the values. Raises BadData for values that the settings do not take."""
        kinds = [numbers.is_numbers(value) or str(value)[-4:].lower() == ".npy" for value in values]
        if self.landmarks == "auto" and kinds and all(kinds):
            self.landmarks = "numbers"
        if self.landmarks == "numbers":
            if not all(kinds):
                raise BadData(f"{len(kinds) - sum(kinds)} of {len(kinds)} faces are pictures, and landmarks=numbers "
                              "takes numbers alone; type left.encoder.landmarks=auto, or leave them out")  # fmt: skip
            if self.emotions not in (GIVEN, POINTS):
                whole = all(numbers.given(reading.given(value)).probabilities is not None for value in values)
                self.emotions = GIVEN if whole else POINTS

    def settle(self) -> dict[str, Any]:
        """The source that was chosen, and the emotions where the values brought them."""
        return {"landmarks": "legacy" if self.landmarks == "auto" else self.landmarks, "emotions": self.emotions}

    def encode(self, values: Sequence[Any]) -> Any:
        """Vectors (n, 1441) float32; with ``faces=all`` a list of (t_i, 1441), the largest face first.

        values: paths, pixels uint8, VideoFrame, FoundFace, or numbers (478, 3), (1434,) or (1441,).
        Raises NoFace, naming it, for a picture without a face; BadData for one that cannot be read.
        """
        found = list(self.each(values, _MOST if self.frames else 1))
        for value, rows in zip(values, found, strict=True):
            if isinstance(rows, BadData):
                raise rows
            if not len(rows):
                raise NoFace(f"no face was found in {reading.named(value)}; leave it out. data=perception leaves such "
                             "pictures out itself and lists them")  # fmt: skip
        if self.frames:
            return found
        return np.concatenate(found) if found else np.zeros((0, self.dim), np.float32)

    def each(self, values: Sequence[Any], most: int = 1) -> Iterator[np.ndarray | BadData]:
        """For each value its faces' vectors (k, 1441), k ≤ most, the largest first, or what is wrong with the value.

        k is 0 for a picture without a face. Pictures are looked at side by side, frames of videos read in order.
        """
        if not len(values):
            return
        ahead = 2 * self._workers
        waiting = [self._submit(value, most) for value in values[:ahead]]
        for i in range(len(values)):
            done, waiting[:1] = waiting[0], []
            if i + ahead < len(values):
                waiting.append(self._submit(values[i + ahead], most))
            yield done.result()

    def find(self, value: Any, most: int = 1) -> list[np.ndarray]:
        """The landmarks (478, 3) of each face of a picture, ``most`` at most, the largest first."""
        return [face.landmarks for face in self.see(value, most).faces]

    def see(self, value: Any, most: int = 1) -> Seen:
        """The faces of one value, and its picture: see :func:`sensorium.modalities.face.reading.look`."""
        number = numbers.is_numbers(value) or str(value)[-4:].lower() == ".npy"
        return reading.look(value, numbers.Numbers() if number else self._looking, most)

    def vectors(self, seen: Seen) -> np.ndarray:
        """Vectors (k, 1441) of the faces that were seen."""
        if not seen.faces:
            return np.zeros((0, self.dim), np.float32)
        if seen.probabilities is not None:
            probabilities = seen.probabilities[None]
        else:
            probabilities = self._classifier_of(seen.rgb).probabilities(seen.rgb, seen.faces)
        points = np.stack([face.landmarks.reshape(-1) for face in seen.faces])
        return np.concatenate([points, probabilities, *self._scores(seen.faces)], axis=1).astype(np.float32)

    @property
    def _looks(self) -> Mapping[str, Any]:
        """What the landmarks depend on: the model and the search."""
        if self.landmarks == "numbers":
            return numbers.Numbers().fingerprint()
        path = Path(self.model).expanduser()
        about = tasks.fingerprint(path) if self.landmarks == "tasks" else legacy.fingerprint()
        return {**about, "search": thorough.VERSION if self.search == "thorough" else self.search}

    def _submit(self, value: Any, most: int) -> Any:
        if isinstance(value, VideoFrame):  # here, in order: a thread would seek to and fro
            try:
                value = reading.rgb(value)
            except BadData as error:
                return self._threads.submit(lambda error=error: error)
        return self._threads.submit(self._one, value, most)

    def _one(self, value: Any, most: int) -> np.ndarray | BadData:
        try:
            return self.vectors(self.see(value, most))
        except BadData as error:
            return error

    def _classifier_of(self, rgb: np.ndarray | None) -> emotions.Classifier:
        if self.emotions == GIVEN:
            raise BadData(f"landmarks without the {len(EMOTIONS)} emotion probabilities, and emotions=given computes "
                          f"none; give {WIDTH} numbers")  # fmt: skip
        return self._points if rgb is None and self.classifier.needs_pixels else self.classifier

    def _scores(self, faces: Sequence[OneFace]) -> list[np.ndarray]:
        if not self.blendshapes:
            return []
        scores = [face.blendshapes for face in faces if face.blendshapes is not None]
        if len(scores) < len(faces):
            raise BadData(f"a face without the {len(BLENDSHAPES)} blendshapes; give {self.dim} numbers, or type "
                          "left.encoder.blendshapes=false")  # fmt: skip
        return [np.stack(scores)]

    @cached_property
    def source(self) -> LandmarkSource:
        """What finds faces as MediaPipe itself does, in live frames too. Raises MissingExtra, BadRecipe or BadData."""
        return self._source_of(thorough.LOOSE)

    @cached_property
    def classifier(self) -> emotions.Classifier:
        """What tells emotions. Raises BadRecipe for emotions=given, MissingExtra without the package that it needs."""
        if self.emotions == GIVEN:
            raise BadRecipe("face: emotions=given takes the probabilities that came along, and computes none")
        return emotions.find(self.emotions)

    @cached_property
    def _looking(self) -> LandmarkSource:
        """What finds the faces of items."""
        if self.landmarks == "numbers" or self.search == "whole":
            return self.source
        return thorough.Thorough(self._source_of(thorough.STRICT), self.source)

    def _source_of(self, confidence: float) -> LandmarkSource:
        return landmarks.find(self.landmarks, self.model or None, blendshapes=self.blendshapes, confidence=confidence)

    @cached_property
    def _points(self) -> emotions.Classifier:
        return emotions.find(POINTS)

    @property
    def _workers(self) -> int:
        cores = len(os.sched_getaffinity(0)) if "sched_getaffinity" in vars(os) else os.cpu_count() or 1
        return min(cores, _THREADS)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._workers, "sensorium-face")
