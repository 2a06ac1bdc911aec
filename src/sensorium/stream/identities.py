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
    ``reach`` grows for each second that an object was not seen, and most: what it grows to. shape, growth, look:
    weights of the difference in shape, in size (its logarithm) and in look, beside the distance in place. lost: cost
    of a match with an object that was not seen in the frame before, so that it does not take another one's place.
    """

    memory: float = 3.0
    reach: float = 1.5
    widening: float = 3.0
    most: float = 4.0
    shape: float = 1.0
    growth: float = 2.0
    look: float = 1.0
    lost: float = 0.3


@dataclass
class Track:
    """One object: where its points were last seen, when, how fast it moves (units a second), and its mean look."""

    id: int
    centre: np.ndarray
    size: float
    shape: np.ndarray
    seen: float
    look: np.ndarray | None = None
    times: int = 1
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
        self._next, self._last = 1, 0.0

    def push(self, objects: Sequence[np.ndarray], t: float, looks: Sequence[np.ndarray] | None = None) -> list[int]:
        """The id of each object of a frame at second ``t``.

        objects: (p, 2) points each, finite. looks: for each object numbers (k,) that do not depend on where it is; two
        frames of one object are less than about 1 apart, and more than 1 counts as 1.
        """
        t = max([t, *(track.seen for track in self.tracks.values())])
        self.tracks = {id: one for id, one in self.tracks.items() if t - one.seen <= self.options.memory}
        found = [_described(points) for points in objects]
        for one, look in zip(found, looks or (), strict=looks is not None):
            one.look = look
        known = list(self.tracks.values())
        ids = [0] * len(found)
        for row, column in _matches(np.array([[self._cost(one, it, t) for it in found] for one in known])):
            _move(known[row], found[column], t, self._last)
            ids[column] = known[row].id
        for place, one in enumerate(found):
            if not ids[place]:
                ids[place] = one.id = self._next
                one.seen, self.tracks[self._next] = t, one
                self._next += 1
        self._last = t
        return ids

    def _cost(self, track: Track, found: Track, t: float) -> float:
        """How unlike a track an object is; infinite beyond the reach."""
        options, gone = self.options, t - track.seen
        cost = float(np.linalg.norm(found.centre - track.predicted(t))) / max(track.size, found.size)
        cost += options.growth * abs(float(np.log(found.size / track.size)))
        if found.shape.shape == track.shape.shape:
            cost += options.shape * float(np.sqrt(np.mean((found.shape - track.shape) ** 2)))
        if found.look is not None and track.look is not None:
            cost += options.look * min(float(np.linalg.norm(found.look - track.look)), 1.0)
        cost += options.lost * (track.seen < self._last)
        return cost if cost <= options.reach + min(options.widening * gone, options.most) else np.inf


def _described(points: np.ndarray) -> Track:
    """An object that was seen: its centre (2,), its size, and its shape (p, 2): centred, at root mean square 1."""
    points = np.asarray(points, np.float64)
    centre = points.mean(0)
    shape = points - centre
    size = max(float(np.sqrt((shape**2).sum(1).mean())), 1e-9)
    return Track(0, centre, 2.0 * size, shape / size, 0.0)


def _move(track: Track, found: Track, t: float, last: float) -> None:
    """Bring a track to where its object was seen now; last: the second of the frame before."""
    gone = t - track.seen
    if track.seen < last:  # it was hidden meanwhile, and may have turned round
        track.velocity = np.zeros(2)
    elif gone > 0:
        keep = 0.5 ** (gone / _HALF_LIFE)
        track.velocity = keep * track.velocity + (1.0 - keep) * (found.centre - track.centre) / gone
    track.centre, track.size, track.seen = found.centre, found.size, t
    track.shape = found.shape if found.shape.shape != track.shape.shape else 0.7 * track.shape + 0.3 * found.shape
    if found.look is not None:
        track.times += 1
        share = max(1.0 / track.times, _LOOK)
        track.look = found.look if track.look is None else (1.0 - share) * track.look + share * found.look


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
_LOOK = 0.03  # least share of a new look in the mean
