"""Previews: latents as a small picture by a linear map, which costs nothing beside a step of the model."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from sensorium.errors import require

if TYPE_CHECKING:
    from torch import Tensor

#: RGB (0 ... 1 after + 0.5) of each of the four latent channels of Stable Diffusion 1.x, fitted to its decoder by
#: users of it: https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204
RGB = np.array(
    [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]], np.float32
)
TYPE = "image/webp"
_QUALITY = 70


def pixels(latents: Tensor) -> np.ndarray | None:
    """Latents (1, 4, h, w) as a picture (h, w, 3) uint8; None for another number of channels, or with NaN."""
    values = latents[0].detach().float().cpu().numpy()
    if len(values) != len(RGB) or not np.isfinite(values).all():
        return None
    rgb = np.tensordot(values, RGB, (0, 0)) / 2 + 0.5
    return (255 * rgb.clip(0, 1)).round().astype(np.uint8)


def webp(latents: Tensor) -> bytes | None:
    """Latents as a small WebP file; None where :func:`pixels` is."""
    picture = pixels(latents)
    if picture is None:
        return None
    image, file = require("PIL.Image", "generate"), io.BytesIO()
    image.fromarray(picture).save(file, "WEBP", quality=_QUALITY, method=2)
    return file.getvalue()
