"""A thorough search for faces: small ones, tight crops, and pictures that lie on their side, by any source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from sensorium.errors import require
from sensorium.modalities.face import pose
from sensorium.modalities.face.landmarks import Face, LandmarkSource, distinct, largest_first

VERSION = 1  #: of the search, in fingerprints
STRICT, LOOSE = 0.7, 0.5  #: confidence of the detector in what is surely a face, and of MediaPipe's own choice
LONGEST = 2560  #: pixels of a picture's longer side that are looked at
_MARGIN = 0.25  # of the sides of a picture, added around it: a detector wants to see more than the face
_TILES = (2, 4)  # tiles of a half and of a quarter of the shorter side, overlapping by half
_SMALLEST_TILE = 64  # pixels
_MISFIT, _ROLL = 0.06, 40.0  # beyond which a face may have been read in the wrong turn
_NO_FACE = 0.085  # misfit beyond which what is found in turns, tiles, or faintly, is no face
_BETTER = 0.8  # a turned reading is taken where its misfit is this share of the first


class _View(NamedTuple):
    """A part of a picture, perhaps beyond its edges: left, top, width, height in pixels; quarters it is turned by."""

    left: int
    top: int
    width: int
    height: int
    turns: int = 0


class Thorough(LandmarkSource):
    """Faces as a source finds them in the whole picture, and where it finds none, in turns and parts of it.

    strict, loose: a source that finds what is surely a face, and one that finds faint ones too; ``loose`` has the last
    word where the first finds nothing. A tight crop gets a margin, a picture that lies on its side or is upside down is
    turned, and one with small faces is cut into overlapping tiles. A face that is read at more than 40°, or whose
    landmarks do not fit a face, is read again in the other turns. Landmarks are always those of the picture as it was
    given. For more than one face the tiles are searched as well.
    """

    def __init__(self, strict: LandmarkSource, loose: LandmarkSource) -> None:
        self.strict, self.loose, self.name = strict, loose, strict.name

    def fingerprint(self) -> Mapping[str, Any]:
        """That of the source, and the version of the search."""
        return {**self.strict.fingerprint(), "search": VERSION}

    def faces(self, rgb: np.ndarray, most: int = 1) -> list[Face]:
        """At most ``most`` faces of a picture (h, w, 3) uint8, the largest first; [] where there is none."""
        rgb = shrunk(rgb)
        height, width = rgb.shape[:2]
        whole = _View(0, 0, width, height)
        x, y = round(_MARGIN * width), round(_MARGIN * height)
        framed = _View(-x, -y, width + 2 * x, height + 2 * y)
        views = whole, framed
        found = next(filter(None, (self._found(rgb, [view], most) for view in views)), [])
        found = found or next(filter(None, (self._turned(rgb, view, most) for view in views)), [])
        for parts in _TILES:
            side = min(width, height) // parts
            if side >= _SMALLEST_TILE and (most > 1 or not found):
                for tile in _grid(width, height, side):
                    inside = [one for one in self._found(rgb, [tile], most) if _within(one.box, tile, width, height)]
                    found += _like_faces(inside, width / height)
        found = found or _like_faces(self._found(rgb, views, most, self.loose), width / height)
        return largest_first(_distinct(found, width / height), most)

    def _found(
        self, rgb: np.ndarray, views: Iterable[_View], most: int, by: LandmarkSource | None = None
    ) -> list[Face]:
        seen = [(view, face) for view in views for face in _in_view(by or self.strict, rgb, view, most)]
        return [self._checked(rgb, face, view) for view, face in seen]

    def _turned(self, rgb: np.ndarray, view: _View, most: int) -> list[Face]:
        """The faces of a view in that of its other turns in which they fit best."""
        aspect = rgb.shape[1] / rgb.shape[0]
        every = [self._found(rgb, [view._replace(turns=turns)], most) for turns in (1, 3, 2)]
        fitting = filter(None, (_like_faces(some, aspect) for some in every))
        return min(fitting, key=lambda some: _misfit(some[0], aspect), default=[])

    def _checked(self, rgb: np.ndarray, face: Face, seen: _View) -> Face:
        """The face, or a better reading of it in another turn."""
        height, width = rgb.shape[:2]
        aspect = width / height
        quarters = round(pose.roll(face.landmarks, aspect) / 90) % 4  # clockwise, as np.rot90 turns back
        lying = abs((pose.roll(face.landmarks, aspect) - 90 * seen.turns + 180) % 360 - 180) > _ROLL
        misfit = _misfit(face, aspect)
        if misfit <= _MISFIT and not lying:
            return face
        x, y, w, h = (np.array(face.box) * [width, height, width, height]).tolist()
        side = max(round(2 * max(w, h)), 2)
        around = _View(round(x + w / 2) - side // 2, round(y + h / 2) - side // 2, side, side)
        for turns in [quarters] if lying and quarters != seen.turns else []:
            if upright := _in_view(self.strict, rgb, around._replace(turns=turns), 1):
                return upright[0]
        others = [turns for turns in range(4) if turns != seen.turns]
        again = [one for turns in others for one in _in_view(self.strict, rgb, around._replace(turns=turns), 1)]
        best = min(again, key=lambda one: _misfit(one, aspect), default=face)
        return best if _misfit(best, aspect) < _BETTER * misfit else face


def shrunk(rgb: np.ndarray) -> np.ndarray:
    """A picture whose longer side is LONGEST pixels at most: blocks of a whole number of pixels, averaged."""
    factor = -(-max(rgb.shape[:2]) // LONGEST)
    if factor == 1:
        return rgb
    return np.asarray(require("PIL.Image", "face").fromarray(rgb).reduce(factor))


def _in_view(source: LandmarkSource, rgb: np.ndarray, view: _View, most: int) -> list[Face]:
    """Faces of a view, their landmarks in shares of the whole picture."""
    height, width = rgb.shape[:2]
    return [face._replace(landmarks=_back(face.landmarks, view, width, height))
            for face in source.faces(_cut(rgb, view), most)]  # fmt: skip


def _grid(width: int, height: int, side: int) -> Iterator[_View]:
    """Square tiles that cover a picture, each half over its neighbours."""
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield _View(left, top, side, side)


def _starts(length: int, side: int) -> list[int]:
    count = max(1, -(-2 * (length - side) // side) + 1)
    return sorted({round(at) for at in np.linspace(0, length - side, count)})


def _cut(rgb: np.ndarray, view: _View) -> np.ndarray:
    """The pixels of a view; beyond the edges the mean colour of the picture. Turned against the clock."""
    height, width = rgb.shape[:2]
    left, top = max(view.left, 0), max(view.top, 0)
    right, bottom = min(view.left + view.width, width), min(view.top + view.height, height)
    part = rgb[top:bottom, left:right]
    if part.shape[:2] != (view.height, view.width):
        out = np.empty((view.height, view.width, 3), np.uint8)
        out[:] = part.mean((0, 1))
        out[top - view.top : bottom - view.top, left - view.left : right - view.left] = part
        part = out
    return np.ascontiguousarray(np.rot90(part, view.turns))


def _back(landmarks: np.ndarray, view: _View, width: int, height: int) -> np.ndarray:
    """Landmarks of a view as those of the whole picture of width × height pixels."""
    x, y, z = landmarks.T
    for _ in range(view.turns):  # undo a quarter against the clock
        x, y = 1 - y, x
    wide = view.width if view.turns % 2 == 0 else view.height  # the scale of z is the width as it was seen
    x, y = (view.left + x * view.width) / width, (view.top + y * view.height) / height
    return np.stack([x, y, z * wide / width], axis=1).astype(np.float32)


def _distinct(faces: Iterable[Face], aspect: float) -> list[Face]:
    """The faces, those that fit best first; of several readings of one face the first."""
    return distinct(sorted(faces, key=lambda one: _misfit(one, aspect)))


def _within(box: tuple[float, ...], view: _View, width: int, height: int) -> bool:
    """Whether a box lies in a view but for a tenth of it: a face that the edge cuts is whole in a neighbouring tile."""
    left, top = box[0] * width - view.left, box[1] * height - view.top
    wide, high = box[2] * width, box[3] * height
    beyond = (-left / wide, -top / high, (left + wide - view.width) / wide, (top + high - view.height) / high)
    at_edge = (view.left <= 0, view.top <= 0, view.left + view.width >= width, view.top + view.height >= height)
    return all(share <= 0.1 or edge for share, edge in zip(beyond, at_edge, strict=True))


def _like_faces(faces: Iterable[Face], aspect: float) -> list[Face]:
    """Those whose landmarks have the shape of a face, of views in which other things are taken for faces more often."""
    return [face for face in faces if _misfit(face, aspect) <= _NO_FACE]


def _misfit(face: Face, aspect: float) -> float:
    return pose.fit(face.landmarks, aspect).misfit
