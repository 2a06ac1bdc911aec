"""The shape of a face without its place, size and pose: what the classifier of landmarks reads; NumPy alone."""

from __future__ import annotations

import numpy as np

from sensorium.errors import BadData
from sensorium.modalities.face import canonical, pose

VERSION = 1  #: of the computation; another one gives another fingerprint
#: Width by height of a picture: what :func:`aspect` may answer.
ASPECTS = (0.4, 2.5)


def aspect(landmarks: np.ndarray) -> float:
    """Width by height of the picture of landmarks (478, 3), estimated from the face itself.

    Under weak perspective, x and y of the canonical face follow from its x, y, z by two rows of one length. Landmarks
    are shares of the width and of the height, so the ratio of the rows that fit them is the picture's.
    """
    model = canonical.shape().astype(np.float64)
    found = np.asarray(landmarks, np.float64)[:, :2]
    rows = np.linalg.lstsq(model - model.mean(0), found - found.mean(0), rcond=None)[0]
    across, down = np.linalg.norm(rows, axis=0)
    return float(np.clip(down / max(across, 1e-9), *ASPECTS))


def upright(landmarks: np.ndarray, ratio: float) -> np.ndarray:
    """Landmarks (478, 3) of a picture as the face seen from in front: mean 0, outer eye corners about 1 apart.

    ratio: width by height of the picture. Raises BadData where the landmarks lie in one point.
    """
    found = np.asarray(landmarks, np.float64)
    told = pose.fit(found, ratio)
    if not told.scale > 1e-4:
        raise BadData("a face's landmarks lie in one point of the picture; leave it out")
    centred = (found - found.mean(0)) * (1.0, 1.0 / ratio, 1.0)
    return (centred @ told.rotation / told.scale).astype(np.float32)


def mirrored(shape: np.ndarray) -> np.ndarray:
    """An upright shape (..., 478, 3) as in a mirror."""
    return shape[..., canonical.mirror(), :] * np.array([-1, 1, 1], np.float32)
