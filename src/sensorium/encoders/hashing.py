"""Hashed character n-grams for text, shrunken pixels for pictures: instant, no download, checkable by eye."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium.errors import BadData, BadRecipe


class Hashing:
    """The fake encoder on the real shelf: every number it gives can be worked out by hand.

    Text becomes counts of its character n-grams: " cat " has the 3-grams " ca", "cat", "at ",
    and each adds 1 at position ``crc32(gram) % dim`` (Weinberger et al. 2009, without signs), so
    that words that look alike lie near each other. A picture becomes its ink averaged over a
    square grid of ``dim`` cells.

    takes: "text" or "image". dim: width d; a square number for pictures. ngram: characters in a gram.

    >>> Hashing(dim=64).encode(["cat"]).sum(), int(Hashing(dim=64).encode(["cat"]).argmax())
    (np.float32(3.0), 24)
    """

    batch: ClassVar[int] = 4096

    def __init__(self, takes: str = "text", dim: int = 256, ngram: int = 3) -> None:
        if takes not in ("text", "image"):
            raise BadRecipe(f"hashing: takes = '{takes}'; expected 'text' or 'image'")
        if dim < 1 or ngram < 1:
            raise BadRecipe(f"hashing: dim = {dim}, ngram = {ngram}; both must be at least 1")
        if takes == "image" and int(dim**0.5) ** 2 != dim:
            raise BadRecipe(f"hashing: dim = {dim} is no square number, such as 64 or 256, which pictures need")
        self.takes, self.dim, self.ngram = takes, dim, ngram

    @property
    def fingerprint(self) -> dict[str, str | int]:
        """What made the vectors."""
        return {"name": "hashing", "takes": self.takes, "dim": self.dim, "ngram": self.ngram}

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Vectors (n, d) float32 of n texts, or of n grey pictures (h, w) or (h, w, 3) uint8 or their paths.

        Raises BadData for a value that is not of the kind the encoder takes.
        """
        one = self._text if self.takes == "text" else self._picture
        out = np.zeros((len(values), self.dim), np.float32)
        for row, value in zip(out, values, strict=True):
            one(value, row)
        return out

    def _text(self, text: str, row: np.ndarray) -> None:
        if not isinstance(text, str):
            raise BadData(f"hashing takes text, got {type(text).__name__}")
        text = f" {text.lower()} "
        for start in range(max(1, len(text) - self.ngram + 1)):
            row[zlib.crc32(text[start : start + self.ngram].encode()) % self.dim] += 1

    def _picture(self, picture: np.ndarray | str | Path, row: np.ndarray) -> None:
        if isinstance(picture, (str, Path)):
            from PIL import Image

            picture = np.asarray(Image.open(picture).convert("L"))
        picture = np.asarray(picture, np.float32)
        if picture.ndim == 3:
            picture = picture.mean(-1)
        if picture.ndim != 2 or not picture.size:
            raise BadData(f"hashing takes pictures (h, w) or (h, w, 3), got shape {picture.shape}")
        side = int(self.dim**0.5)
        rows, columns = (np.arange(n) * side // n for n in picture.shape)
        cell = rows[:, None] * side + columns
        ink = np.abs(picture - picture[0, 0]) / 255  # the corner is taken for the background
        row += np.bincount(cell.ravel(), ink.ravel(), self.dim) / np.maximum(
            np.bincount(cell.ravel(), minlength=self.dim), 1
        )
