"""How a face is built, from landmarks alone: the same numbers for one person whatever the pose, for telling ids apart.

Points that expressions hardly move are brought onto the average face by the similarity that fits best (Kabsch 1976,
Umeyama 1991); what is left over is the person. Not a face recognition: it tells the few faces of one picture apart.
"""

from __future__ import annotations

import functools

import numpy as np

from sensorium.modalities.face import canonical
from sensorium.modalities.face.layout import (
    FOREHEAD,
    LEFT_EYE_INNER,
    LEFT_EYE_OUTER,
    LEFT_SIDE,
    NOSE,
    OVAL,
    RIGHT_EYE_INNER,
    RIGHT_EYE_OUTER,
    RIGHT_SIDE,
)

#: Corners of the eyes, ridge of the nose, forehead and temples.
FIRM = tuple(dict.fromkeys((RIGHT_EYE_OUTER, RIGHT_EYE_INNER, LEFT_EYE_INNER, LEFT_EYE_OUTER, *NOSE, FOREHEAD,
                            RIGHT_SIDE, LEFT_SIDE, *OVAL[-8:], *OVAL[:9])))  # fmt: skip
NOISE = 0.03  #: deviation of a point from frame to frame, in distances of the outer corners of the eyes


def look(landmarks: np.ndarray, aspect: float = 1.0) -> np.ndarray:
    """Numbers (2 x points,) that differ by about 1 between two frames of a person, and by more between persons.

    landmarks (478, 3) as sources give them; aspect: width by height of the picture.
    """
    found = landmarks[list(FIRM)].astype(np.float64) * (1.0, 1.0 / aspect, 1.0)
    rest = found - found.mean(0)
    target = _target()
    u, s, v = np.linalg.svd(rest.T @ target)
    flip = np.ones(3)
    flip[2] = np.sign(np.linalg.det(u @ v))
    turned = rest @ ((u * flip) @ v)
    scale = (s * flip).sum() / max(float((rest**2).sum()), 1e-12)
    left = (turned * scale - target)[:, :2]
    return left.reshape(-1) / (NOISE * np.sqrt(left.size))


@functools.cache
def _target() -> np.ndarray:
    target = canonical.shape()[list(FIRM)].astype(np.float64)
    return target - target.mean(0)
