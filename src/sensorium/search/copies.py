"""Small copies of pictures and sounds, which travel with a run: WebP of 512 pixels, MP3 of 30 s at 24 kHz."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from sensorium.errors import BadData, require
from sensorium.modalities import Modality
from sensorium.progress import bar
from sensorium.types import blocks

SIDE = 512  # pixels of a picture's longer side, at most
QUALITY = 80  # of WebP, 0 to 100
SECONDS, RATE = 30.0, 24_000  # of a sound, at most; Hz
#: The media type of a copy, by what an item is shown as.
TYPES = {"image": "image/webp", "audio": "audio/mpeg"}
_AT_ONCE = 64


def small(shown_as: str, value: Any) -> bytes:
    """A small copy of a value as its modality reads it: pixels (h, w[, c]) uint8, or (samples (n,), rate)."""
    return picture(value) if shown_as == "image" else sound(*value)


def picture(pixels: np.ndarray) -> bytes:
    """A picture as WebP, its longer side ``SIDE`` pixels at most."""
    image = require("PIL.Image", "image").fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((SIDE, SIDE), resample=require("PIL.Image", "image").Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=QUALITY, method=4)
    return out.getvalue()


def sound(samples: np.ndarray, rate: int) -> bytes:
    """The first ``SECONDS`` of mono float32 samples (n,) as MP3 at ``RATE`` Hz."""
    from sensorium.modalities.audio import files

    cut = files.resample(np.ascontiguousarray(samples[: int(SECONDS * rate)], np.float32), rate, RATE)
    out = io.BytesIO()
    require("soundfile", "audio").write(out, np.clip(cut, -1.0, 1.0), RATE, format="MP3", subtype="MPEG_LAYER_III")
    return out.getvalue()


def each(
    modality: Modality, values: Sequence[Any], progress: bool = False, value_of: Callable[[Any], Any] | None = None
) -> Iterator[bytes | None]:
    """The small copy of each value, paths and arrays alike; None for what no longer can be read.

    value_of: gives the value itself of each of ``values``, such as of an id.

    Made in threads, some at a time: memory does not grow with the values.
    """

    def one(value: Any) -> bytes | None:
        try:
            return small(modality.shown_as, modality.read(value if value_of is None else value_of(value)))
        except (BadData, OSError):
            return None

    if modality.shown_as not in TYPES:
        yield from (None for _ in values)
        return
    with (
        ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0)))) as pool,
        bar("small copies", len(values), progress) as advance,
    ):
        for rows in blocks(len(values), _AT_ONCE):
            yield from pool.map(one, values[rows])
            advance(len(values[rows]))
