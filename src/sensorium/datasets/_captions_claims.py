"""Length and rate of sound files, against what a table says of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from sensorium.datasets import _captions_faults
from sensorium.datasets._captions_faults import Usable
from sensorium.errors import require
from sensorium.modalities.audio import files, riff, whole
from sensorium.types import is_missing

#: Columns of a table that say a file's length in seconds, and its rate in Hz.
LENGTHS = ("duration", "duration_s", "duration_sec", "duration_seconds", "seconds", "length_seconds")
RATES = ("sample_rate", "sampling_rate", "samplerate", "audio_sample_rate")
_CLOSE = 0.1, 0.01  # seconds, and share of the length, by which a length may differ


def durations(paths: Sequence[str]) -> np.ndarray:
    """Lengths (n,) of sound files in seconds, of their headers where these have it."""
    with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0)))) as pool:
        return np.round(np.array(list(pool.map(whole.seconds, paths)), np.float64), 6)


def check(usable: Usable, path_of: Sequence[str | None]) -> None:
    """Leave out or refuse sounds whose length or rate is another than the table, or their own header, says.

    path_of (r,): the file of each row of the table, None without one. A length may differ by 0.1 s or 1%.
    """
    source = usable.listing.source
    by_case = {name.lower(): name for name in reversed(list(source.columns))}
    rows = np.unique(usable.listing.row[usable.kept]).tolist()
    with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0)))) as pool:
        contradicted = dict(zip(rows, pool.map(_contradiction, [path_of[row] for row in rows]), strict=True))
    faults = {row: f"{usable_name(usable, row)}: {said}" for row, said in contradicted.items() if said}
    _captions_faults.left_out(usable, faults, "the sounds of {n} rows are not what their header says", "restore them")
    rows = np.unique(usable.listing.row[usable.kept]).tolist()
    for usual, measure, unit in ((LENGTHS, whole.seconds, "s"), (RATES, _rate, "Hz")):
        name = next((by_case[one] for one in usual if one in by_case), None)
        if name is None or source.columns.shape(name) != (source.n,):
            continue
        said = {row: number for row in rows if (number := _number(source.columns[name][row])) is not None}
        with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0)))) as pool:
            measured = dict(zip(said, pool.map(measure, [path_of[row] for row in said]), strict=True))
        faults = {row: f"{usable_name(usable, row)}: {said[row]:g} {unit}, but the file has {measured[row]:g} {unit}"
                  for row in said if not _equal(said[row], measured[row], unit)}  # fmt: skip
        _captions_faults.left_out(usable, faults, f"the '{name}' of {{n}} rows is not that of the file",
                                  f"correct the table, or rename the column '{name}' where it means something "
                                  f"else")  # fmt: skip


def _contradiction(path: str) -> str:
    """What a WAV file's header says wrongly; "" of other files."""
    with open(path, "rb") as file:
        head = file.read(12)
        return riff.contradiction(head + file.read(), path) if riff.is_wave(head) else ""


def usable_name(usable: Usable, row: int) -> str:
    """The file of a row of the table in messages."""
    return f"'{usable.listing.paths[row]}'"


def _equal(said: float, measured: float, unit: str) -> bool:
    if unit == "Hz":
        return said == measured
    return abs(said - measured) <= max(_CLOSE[0], _CLOSE[1] * measured)


def _number(value: Any) -> float | None:
    """A number of a cell; None where it is missing or none."""
    try:
        return None if is_missing(value) or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _rate(path: str) -> int:
    """The rate of a sound file in Hz, from its header where that can be read, else by decoding it."""
    soundfile = require("soundfile", "audio")
    try:
        return int(soundfile.info(path).samplerate)
    except Exception:  # libsndfile meets files of other formats with errors of several kinds
        return files.read_channels(path)[1]
