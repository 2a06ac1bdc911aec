"""The numbers of a perception vector: landmarks, three each, then seven probabilities; what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.errors import BadData, BadRecipe

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
BLENDSHAPES = 52
_POINTS = {478: 3, 468: 3, 68: 2}  # known models: landmarks and numbers of each
_CLOSE = 0.01  # of a sum of probabilities to 1


@dataclass(frozen=True)
class Layout:
    """points: landmarks of a vector. emotions: whether seven probabilities follow, after 52 blendshapes or none."""

    points: int = 478
    emotions: bool = True

    def __post_init__(self) -> None:
        if not 3 <= self.points <= 10_000:
            raise BadRecipe(f"data.points={self.points}; expected 3 to 10000 landmarks, usually 478")

    def check_width(self, width: int, where: str) -> None:
        """Raise BadData, saying what the vectors seem to be, where they do not have this width."""
        if self._dims(width):
            return
        tail = len(EMOTIONS) if self.emotions else 0
        expected = f"expected {self.points} landmarks x 3 + {tail} probabilities = {self.points * 3 + tail}"
        for points in dict.fromkeys((self.points, *_POINTS)):
            for emotions in (True, False):
                if Layout(points, emotions)._dims(width):
                    keys = [f"data.points={points}"] * (points != self.points)
                    keys += [f"data.emotions={str(emotions).lower()}"] * (emotions != self.emotions)
                    seems = f"{points} landmarks {'with' if emotions else 'without'} the 7 probabilities"
                    raise BadData(f"{where}: vectors of {width} numbers; {expected}. They seem to be {seems}: type "
                                  f"{' '.join(keys)}, or make them anew")  # fmt: skip
        raise BadData(f"{where}: vectors of {width} numbers; {expected}. Make them anew, or train on them as they are: "
                      "sensorium run arrays data.file=FILE data.left=ARRAY data.right=ARRAY")  # fmt: skip

    def _dims(self, width: int) -> int:
        """Numbers of a landmark in vectors of this width; 0 where there is no such layout."""
        for more in (0, BLENDSHAPES):
            rest = width - more - (len(EMOTIONS) if self.emotions else 0)
            for dims in (3, 2):
                if rest == self.points * dims and (dims == 3 or self.points != 478):
                    return dims
        return 0

    def landmarks(self, x: np.ndarray) -> np.ndarray:
        """The landmarks (n, points, 3 or 2) of vectors (n, d)."""
        dims = self._dims(x.shape[1])
        return x[:, : self.points * dims].reshape(len(x), self.points, dims)

    def faults(self, x: np.ndarray, where: str) -> dict[int, str]:
        """What is wrong with rows of vectors (n, d) that cannot be used."""
        found = without_numbers(x, where)
        flat = np.ptp(self.landmarks(x)[:, :, :2], axis=1).min(axis=1) == 0
        found |= {
            int(row): f"all landmarks of {where} lie on one line" for row in np.flatnonzero(flat) if row not in found
        }
        if self.emotions:
            p = x[:, -len(EMOTIONS) :]
            outside = (p.min(axis=1) < -1e-3) | (p.max(axis=1) > 1 + 1e-3)
            said = f"the last 7 numbers of {where} are no probabilities, as some lie outside of 0 to 1"
            found |= {int(row): said for row in np.flatnonzero(outside) if row not in found}
        return found

    def remarks(self, x: np.ndarray) -> list[str]:
        """What is doubtful in usable rows (n, d): emotions that are all zeros, or do not add up to 1; with counts."""
        if not self.emotions:
            return []
        p = x[:, -len(EMOTIONS) :]
        sums = p.sum(axis=1, dtype=np.float64)
        zeros = ~p.any(axis=1)
        other = ~zeros & (np.abs(sums - 1) > _CLOSE)
        said = []
        if zeros.any():
            said.append(f"{int(zeros.sum()):,} of {len(x):,} faces have zeros in place of the 7 emotion probabilities, "
                        "as where a classifier has failed; they are used as they are")  # fmt: skip
        if other.any():
            said.append(f"the emotion probabilities of {int(other.sum()):,} of {len(x):,} faces do not add up to 1, "
                        f"such as {sums[other][0]:.3g}; they are used as they are")  # fmt: skip
        return said


def without_numbers(x: np.ndarray, where: str) -> dict[int, str]:
    """Rows of vectors (n, d) that are NaN, infinite or zero, and what is wrong with each."""
    finite = np.isfinite(x).all(axis=1)
    empty = finite & ~x.any(axis=1)
    found = {int(row): f"{where} holds NaN or infinity" for row in np.flatnonzero(~finite)}
    return found | {int(row): f"{where} holds nothing but zeros" for row in np.flatnonzero(empty)}
