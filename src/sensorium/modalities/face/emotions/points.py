"""The emotion from the 478 landmarks alone, by a linear classifier with its weights in the package; NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.modalities.face.emotions import Classifier, _common, _shape
from sensorium.modalities.face.emotions._linear import Linear
from sensorium.modalities.face.landmarks import Face

LICENCE = "MIT; trained on FER2013, whose pictures are for research (points.json)"


class Points(Classifier):
    """Linear discriminant analysis (Fisher 1936; shrunk covariance) of the upright shape, calibrated by a temperature.

    It needs no picture, and is less often right than one that sees it: points.json and docs/faces.md have the figures.
    The picture's ratio of width to height is estimated from the face, so that numbers alone give the same answer.
    """

    name, needs_pixels = "points", False

    def __init__(self) -> None:
        self._linear = Linear()

    def fingerprint(self) -> Mapping[str, Any]:
        """The weights' checksum and the version of what is done to landmarks before."""
        return {"emotions": self.name, "weights": self._linear.checksum, "shape": _shape.VERSION}

    def probabilities(self, rgb: np.ndarray | None, faces: Sequence[Face]) -> np.ndarray:
        """(n, 7) float32 of n faces; the picture is not looked at. Raises BadData, see :mod:`._shape`."""
        return _common.softmax(self._linear(_common.points(faces)))


def make(model: str = "points") -> Points:
    """The classifier. Raises Corrupt where its weights are damaged."""
    return Points()
