"""Histograms of oriented gradients of a picture's ink, equal to scikit-image's and many times faster."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from sensorium.contracts import Encoder
from sensorium.errors import BadData, BadRecipe, require
from sensorium.modalities.image import files
from sensorium.types import blocks

_MOST, _WIDEST = 360, 4096  # orientations; pixels
_CLIP = 0.2  # of L2-Hys, as published
_MARGIN = 2  # background pixels around the ink: gradients of neighbouring pictures never meet


class Hog(Encoder):
    """A picture as histograms of edge directions (Dalal and Triggs, CVPR 2005).

    The ink (whatever differs from the border's colour, so dark on light and light on dark are
    one) is cut out, scaled to fill a square of ``size`` pixels, and centred: where and how large
    something is drawn does not matter, so a user's drawing lands among printed symbols.

    size: side of the square in pixels. orientations: direction bins over 180°.
    cell: side of a cell in pixels, dividing ``size``. block: side, in cells, of the block over
    which contrast is normalised (L2-Hys). d = (size/cell − block + 1)² · block² · orientations.
    ``skimage.feature.hog`` of the normalised picture gives the same numbers.
    """

    takes: ClassVar[str] = "image"
    batch: ClassVar[int] = 4096

    def __init__(self, size: int = 48, orientations: int = 9, cell: int = 8, block: int = 2) -> None:
        if cell < 2 or size % cell or size < 2 * cell:
            raise BadRecipe(f"hog: size={size}, cell={cell}; expected size to be a multiple of cell, cell at least 2")
        if not 1 <= block <= size // cell:
            raise BadRecipe(f"hog: block={block}; expected 1 to {size // cell}, the cells along a side")
        if not 1 <= orientations <= _MOST:
            raise BadRecipe(f"hog: orientations={orientations}; expected at least 1, at most {_MOST}")
        if size > _WIDEST:
            raise BadRecipe(f"hog: size={size}; expected at most {_WIDEST} pixels")
        self.size, self.orientations, self.cell, self.block = size, orientations, cell, block

    @property
    def dim(self) -> int:
        """Width d of a vector."""
        return (self.size // self.cell - self.block + 1) ** 2 * self.block**2 * self.orientations

    @property
    def fingerprint(self) -> dict[str, str | int]:
        """What made the vectors."""
        return {
            "name": "hog",
            "size": self.size,
            "orientations": self.orientations,
            "cell": self.cell,
            "block": self.block,
            "margin": _MARGIN,
        }

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Vectors (n, d) float32 of n pictures: uint8 arrays (h, w), (h, w, 3), (h, w, 4), or paths.

        Raises BadData for a picture that cannot be read or holds no ink.
        """
        out = np.empty((len(values), self.dim), np.float32)
        for rows in blocks(len(values), 512):
            ink = np.stack([ink_square(values[i], self.size, f"picture {i}") for i in range(len(values))[rows]])
            out[rows] = self._describe(ink)
        return out

    def _describe(self, ink: np.ndarray) -> np.ndarray:
        """HOG (n, d) of squares (n, size, size) uint8 whose outermost two pixels are background."""
        n, cells = len(ink), self.size // self.cell
        histograms = _cell_histograms(ink, self.cell, self.orientations)
        windows = np.lib.stride_tricks.sliding_window_view(histograms, (self.block, self.block), axis=(1, 2))
        side = cells - self.block + 1
        block = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n, side * side, -1)
        for clip in (_CLIP, None):  # L2, clip, L2 again
            block = block / np.sqrt((block**2).sum(-1, keepdims=True) + 1e-10)
            block = block if clip is None else np.minimum(block, clip)
        return block.reshape(n, -1)


def _cell_histograms(ink: np.ndarray, cell: int, orientations: int) -> np.ndarray:
    """Gradient magnitude per cell and direction: (n, cells, cells, orientations) float32.

    Pictures are uint8, so there are only 511 × 511 gradients: direction and magnitude of each come
    from a table, and one bincount adds them up for all pictures.
    """
    n, size, _ = ink.shape
    cells = size // cell
    bins, magnitudes = _gradient_table(orientations)
    signed = ink.astype(np.int32)
    gradient = np.full(ink.shape, 255 * 511 + 255, np.int32)  # position of (down, right) in the table
    gradient[:, 1:-1] += (signed[:, 2:] - signed[:, :-2]) * 511
    gradient[:, :, 1:-1] += signed[:, :, 2:] - signed[:, :, :-2]
    line = np.arange(size) // cell
    place = ((np.arange(n)[:, None, None] * cells + line[:, None]) * cells + line) * orientations
    edge = np.flatnonzero(gradient.ravel() != 255 * 511 + 255)  # most of a picture is flat
    gradient = gradient.ravel()[edge]
    where = place.ravel()[edge] + bins[gradient]
    total = np.bincount(where, magnitudes[gradient], n * cells * cells * orientations)
    return (total / cell**2).astype(np.float32).reshape(n, cells, cells, orientations)


@functools.cache
def _gradient_table(orientations: int) -> tuple[np.ndarray, np.ndarray]:
    """Direction bin and magnitude of each gradient (down, right) in −255…255, both (511 · 511,)."""
    down, right = np.mgrid[-255:256, -255:256].astype(np.float64).reshape(2, -1)
    angle = np.rad2deg(np.arctan2(down, right)) % 180
    edges = 180 / orientations * np.arange(1, orientations)
    return np.searchsorted(edges, angle, side="right").astype(np.int64), np.hypot(down, right)


def ink_square(picture: Any, size: int, what: str = "picture") -> np.ndarray:
    """A picture's ink, light on black, scaled to fill and centred in (size, size) uint8.

    Raises BadData, naming ``what``, when it cannot be read or is blank.
    """
    Image = require("PIL.Image", "image")
    try:
        ink = _ink(files.grey(files.read(picture)))
    except BadData as error:
        raise BadData(f"{what}: {error}") from None
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        raise BadData(f"{what} is blank: it has one colour only")
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inner = size - 2 * _MARGIN
    scale = inner / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    resized = Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR)
    out = np.zeros((size, size), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    out[top : top + height, left : left + width] = resized
    return out


def _ink(grey: np.ndarray) -> np.ndarray:
    """Distance from the background, which is the border's median; faint traces are cleared."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    background = int(np.partition(border, len(border) // 2)[len(border) // 2])
    ink = np.abs(grey.astype(np.int32) - background)
    darkest = int(ink.max())
    if darkest < 8:  # no more than noise
        return np.zeros(ink.shape, np.uint8)
    ink = ink * 255 // darkest if darkest < 255 else ink
    return np.where(ink < 16, 0, ink).astype(np.uint8)
