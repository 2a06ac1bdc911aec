"""Pictures for a pretrained network: read by modalities/image, prepared as its processor says, without torchvision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import fingerprint, io
from sensorium.encoders import _batches, _torchvision
from sensorium.encoders._pretrained import Pretrained
from sensorium.errors import BadData, Corrupt, MissingExtra, require
from sensorium.modalities.image import files

#: Processors of models whose files name none, by model_type.
_USUAL = {"clip": "CLIPImageProcessor", "siglip": "SiglipImageProcessor", "siglip2": "Siglip2ImageProcessor",
          "dinov2": "BitImageProcessor", "vit": "ViTImageProcessor"}  # fmt: skip


class Processor:
    """A model's preprocessing of pictures, by transformers' class that uses Pillow and NumPy.

    Resizing and cropping are that class's; scaling and normalisation are done later, on the device, as a quarter of
    the bytes travels there then. The class for torchvision gives other pixels, so it is never taken.
    """

    def __init__(self, folder: Path, extra: str, model_type: str = "") -> None:
        about = settings(folder)
        name = about.get("image_processor_type") or about.get("feature_extractor_type") or _USUAL.get(model_type, "")
        name = str(name).removesuffix("Pil").removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
        self.made = _processor(name, about, folder, extra)
        self.factor = self.made.rescale_factor if self.made.do_rescale else 1.0
        self.mean = self.made.image_mean if self.made.do_normalize else 0.0
        self.std = self.made.image_std if self.made.do_normalize else 1.0

    def pixels(self, value: Any) -> np.ndarray:
        """One picture as (3, h, w) uint8, of the model's size."""
        found = self.made(
            rgb(value), do_rescale=False, do_normalize=False, input_data_format="channels_last", return_tensors="np"
        )["pixel_values"][0]
        return found if found.dtype == np.uint8 else np.clip(np.rint(found), 0, 255).astype(np.uint8)

    def normalise(self, pixels: Any) -> Any:
        """Pixels (b, 3, h, w) uint8 on any device, scaled and normalised as the processor does, float32."""
        import torch

        mean, std = (torch.as_tensor(x, dtype=torch.float32, device=pixels.device) for x in (self.mean, self.std))
        mean, std = (x.reshape(-1, 1, 1) if x.ndim else x for x in (mean, std))
        return (pixels.float() * self.factor - mean) / std


def settings(folder: Path) -> dict[str, Any]:
    """The settings of a model's picture processor, wherever its files have them; {} without any."""
    alone = folder / "preprocessor_config.json"
    if alone.is_file():
        return io.read_object(alone, "restore the model's folder")
    together = folder / "processor_config.json"  # since transformers 5
    if together.is_file():
        return io.read_object(together, "restore the model's folder").get("image_processor", {})
    return {}


def digest(folder: Path) -> str:
    """Digest of the settings of a model's picture processor, for fingerprints."""
    return fingerprint.digest(settings(folder))


def rgb(value: Any) -> np.ndarray:
    """A picture, a path or a uint8 array, as (h, w, 3) uint8, upright, transparency over white. Raises BadData."""
    picture = files.over_white(files.read(value))
    return np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture


def batches(
    encoder: Pretrained, values: Sequence[Any], read: Callable[[Any], np.ndarray], forward: Callable[[Any], np.ndarray]
) -> Iterator[tuple[Sequence[int], np.ndarray]]:
    """Rows of each batch and the vectors of its pictures. read: one picture to an array, in threads; forward: a stack
    of these, a tensor, to vectors.
    """
    import torch

    def stacked(rows: Sequence[int]) -> Any:
        return torch.from_numpy(np.stack(_batches.side_by_side(read, [values[i] for i in rows])))

    size = encoder.size(footprint(encoder.config))
    return _batches.compute(_batches.fixed(len(values), size), stacked, forward, size, encoder.where)


def examples(n: int = 6) -> list[np.ndarray]:
    """Fixed pictures: smooth colours with edges and some noise."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(n):
        y, x = np.mgrid[0:192, 0 : 160 + 32 * (i % 3)] / 192
        waves = np.stack([np.sin(2 * np.pi * (rng.uniform(0.5, 4) * x + rng.uniform(0.5, 4) * y)) for _ in range(3)], 2)
        waves[48 * (i % 3) : 48 * (i % 3) + 40, 30:90] = rng.uniform(-1, 1, 3)
        noise = rng.normal(0, 0.05 * (i % 4), waves.shape)
        found.append(np.clip(127.5 + 100 * (waves + noise), 0, 255).astype(np.uint8))
    return found


def footprint(config: dict[str, Any]) -> int:
    """Bytes of activations that a picture takes in a vision transformer: its MLP is the largest of a layer."""
    about = config.get("vision_config", config)
    side = int(about.get("image_size", 224)) / int(about.get("patch_size", 16) or 16)
    return int((side**2 + 1) * int(about.get("hidden_size", 768)) * 4 * 16)


def _processor(name: str, about: dict[str, Any], folder: Path, extra: str) -> Any:
    require("PIL.Image", "image")
    transformers = _torchvision.library("transformers", extra)
    if not name:
        raise Corrupt(f"{folder} has no preprocessor_config.json; restore or download it again")
    try:
        made = transformers.__dict__.get(f"{name}Pil") or getattr(transformers, f"{name}Pil")
    except AttributeError:
        raise BadData(f"{folder}: its pictures are prepared by {name}, which transformers {transformers.__version__} "
                      "has not for Pillow; choose another model") from None  # fmt: skip
    except ImportError as error:
        raise MissingExtra("transformers", extra, str(error)) from error
    about = {key: value for key, value in about.items() if not key.endswith(("_type", "_class"))}
    return made(**about)
