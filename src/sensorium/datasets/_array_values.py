"""Numbers of arrays as float32 vectors: what to do with others, and with those that float32 does not hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sensorium.errors import BadData
from sensorium.scores import similarity
from sensorium.types import blocks

_BLOCK = 8192  # rows looked at once
_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST_SCALE = 1e-18  # squares of smaller numbers are no normal float32


def instead(array: np.ndarray, path: Path, key: str) -> str:
    """What to do with an array that holds no vectors."""
    if 0 in array.shape:
        return ", of which there is one at least"
    if array.dtype.kind in "USTO" and array.ndim < 3:
        return (
            f"; where '{key}' is text, embed it: sensorium run pairs data.file={path.name} with an encoder of that side"
        )
    if array.dtype.kind == "c":
        return "; take its real and imaginary parts, or its magnitudes"
    return f"; one number a row is '{key}'[:, None]" if array.ndim == 1 and array.dtype.kind in "fiub" else ""


def as_float32(x: np.ndarray, where: str) -> np.ndarray:
    """Vectors (n, d) as float32. Raises BadData for float64 numbers that it does not hold, or holds as zeros."""
    if x.dtype.kind != "f" or x.dtype.itemsize <= 4:
        return x.astype(np.float32, copy=False)
    with np.errstate(over="ignore", under="ignore"):
        made = x.astype(np.float32)
    for part in blocks(len(x), _BLOCK):
        largest = np.abs(x[part]).max(axis=1)
        lost = np.isfinite(largest) & (largest > 0) & ~((largest <= _LARGEST) & made[part].any(axis=1))
        if lost.any():
            row = int(np.flatnonzero(lost)[0])
            raise BadData(f"{where}: row {part.start + row} has numbers of {largest[row]:.1g}, which float32 does not "
                          "hold; divide the whole array by their typical size")  # fmt: skip
    return made


def of_scale(x: np.ndarray, where: str) -> list[str]:
    """A note about vectors whose inner products float32 does not hold."""
    largest = max((float(np.abs(x[part]).max()) for part in blocks(len(x), _BLOCK)), default=1.0)
    if _SMALLEST_SCALE < largest < similarity.LONGEST:
        return []
    return [f"the numbers of {where} are of {largest:.1g}, whose products float32 does not hold exactly: what does not "
            "standardise its inputs and outputs may fail; divide the whole array by their typical size"]  # fmt: skip
