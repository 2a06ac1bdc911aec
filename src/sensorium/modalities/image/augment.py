"""Augmented pictures: a random part, mirrored or not, with other brightness, contrast and saturation; drawn by seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sensorium.errors import require

_RATIO = 4 / 3  # a part is at most so much wider, or higher, than the picture
_TRIES = 10  # at a part that lies within the picture


@dataclass(frozen=True)
class Augment:
    """How much pictures are changed.

    crop: least share of the area that is kept, 1 for the whole picture; the share and the aspect ratio (3/4 to 4/3
    of the picture's) are drawn as in Szegedy et al. 2015. flip: chance of the mirror image. color: brightness,
    contrast and saturation are multiplied by factors from 1 - color to 1 + color, in random order.
    """

    crop: float = 0.6
    flip: float = 0.5
    color: float = 0.2

    def __call__(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A picture (h, w, 3) uint8 as another one of at most that size, (h', w', 3) uint8."""
        picture = self._part(picture, rng)
        if self.flip and rng.random() < self.flip:
            picture = picture[:, ::-1]
        return np.ascontiguousarray(self._colors(picture, rng) if self.color else picture)

    def _part(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width = picture.shape[:2]
        for _ in range(_TRIES if self.crop < 1 else 0):
            share, ratio = rng.uniform(self.crop, 1.0), math.exp(rng.uniform(-1, 1) * math.log(_RATIO))
            h, w = round(height * math.sqrt(share / ratio)), round(width * math.sqrt(share * ratio))
            if 1 <= h <= height and 1 <= w <= width:
                top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
                return picture[top : top + h, left : left + w]
        return picture

    def _colors(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        enhance, image = require("PIL.ImageEnhance", "image"), require("PIL.Image", "image")
        changed = image.fromarray(np.ascontiguousarray(picture))
        kinds = (enhance.Brightness, enhance.Contrast, enhance.Color)
        factors = rng.uniform(1 - self.color, 1 + self.color, len(kinds))
        for k in rng.permutation(len(kinds)):
            changed = kinds[k](changed).enhance(float(factors[k]))
        return np.asarray(changed)
