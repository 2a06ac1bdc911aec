"""What one socket remembers of its faces: ids that stay with them, values smoothed over time, labels that hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sensorium.errors import BadData
from sensorium.modalities.face.layout import EMOTIONS, POINTS
from sensorium.stream.identities import Identities
from sensorium.stream.one_euro import OneEuro
from sensorium.stream.tracker import SegmentTracker, TrackerOptions
from sensorium.systems.perception.likeness import look
from sensorium.systems.perception.reader import Found, joined, split

#: Smoothing of landmarks: Hz at rest, and Hz for each face size a second.
POINTS_CUTOFF, POINTS_BETA = 1.5, 20.0
#: Smoothing of probabilities: Hz at rest, and Hz for each unit of probability a second.
EMOTIONS_CUTOFF, EMOTIONS_BETA = 0.8, 0.5
LABELS = TrackerOptions(half_life=0.5, margin=0.1, hold=0.4, least=0.8)


@dataclass(frozen=True)
class Seen:
    """A face as it is told: id, landmarks (478, 3), probabilities (7,), the present label, and blendshapes or None."""

    id: int
    landmarks: np.ndarray
    probabilities: np.ndarray
    label: str
    scores: np.ndarray | None = None

    @property
    def vector(self) -> np.ndarray:
        """Its perception vector (1441,) float32."""
        return joined(self.landmarks[None], self.probabilities[None])[0]

    def input(self, blendshapes: bool) -> np.ndarray:
        """What a head takes: the perception vector, with blendshapes (1493,). Raises BadData where there are none."""
        if not blendshapes:
            return self.vector
        if self.scores is None:
            raise BadData("this run's head takes blendshapes, and the model file has no model of them; type "
                          "left.encoder.blendshapes=false, or take face_landmarker.task with blendshapes")  # fmt: skip
        return np.concatenate([self.vector, self.scores]).astype(np.float32)


class Watch:
    """The faces of one stream of frames. smooth: filter the values over time; ids stay with their faces either way."""

    def __init__(self, smooth: bool = True) -> None:
        self.smooth = smooth
        self._identities = Identities()
        self._held: dict[int, _Held] = {}

    def push(self, found: Found, seconds: float, size: tuple[int, int] | None = None) -> list[Seen]:
        """The faces of a frame at second ``seconds`` of the stream, in their order.

        size: width and height of the picture, so that distances are equal on both axes; None: a square.
        """
        shape = np.array(size or (1, 1), np.float64)
        shape /= shape.max()
        places = [face.landmarks[:, :2] * shape for face in found.faces]
        looks = [look(face.landmarks, shape[0] / shape[1]) for face in found.faces]
        ids = self._identities.push(places, seconds, looks)
        self._held = {id: one for id, one in self._held.items() if id in self._identities.tracks}
        seen = []
        for id, vector, face in zip(ids, found.vectors, found.faces, strict=True):
            if not self.smooth:
                points, chances = split(vector[None])
                label = EMOTIONS[int(chances[0].argmax())]
                seen.append(Seen(id, points[0], chances[0], label, face.blendshapes))
                continue
            held = self._held.setdefault(id, _Held(seconds))
            seen.append(replace(held.push(id, vector, seconds), scores=face.blendshapes))
        return seen


class _Held:
    """The filters and the label of one face."""

    def __init__(self, seconds: float) -> None:
        self._points = OneEuro(POINTS_CUTOFF, POINTS_BETA)
        self._emotions = OneEuro(EMOTIONS_CUTOFF, EMOTIONS_BETA)
        self._tracker = SegmentTracker(EMOTIONS, LABELS, most=1)
        self._last = seconds

    def push(self, id: int, vector: np.ndarray, seconds: float) -> Seen:
        """One frame of the face."""
        (points,), (chances,) = split(vector[None])
        gone = seconds - self._last
        if gone > _GONE:  # it was away: what is old does not belong to where it is now
            self._points.reset()
        scale = np.maximum(np.ptp(points, axis=0), 1e-6)
        scale[2] = scale[0]
        smooth = self._points.push(points, gone, scale)
        mixed = self._emotions.push(chances, gone).clip(0)
        self._tracker.push(seconds, seconds + max(gone, 1e-3), chances.tolist())
        self._last = seconds
        label = self._tracker.label or EMOTIONS[int(chances.argmax())]
        return Seen(id, smooth.astype(np.float32), (mixed / mixed.sum()).astype(np.float32), label)


def box(points: np.ndarray) -> Sequence[float]:
    """Left, top, width and height of landmarks (478, 3)."""
    low, high = points[:POINTS, :2].min(0), points[:POINTS, :2].max(0)
    return [*low.tolist(), *(high - low).tolist()]


_GONE = 0.5  # seconds without a face after which its landmarks are not smoothed over the gap
