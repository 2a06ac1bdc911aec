"""Pseudo-images: a vector laid out as a square RGB picture and resized, in NumPy; and the vector of such a picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isqrt
from typing import Any, NamedTuple

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.modalities.image import resize

CHANNELS = {"split": 3, "replicate": 1}  # planes that a vector fills
MINMAX = ("image", "channel", "none")
LARGEST = 1024  # pixels of a side
EPSILON = np.float32(1e-8)  # added to the range that values are divided by
LEVELS = np.float32(255)  # of a PNG file


class Bounds(NamedTuple):
    """Least and greatest value of each picture before it is scaled: (n, 1) float32, or (n, planes) by channel."""

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class PseudoImage:
    """How vectors (n, d) become pictures (n, 3, size, size), float32. A pure function: no weights, nothing random.

    A vector is padded with zeros to a square, (clamped,) resized, and scaled to 0..1 by its own least and greatest
    value, as the system Embed2Image does. The resizing equals ``torch.nn.functional.interpolate`` to 1e-6, "nearest"
    exactly.

    size: pixels of a side. mode: of the resizing, "nearest", "nearest-exact", "bilinear", "bicubic" or "area".
    channels: "split" fills the R, G and B planes one after the other, "replicate" fills one plane and shows it thrice.
    clamp: cuts values to -1..1 before the resizing. minmax: scales to 0..1 by the least and greatest value of the
    "image", of each "channel", or "none". quantize: rounds down to the 256 levels of a PNG file.

    >>> PseudoImage(size=32).to_image(np.arange(768.0)).shape
    (3, 32, 32)

    Raises BadRecipe for a value that is not among these.
    """

    size: int = 128
    mode: str = "nearest"
    channels: str = "split"
    clamp: bool = False
    minmax: str = "image"
    quantize: bool = False

    def __post_init__(self) -> None:
        for key, words in (("mode", resize.MODES), ("channels", tuple(CHANNELS)), ("minmax", MINMAX)):
            value = getattr(self, key)
            if value not in words:
                raise BadRecipe(f"pseudo-images: {key} '{value}'; {nearest(str(value), words)}")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not 1 <= self.size <= LARGEST:
            raise BadRecipe(f"pseudo-images: size={self.size!r}; expected a number of pixels from 1 to {LARGEST}")
        if self.quantize and self.minmax == "none":
            raise BadRecipe("pseudo-images: quantize takes values of 0 to 1; expected minmax image or channel")

    def asdict(self) -> dict[str, Any]:
        """Its settings by name, as plain values."""
        return asdict(self)

    def side(self, dim: int) -> int:
        """Pixels of a side of the smallest square that holds a vector of ``dim`` numbers."""
        return isqrt(-(-dim // CHANNELS[self.channels]) - 1) + 1

    def to_image(self, x: np.ndarray) -> np.ndarray:
        """Vectors (n, d) as pictures (n, 3, size, size) float32; a vector (d,) as one (3, size, size)."""
        return self.with_bounds(x)[0]

    def with_bounds(self, x: np.ndarray) -> tuple[np.ndarray, Bounds]:
        """Pictures as of :meth:`to_image`, and the values that were scaled to 0 and 1, for :meth:`to_vector`.

        Raises BadData for what is no vector of finite numbers.
        """
        x = np.asarray(x)
        if x.ndim not in (1, 2) or not x.shape[-1] or x.dtype.kind not in "fiu":
            raise BadData(f"a pseudo-image of {x.dtype} {x.shape}; expected vectors (n, d), or one vector (d,)")
        rows = np.atleast_2d(x).astype(np.float32, copy=False)
        if not np.isfinite(rows).all():
            raise BadData("a pseudo-image of a vector with NaN or infinity; correct or leave out such rows")
        image = self._fold(rows)
        side, exact = image.shape[-1], self.mode in resize.NEAREST
        if exact and self.size >= side:  # every value stays, so scaling the small picture is the same and less work
            image, bounds = self._scaled(image)
            image = resize.resize(image, self.size, self.mode)
        else:
            image, bounds = self._scaled(resize.resize(image, self.size, self.mode))
        if self.quantize:
            image = np.floor(image * LEVELS) / LEVELS
        if self.channels == "replicate":
            image = np.repeat(image, 3, axis=1)
        return (image, bounds) if x.ndim == 2 else (image[0], Bounds(*(one[0] for one in bounds)))

    def pixels(self, x: np.ndarray) -> np.ndarray:
        """Vectors (n, d) as pictures (n, size, size, 3) uint8, the content of PNG files; a vector (d,) as one.

        Values are rounded down to 256 levels. Raises BadRecipe without ``minmax``, as levels are of 0..1.
        """
        if self.minmax == "none":
            raise BadRecipe("a picture file holds values of 0 to 1; expected minmax image or channel")
        image = self.to_image(x)
        level = image * LEVELS if not self.quantize else np.rint(image * LEVELS)
        return np.ascontiguousarray(np.moveaxis(level.astype(np.uint8), -3, -1))

    @staticmethod
    def from_pixels(pixels: np.ndarray) -> np.ndarray:
        """Pictures (…, h, w, 3) uint8 as (…, 3, h, w) float32 of 0..1: what ``quantize`` gives, to the bit."""
        return np.ascontiguousarray(np.moveaxis(np.asarray(pixels), -1, -3)).astype(np.float32) / LEVELS

    def invertible(self, dim: int) -> bool:
        """Whether a vector of ``dim`` numbers can be read back from its picture, see :meth:`to_vector`."""
        return self._obstacle(dim) is None

    def to_vector(self, image: np.ndarray, dim: int, bounds: Bounds | None = None) -> np.ndarray:
        """The vectors (n, dim) of pictures (n, 3, size, size), or the one of a picture (3, size, size), float32.

        bounds: of :meth:`with_bounds`; without them a vector comes back up to scale and shift, as values of 0..1.
        With them the error is that of float32, or up to range/255 where pictures were quantized.
        Raises BadRecipe where the picture does not hold all numbers, BadData for a picture of another shape.
        """
        image = np.asarray(image, np.float32)
        obstacle = self._obstacle(dim)
        if obstacle:
            raise BadRecipe(f"a vector of {dim} numbers cannot be read back from its pseudo-image: {obstacle}")
        if image.ndim not in (3, 4) or image.shape[-3:] != (3, self.size, self.size):
            raise BadData(f"a picture of shape {image.shape}; expected (n, 3, {self.size}, {self.size})")
        at = resize.first_places(self.side(dim), self.size, self.mode)
        small = image[..., : CHANNELS[self.channels], :, :][..., at[:, None], at]
        if bounds is not None and self.minmax != "none":
            low, high = (np.asarray(one, np.float32)[..., None, None] for one in bounds)
            small = small * (high - low + EPSILON) + low
        return small.reshape(*small.shape[:-3], -1)[..., :dim]

    def _obstacle(self, dim: int) -> str | None:
        """Why vectors of this width do not come back; None where they do."""
        side = self.side(dim)
        if self.clamp:
            return "clamp cuts what is beyond -1..1; expected clamp=false"
        if self.size < side:
            return f"{self.size} pixels show less than its square of {side} × {side}; expected size={side} or more"
        if self.mode not in resize.NEAREST and self.size != side:
            return f"mode {self.mode} blends neighbours; expected mode=nearest, or size={side}"
        return None

    def _fold(self, rows: np.ndarray) -> np.ndarray:
        """Vectors (n, d), padded with zeros, as squares (n, planes, side, side)."""
        n, dim = rows.shape
        side, planes = self.side(dim), CHANNELS[self.channels]
        image = np.zeros((n, planes * side * side), np.float32)
        image[:, :dim] = np.clip(rows, -1, 1) if self.clamp else rows
        return image.reshape(n, planes, side, side)

    def _scaled(self, image: np.ndarray) -> tuple[np.ndarray, Bounds]:
        axes = (2, 3) if self.minmax == "channel" else (1, 2, 3)
        low, high = image.min(axes, keepdims=True), image.max(axes, keepdims=True)
        bounds = Bounds(low[:, :, 0, 0], high[:, :, 0, 0])
        return (image if self.minmax == "none" else (image - low) / (high - low + EPSILON)), bounds
