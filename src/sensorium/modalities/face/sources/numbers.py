"""Landmarks computed elsewhere, such as in a browser, and given as numbers: checked, and read no picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sensorium.errors import BadData
from sensorium.modalities.face.landmarks import Face, LandmarkSource
from sensorium.modalities.face.layout import BLENDSHAPES, EMOTIONS, LANDMARKS, POINTS, PROBABILITIES, WIDTH

_LARGEST = 4.0  # of a coordinate: a face may reach beyond the picture, yet not that far
_SUM = 0.02  # by which the probabilities may miss 1


class Given(NamedTuple):
    """A face as numbers: its landmarks, and the seven probabilities (7,) float32 where they were given too."""

    face: Face
    probabilities: np.ndarray | None


class Numbers(LandmarkSource):
    """The source of an encoder that takes numbers alone."""

    name = "numbers"

    def fingerprint(self) -> Mapping[str, Any]:
        """Nothing is known of what computed them."""
        return {"landmarks": "numbers"}

    def faces(self, rgb: np.ndarray, most: int = 1) -> list[Face]:
        """Raises BadData: there is no model that looks at pictures."""
        raise BadData(
            "landmarks=numbers takes faces as numbers (478, 3) and reads no pictures; type left.encoder.landmarks=auto"
        )


def is_numbers(value: Any) -> bool:
    """Whether a value of kind "face" is numbers rather than a picture: a list, or an array that is not uint8."""
    if isinstance(value, np.ndarray):
        return value.dtype != np.uint8
    return isinstance(value, list)


def given(value: Any) -> Given:
    """A face of (478, 3), (1434,), or (1441,) numbers, the last with its seven emotion probabilities.

    (1493,) is with the 52 blendshapes besides. Raises BadData for another shape, values that are not finite or no
    shares of a picture, points that all lie in one place, and probabilities that are none.
    """
    try:
        numbers = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise BadData(f"a face of {type(value).__name__} that is no array of numbers; {_expected()}") from None
    if numbers.shape not in ((POINTS, 3), (3 * POINTS,), (WIDTH,), (WIDTH + len(BLENDSHAPES),)):
        raise BadData(f"a face of numbers of shape {numbers.shape}; {_expected()}")
    flat = numbers.reshape(-1)
    bad = int(np.count_nonzero(~np.isfinite(flat)))
    if bad:
        raise BadData(f"{bad} of a face's {len(flat)} numbers are NaN or infinite; {_expected()}")
    landmarks = np.ascontiguousarray(flat[LANDMARKS]).reshape(POINTS, 3)
    far = float(np.abs(landmarks).max())
    if far > _LARGEST:
        raise BadData(f"a landmark at {far:g}; expected shares of the picture, about 0 to 1: divide x and z by the "
                      "picture's width, and y by its height")  # fmt: skip
    if not np.ptp(landmarks[:, :2], axis=0).min() > 0:
        raise BadData("a face whose landmarks all lie on one line or in one place; leave out frames without a face")
    if len(flat) < WIDTH:
        return Given(Face(landmarks), None)
    scores = np.ascontiguousarray(flat[WIDTH:]) if len(flat) > WIDTH else None
    return Given(Face(landmarks, scores), _probabilities(flat[PROBABILITIES]))


def _probabilities(found: np.ndarray) -> np.ndarray:
    if found.min() < -1e-4 or abs(float(found.sum()) - 1) > _SUM:
        raise BadData(f"emotion probabilities from {found.min():g} to {found.max():g} that add up to {found.sum():g}; "
                      f"expected {len(EMOTIONS)} numbers of at least 0 that add up to 1, in the order "
                      f"{', '.join(EMOTIONS)}")  # fmt: skip
    return np.ascontiguousarray(found)


def _expected() -> str:
    return f"expected ({POINTS}, 3) or ({3 * POINTS},) landmarks, or ({WIDTH},) with the {len(EMOTIONS)} probabilities"
