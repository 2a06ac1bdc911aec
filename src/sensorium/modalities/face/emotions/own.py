"""A small network on the aligned grey crop of a face, and its landmarks; weights in the package, NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.modalities.face.emotions import Classifier, _common, _crop, _shape
from sensorium.modalities.face.emotions._linear import Linear
from sensorium.modalities.face.emotions._network import Network
from sensorium.modalities.face.landmarks import Face
from sensorium.modalities.face.layout import EMOTIONS

LICENCE = "MIT; trained on FER2013, whose pictures are for research (own.json); first weights of fer (MIT, fer.LICENSE)"
#: Of the landmarks' log probabilities beside the network's, and what their sum is divided by. Chosen on faces that a
#: network from random weights had not seen (python -m bench.face_network --scratch).
SHARE, TEMPERATURE = 0.7, 1.38


class Own(Classifier):
    """A mini-XCEPTION on 48 x 48 grey pixels and the linear classifier of ``points``: their product, calibrated.

    How it was trained and how often it is right stands in own.json beside the weights and in docs/faces.md.
    """

    name, needs_pixels = "own", True

    def __init__(self) -> None:
        arrays, self._checksum = _common.weights("own")
        self._network, self._linear = Network(arrays), Linear()

    def fingerprint(self) -> Mapping[str, Any]:
        """The weights' checksums, and the versions of what is done to pixels and landmarks before."""
        return {"emotions": self.name, "weights": [self._checksum, self._linear.checksum],
                "crop": _crop.VERSION, "shape": _shape.VERSION}  # fmt: skip

    def probabilities(self, rgb: np.ndarray | None, faces: Sequence[Face]) -> np.ndarray:
        """(n, 7) float32 of n faces of a picture (h, w, 3) uint8. Raises BadData, see :mod:`._crop`."""
        rgb, landmarks = _common.picture(rgb, self.name), _common.points(faces)
        return together(self.of_crops(_crop.crops(rgb, landmarks)), _common.softmax(self._linear(landmarks)))

    def of_crops(self, crops: np.ndarray) -> np.ndarray:
        """(n, 7) of crops (n, 48, 48) of grey levels 0..255 alone, by the network. Raises BadData for a flat one."""
        x = _crop.normalised(crops)
        if not len(x):
            return np.zeros((0, len(EMOTIONS)), np.float32)
        return _common.softmax(self._network(_crop.enlarged(x)))


def together(pixels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The product of the network's probabilities (n, 7) and a power of those of the landmarks, calibrated."""
    logs = np.log(np.maximum(pixels, 1e-9)) + SHARE * np.log(np.maximum(points, 1e-9))
    return _common.softmax(logs / TEMPERATURE)


def make(model: str = "own") -> Own:
    """The classifier. Raises Corrupt where its weights are damaged."""
    return Own()
