"""Scales of valence, arousal and dominance: each source states its own, and all are mapped to -1..1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.numerics.affect import DIMENSIONS

#: Scale → its lowest and highest rating. 1..7 is that of MSP-Podcast, 1..5 of IEMOCAP, 1..9 of SAM figures.
SCALES: dict[str, tuple[float, float]] = {
    "-1..1": (-1.0, 1.0),
    "0..1": (0.0, 1.0),
    "1..5": (1.0, 5.0),
    "1..7": (1.0, 7.0),
    "1..9": (1.0, 9.0),
}
#: Valence of a rating in the exact middle of its scale: a vector of zeros counts as a missing one in stores.
MIDDLE = 1e-6
_SHOWN = 3  # rows named in a message


def check(scale: str, where: str = "scale") -> str:
    """The scale itself. Raises BadRecipe, naming the known ones, for another."""
    if scale not in SCALES:
        raise BadRecipe(f"{where}={scale!r}; {nearest(str(scale), SCALES)}")
    return scale


def to_unit(values: np.ndarray, scale: str, what: str = "ratings", rows: Sequence[str] | None = None) -> np.ndarray:
    """Ratings (n, 3) in the order valence, arousal, dominance, from their scale to -1..1, float32, never all zero.

    what: names the source in messages, and rows (n,) its rows. Raises BadData, with the count and the first rows, for
    NaN, for infinity, and for a column that leaves the scale; BadRecipe for an unknown scale.

    >>> to_unit(np.array([[1.0, 4.0, 7.0]]), "1..7").tolist()
    [[-1.0, 0.0, 1.0]]
    """
    low, high = SCALES[check(scale)]
    values = np.asarray(values, np.float64).reshape(-1, len(DIMENSIONS))
    named = np.arange(len(values)).astype(np.str_) if rows is None else np.asarray(rows, np.str_)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise BadData(f"{what}: {len(bad)} of {len(values)} rows hold NaN or infinity: {_some(named[bad])}")
    for column, name in enumerate(DIMENSIONS):
        outside = np.flatnonzero((values[:, column] < low - 1e-6) | (values[:, column] > high + 1e-6))
        if len(outside):
            first = values[outside[0], column]
            raise BadData(
                f"{what}: {len(outside)} of {len(values)} rows are outside {scale} in {name}, such as {first:g} in "
                f"{_some(named[outside[:1]])}; state the scale of the source: scale={fitting(values)}"
            )
    out = np.clip(2 * (values - low) / (high - low) - 1, -1, 1).astype(np.float32)
    out[~out.any(axis=1), 0] = MIDDLE
    return out


def fitting(values: np.ndarray) -> str:
    """The narrowest known scale that holds all finite values; the known ones, "A|B|…", where none does."""
    finite = np.asarray(values)[np.isfinite(values)]
    for name, (low, high) in sorted(SCALES.items(), key=lambda item: item[1][1] - item[1][0]):
        if finite.size and low <= finite.min() and finite.max() <= high:
            return name
    return "|".join(SCALES)


def _some(rows: np.ndarray) -> str:
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return ", ".join(rows[:_SHOWN].tolist()) + more
