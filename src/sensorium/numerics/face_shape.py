"""Landmarks of a face without its place: centred between the eyes, scaled and turned upright; indices of the eyes.

For the ``face`` head and the runtime without torch alike. Saved heads do not contain these constants: changing one
changes what a saved head computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium.errors import BadRecipe

#: By number of landmarks: those of the eye on the picture's left (the person's right), and of the other one.
EYES: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    478: ((33, 133), (362, 263)),  # MediaPipe's face mesh with irises: the corners of each eye
    468: ((33, 133), (362, 263)),  # without irises
    68: ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47)),  # iBUG 300-W: dlib, face-api.js
}
EMOTIONS = 7  # probabilities at the end of a vector
BLENDSHAPES = 52  # scores between landmarks and probabilities, where there are some
FLOOR = 1e-3  # added to a probability before its logarithm: below it a classifier's numbers say nothing
LEAST = 1e-6  # smallest size of a face, in pictures


class Layout(NamedTuple):
    """A vector (width,): landmarks of ``axes`` numbers (3 or 2), then blendshapes (0 or 52), then probabilities."""

    points: int
    axes: int
    blendshapes: int
    emotions: int


def layout(width: int, points: int | None = None, emotions: int | None = None) -> Layout:
    """The layout of vectors (n, width). None: 478, 468 or 68 landmarks, 7 or no probabilities, whichever fit.

    Raises BadRecipe for a width that is none of these.
    """
    found = _found(width, points, emotions)
    if found is not None:
        return found
    first, last = points or next(iter(EYES)), EMOTIONS if emotions is None else emotions
    others = {"left.head.points": _found(width, None, emotions), "left.head.emotions": _found(width, points, None)}
    keys = [f"{key}={one.points if key.endswith('points') else one.emotions}" for key, one in others.items() if one]
    raise BadRecipe(
        f"the face head takes {first} landmarks and {last} emotions, vectors of {3 * first + last} numbers (3 a "
        f"landmark) or {2 * first + last} (2 a landmark), or {BLENDSHAPES} more with blendshapes, not {width}; "
        + (f"type: {keys[0]}" if keys else "choose another head, such as left.head=mlp")
    )


def _found(width: int, points: int | None, emotions: int | None) -> Layout | None:
    for many in EYES if points is None else (points,):
        for last in (EMOTIONS, 0) if emotions is None else (emotions,):
            for axes in (3, 2):
                rest = width - axes * many - last
                if rest in (0, BLENDSHAPES):
                    return Layout(many, axes, rest, last)
    return None


def eyes_of(points: int, eyes: Sequence[Sequence[int]] | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Indices of both eyes' landmarks: the given ones, or those that are known for so many landmarks.

    Raises BadRecipe for indices that there are not, or a number of landmarks whose eyes are not known.
    """
    if eyes is None:
        if points not in EYES:
            raise BadRecipe(f"where the eyes are among {points} landmarks is known for {', '.join(map(str, EYES))} "
                            "only; type: left.head.eyes='[[36, 39], [42, 45]]', landmarks of each eye, the one on the "
                            "picture's left first")  # fmt: skip
        return EYES[points]
    pair = tuple(tuple(side) if isinstance(side, (list, tuple)) else () for side in eyes)
    whole = all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < points for side in pair for i in side)
    if len(pair) != 2 or not all(pair) or not whole or set(pair[0]) & set(pair[1]):
        raise BadRecipe(
            f"eyes={eyes}; expected two lists of landmarks from 0 to {points - 1}, such as [[36, 39], [42, 45]]"
        )
    return pair[0], pair[1]


def upright(landmarks: np.ndarray, eyes: Sequence[Sequence[int]]) -> np.ndarray:
    """Landmarks (n, points, 2 or 3) relative to the point between the eyes, turned so that the eyes are level.

    The unit is the root mean square distance of the landmarks from their mean in the picture's plane. A third number,
    the depth, is taken relative to that of the eyes and scaled alike. float64.
    Shifts, scales and turns within the picture's plane do not change the result. Landmarks that are all at one place
    give zeros.
    """
    points = np.asarray(landmarks, np.float64)
    right, left = (points[:, list(side)].mean(1) for side in eyes)
    across = (left - right)[:, :2]
    size = np.sqrt(np.square(points[..., :2] - points[..., :2].mean(1, keepdims=True)).sum(2).mean(1))
    apart = np.sqrt(np.square(across).sum(1))
    cosine, sine = (across / np.maximum(apart, LEAST)[:, None]).T[..., None]
    moved = (points - ((right + left) / 2)[:, None]) / np.maximum(size, LEAST)[:, None, None]
    x, y = moved[..., 0], moved[..., 1]
    return np.stack([x * cosine + y * sine, y * cosine - x * sine, *np.moveaxis(moved[..., 2:], -1, 0)], -1)


def features(
    x: np.ndarray,
    points: int | None,
    emotions: int | None,
    eyes: Sequence[Sequence[int]] | None,
    logarithm: bool,
) -> np.ndarray:
    """Vectors (n, d) with their landmarks upright and, with ``logarithm``, log(p + 0.001) for their probabilities."""
    x = np.asarray(x, np.float64)
    points, axes, _, emotions = layout(x.shape[1], points, emotions)
    shape = upright(x[:, : axes * points].reshape(len(x), points, axes), eyes_of(points, eyes))
    end = x.shape[1] - emotions
    last = np.log(np.maximum(x[:, end:], 0.0) + FLOOR) if logarithm else x[:, end:]
    return np.concatenate([shape.reshape(len(x), -1), x[:, axes * points : end], last], 1)
