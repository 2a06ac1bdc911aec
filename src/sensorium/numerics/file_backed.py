"""Large arrays that lie in a temporary file instead of in memory that only swap could relieve."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io

LARGE = 64 << 20  # bytes from which on an array lies in a file


def empty(shape: tuple[int, ...], folder: Path | None) -> np.ndarray:
    """A float32 array, not initialised: in memory, or from 64 MB on in a file below ``folder`` without a name.

    The system writes its pages to the disk and gives them up when memory is short. The file ends with the array.
    folder: None for an array in memory, whatever its size. Raises DiskFull.
    """
    size = 4 * int(np.prod(shape))
    if folder is None or size < LARGE:
        return np.empty(shape, np.float32)
    with io.typed_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
        _reserve(file, size)
        return np.asarray(np.memmap(file, np.float32, "r+", shape=shape))


def _reserve(file: Any, size: int) -> None:
    """Take the room on the disk now: a write to a mapped page of a full disk would end the process by SIGBUS."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    zeros = bytes(1 << 20)
    for start in range(0, size, len(zeros)):
        file.write(zeros[: size - start])
    file.flush()
