"""Pose of a face: the scale and turn that fit the canonical face to it, and how well that fits (Umeyama 1991)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sensorium.modalities.face import canonical
from sensorium.modalities.face.layout import LEFT_EYE_OUTER, RIGHT_EYE_OUTER


class Pose(NamedTuple):
    """scale: distance of the outer eye corners, in widths of the picture. rotation (3, 3): of the canonical face.

    misfit: root mean square distance of the landmarks to the fitted canonical face, in distances of the eye corners:
    below 0.09 for 99% of faces with any expression, and often more where there is no face or it was read upside down.
    """

    scale: float
    rotation: np.ndarray
    misfit: float


def fit(landmarks: np.ndarray, aspect: float = 1.0) -> Pose:
    """The pose of landmarks (478, 3) of a picture; aspect: its width by its height."""
    found = landmarks * np.array([1.0, 1.0 / aspect, 1.0])
    model = canonical.shape().astype(np.float64)
    model, found = model - model.mean(0), found - found.mean(0)
    left, stretch, right = np.linalg.svd(model.T @ found)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    turn = (left * signs) @ right
    scale = float((stretch * signs).sum() / np.square(model).sum())
    rest = found - scale * model @ turn
    return Pose(scale, turn.T, float(np.sqrt(np.square(rest).sum(1).mean()) / max(scale, 1e-9)))


def roll(landmarks: np.ndarray, aspect: float = 1.0) -> float:
    """Degrees by which the line of the eyes is turned clockwise in the picture, −180 to 180."""
    x, y = (landmarks[LEFT_EYE_OUTER] - landmarks[RIGHT_EYE_OUTER])[:2]
    return math.degrees(math.atan2(y / aspect, x))
