"""The linear classifier of upright shapes, which ``points`` is, and which ``own`` adds to its network."""

from __future__ import annotations

import numpy as np

from sensorium.modalities.face.emotions import _common, _shape
from sensorium.modalities.face.layout import EMOTIONS


class Linear:
    """Scores of landmarks whose softmax is calibrated. checksum: of the weights. Raises Corrupt for damaged ones."""

    def __init__(self) -> None:
        arrays, self.checksum = _common.weights("points")
        self._weight, self._bias = arrays["weight"], arrays["bias"]  # (1434, 7), (7,)

    def __call__(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks (n, 478, 3) to scores (n, 7). Raises BadData for a face in one point."""
        if not len(landmarks):
            return np.zeros((0, len(EMOTIONS)), np.float32)
        shapes = np.stack([_shape.upright(one, _shape.aspect(one)) for one in landmarks])
        return shapes.reshape(len(shapes), -1) @ self._weight + self._bias
