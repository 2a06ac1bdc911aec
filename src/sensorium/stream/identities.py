"""Identities of objects from frame to frame: point sets matched by predicted place, size and shape.

Prediction at constant velocity and an optimal assignment, as in SORT (Bewley et al. 2016, "Simple Online and Realtime
Tracking"), with point sets in place of boxes: two objects that pass each other differ in shape where boxes overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class IdentityOptions:
    """Options of :class:`Identities`; distances are in sizes of the object, times in seconds.

    memory: how long an object that is not seen keeps its id. reach: largest cost of a match. widening: by how much
    ``reach`` grows for each second that an object was not seen. shape: weight of the difference in shape, and growth:
    of that in size, beside the distance in place.
    """

    memory: float = 1.5
    reach: float = 1.0
    widening: float = 3.0
    shape: float = 2.0
    growth: float = 0.5


@dataclass
class Track:
    """One object: where its points were last seen, when, and how fast it moves (sizes of its own a second)."""

    id: int
    centre: np.ndarray
    size: float
    shape: np.ndarray
    seen: float
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def predicted(self, t: float) -> np.ndarray:
        """Where its centre is at second ``t`` if it goes on as it did; its speed fades while it is not seen."""
        gone = t - self.seen
        return self.centre + self.velocity * _FADE * (1.0 - np.exp(-gone / _FADE))


class Identities:
    """Gives each object of a frame the id that it had in the frames before; ids count from 1 and are never reused.

    Points must be in units of equal length on both axes, such as pixels, and be the same points in the same order.
    """

    def __init__(self, options: IdentityOptions | None = None) -> None:
        self.options, self.tracks = options or IdentityOptions(), dict[int, Track]()
        self._next = 1

    def push(self, objects: Sequence[np.ndarray], t: float) -> list[int]:
        """The id of each object of a frame at second ``t``; objects: (p, 2) points each, finite."""
        t = max([t, *(track.seen for track in self.tracks.values())])
        self.tracks = {id: one for id, one in self.tracks.items() if t - one.seen <= self.options.memory}
        seen = [_described(points) for points in objects]
        known = list(self.tracks.values())
        ids = [0] * len(seen)
        for row, column in _matches(np.array([[self._cost(one, it, t) for it in seen] for one in known])):
            _move(known[row], *seen[column], t)
            ids[column] = known[row].id
        for place, (centre, size, shape) in enumerate(seen):
            if not ids[place]:
                ids[place] = self._next
                self.tracks[self._next] = Track(self._next, centre, size, shape, t)
                self._next += 1
        return ids

    def _cost(self, track: Track, described: tuple[np.ndarray, float, np.ndarray], t: float) -> float:
        """How unlike a track an object is; infinite beyond the reach."""
        (centre, size, shape), options = described, self.options
        unit = max(track.size, size)
        cost = float(np.linalg.norm(centre - track.predicted(t))) / unit
        cost += options.growth * abs(np.log(size / track.size))
        if shape.shape == track.shape.shape:
            cost += options.shape * float(np.sqrt(np.mean((shape - track.shape) ** 2)))
        return cost if cost <= options.reach + options.widening * (t - track.seen) else np.inf


def _described(points: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Centre (2,), size, and shape (p, 2) of points: centred, the root mean square distance being 1."""
    points = np.asarray(points, np.float64)
    centre = points.mean(0)
    shape = points - centre
    size = max(float(np.sqrt((shape**2).sum(1).mean())), 1e-9)
    return centre, 2.0 * size, shape / size


def _move(track: Track, centre: np.ndarray, size: float, shape: np.ndarray, t: float) -> None:
    """Bring a track to where its object was seen now."""
    gone = t - track.seen
    if gone > 0:
        velocity = (centre - track.centre) / gone
        keep = 0.5 ** (gone / _HALF_LIFE)
        track.velocity = keep * track.velocity + (1.0 - keep) * velocity
    track.centre, track.size, track.seen = centre, size, t
    track.shape = shape if shape.shape != track.shape.shape else 0.7 * track.shape + 0.3 * shape


def _matches(costs: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows and columns of the least total cost (Hungarian method), as many as can be; none at infinity."""
    if not costs.size:
        return []
    from scipy.optimize import linear_sum_assignment

    finite = np.isfinite(costs)
    rows, columns = linear_sum_assignment(np.where(finite, costs, _NEVER))
    return [(int(a), int(b)) for a, b in zip(rows, columns, strict=True) if finite[a, b]]


_FADE = 0.5  # seconds in which the speed of an object that is not seen falls to 1 / e
_HALF_LIFE = 0.08  # seconds, of the smoothed velocity
_NEVER = 1e6
