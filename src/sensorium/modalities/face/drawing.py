"""A face of landmarks drawn as lines, so that a face that came as numbers can be shown."""

from __future__ import annotations

import numpy as np

from sensorium.errors import require
from sensorium.modalities.face import layout

_RINGS = (layout.OVAL, layout.RIGHT_EYE, layout.LEFT_EYE, layout.RIGHT_BROW, layout.LEFT_BROW, layout.OUTER_LIPS,
          layout.INNER_LIPS, layout.RIGHT_IRIS[1:], layout.LEFT_IRIS[1:])  # fmt: skip
_SCALE = 4  # the picture is drawn so much larger, and reduced: smooth lines


def draw(landmarks: np.ndarray, side: int = 160) -> np.ndarray:
    """Landmarks (478, 3) as dark lines on a light picture (side, side, 3) uint8, the face filling it."""
    image = require("PIL.Image", "face").new("RGB", (side * _SCALE, side * _SCALE), "#f4f4f2")
    pen = require("PIL.ImageDraw", "face").Draw(image)
    points = landmarks[:, :2] - (landmarks[:, :2].min(0) + landmarks[:, :2].max(0)) / 2
    points = points / max(float(np.ptp(points, axis=0).max()), 1e-9) * 0.9 + 0.5
    points = points * side * _SCALE
    for ring in _RINGS:
        pen.line([tuple(points[i]) for i in (*ring, ring[0])], fill="#334455", width=_SCALE)
    pen.line([tuple(points[i]) for i in layout.NOSE], fill="#334455", width=_SCALE)
    return np.asarray(image.reduce(_SCALE))
