"""Hashed character n-grams of text, or ink per cell of a picture: instant, no download, checkable by eye."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from sensorium.contracts import Encoder
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.image import files

_MOST = {"dim": 1 << 20, "ngram": 100}


class Hashing(Encoder):
    """An encoder without weights, for tests and first steps: every number can be worked out by hand.

    Text becomes counts of its character n-grams: "cat" has the 3-grams " ca", "cat" and "at ",
    and each adds 1 at position ``crc32(gram) % dim`` (the hashing trick, Weinberger et al. 2009,
    without signs); words with shared n-grams have similar vectors. A picture becomes the share of ink
    in each cell of a square grid, row by row.

    takes: "text" or "image". dim: width d, a square number for pictures. ngram: characters in a gram.

    >>> Hashing(dim=64).encode(["cat"]).argmax(), Hashing(dim=64).encode(["cat"]).sum()
    (np.int64(24), np.float32(3.0))
    """

    batch: ClassVar[int] = 4096

    def __init__(self, takes: str = "text", dim: int = 256, ngram: int = 3) -> None:
        if takes not in ("text", "image"):
            raise BadRecipe(f"hashing: takes={takes!r}; expected text or image")
        for key, value in (("dim", dim), ("ngram", ngram)):
            if not 1 <= value <= _MOST[key]:
                raise BadRecipe(f"hashing: {key}={value}; expected at least 1, at most {_MOST[key]}")
        if takes == "image" and math.isqrt(dim) ** 2 != dim:
            raise BadRecipe(f"hashing: dim={dim}; pictures need a square number, such as {math.isqrt(dim) ** 2}")
        self.takes, self.dim, self.ngram = takes, dim, ngram

    @property
    def fingerprint(self) -> dict[str, str | int]:
        """What made the vectors."""
        return {"name": "hashing", "takes": self.takes, "dim": self.dim, "ngram": self.ngram}

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Vectors (n, d) float32 of n texts, or of n pictures: uint8 (h, w) or (h, w, 3), or paths.

        Raises BadData for a value that is not what the encoder takes.
        """
        one = self._text if self.takes == "text" else self._picture
        out = np.zeros((len(values), self.dim), np.float32)
        for i, value in enumerate(values):
            one(value, out[i], i)
        return out

    def _text(self, text: Any, row: np.ndarray, i: int) -> None:
        if not isinstance(text, str):
            raise BadData(f"hashing: value {i} is {type(text).__name__}; expected text")
        text = f" {text.lower()} "
        for start in range(max(1, len(text) - self.ngram + 1)):
            row[zlib.crc32(text[start : start + self.ngram].encode()) % self.dim] += 1

    def _picture(self, picture: Any, row: np.ndarray, i: int) -> None:
        try:
            grey = files.over_white(files.read(picture)).astype(np.float32)
        except BadData as error:
            raise BadData(f"hashing: value {i}: {error}") from None
        grey = grey.mean(-1) if grey.ndim == 3 else grey
        side = math.isqrt(self.dim)
        down, right = (np.arange(n) * side // n for n in grey.shape)
        cell = (down[:, None] * side + right).ravel()
        ink = np.abs(grey - grey[0, 0]).ravel() / 255  # the corner is taken for paper
        row += np.bincount(cell, ink, self.dim) / np.maximum(np.bincount(cell, minlength=self.dim), 1)
