"""eGeMAPS: 88 acoustic measures of a voice, such as pitch, loudness and formants, by openSMILE (Eyben et al. 2016)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from sensorium.contracts import Encoder
from sensorium.errors import BadData, require
from sensorium.modalities.audio import files

LICENCE = "audEERING research licence: not for commercial use"  # of openSMILE, whose settings these are
WEIGHTS = "the package opensmile"
RATE = 16_000
SHORTEST = RATE // 10  # samples; openSMILE measures nothing in less


class Egemaps(Encoder):
    """A recording as the functionals of the set eGeMAPSv02: means, deviations and percentiles of 25 curves.

    Their scales differ by orders of magnitude: a head after them should have preprocess=standardize.
    Recordings below 0.1 s are filled with silence. Computed recording by recording, at 16 kHz.
    """

    takes: ClassVar[str] = "audio"
    dim: ClassVar[int] = 88
    sample_rate: ClassVar[int] = RATE
    taken_from: ClassVar[str] = "the 88 functionals of openSMILE's set eGeMAPSv02 over the recording"
    batch: ClassVar[int] = 32

    @property
    def fingerprint(self) -> dict[str, str | int]:
        """What made the vectors."""
        return {"name": "egemaps", "set": "eGeMAPSv02", "rate": RATE}

    @property
    def names(self) -> list[str]:
        """What each of the 88 numbers measures, as openSMILE calls it."""
        return list(self._smile.feature_names)

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Vectors (n, 88) float32 of paths or ``(samples, rate)``. Raises BadData for what cannot be measured."""
        out = np.empty((len(values), self.dim), np.float32)
        for row, value in enumerate(values):
            samples = files.read(value, RATE)
            samples = np.pad(samples, (0, max(0, SHORTEST - len(samples))))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of what is too short; checked below
                out[row] = self._smile(samples, RATE).reshape(-1)
            if not np.isfinite(out[row]).all():
                name = "(samples, rate)" if isinstance(value, tuple) else value
                raise BadData(f"egemaps: openSMILE measures no number in recording {row}, {name}; leave it out")
        return out

    @cached_property
    def _smile(self) -> Any:
        opensmile = require("opensmile", "egemaps")
        return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
