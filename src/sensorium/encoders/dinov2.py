"""DINOv2: pictures by a vision transformer that was trained without labels (Oquab et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from sensorium.encoders import _pictures, _pretrained
from sensorium.encoders._pretrained import Pretrained
from sensorium.encoders._trainable import Trainable
from sensorium.errors import BadRecipe

LICENCE = "Apache 2.0"  # of the usual weights
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
_ARCHITECTURES = {"dinov2": "Dinov2Model", "dinov2_with_registers": "Dinov2WithRegistersModel"}
_POOLING = ("cls", "mean", "cls+mean")


class Dinov2(Pretrained, Trainable):
    """A picture as the vector of its class token after the last normalisation, or the mean of its patches'.

    model: id on the Hugging Face hub, such as facebook/dinov2-base, or a folder that save_pretrained wrote.
    pooling: "cls" for the class token, "mean" over the patches, or "cls+mean" for both, twice as wide.
    revision: branch, tag or commit of an id.
    precision: of the products: "fp32", "bf16", or "auto": bf16 in hardware that leaves cosines to fp32 above 0.9999.
    """

    part, extra, usual, takes = "dinov2", "transformers", "facebook/dinov2-base", "image"

    def __init__(self, model: str = "", pooling: str = "cls", revision: str = "", precision: str = "auto") -> None:
        super().__init__(model, revision, precision)
        if pooling not in _POOLING:
            raise BadRecipe(f"dinov2: pooling={pooling!r}; expected {', '.join(_POOLING)}")
        self.pooling = pooling

    @cached_property
    def architecture(self) -> str:
        """transformers' class of the model. Raises BadRecipe for a model of another kind."""
        kind = self.config.get("model_type")
        if kind not in _ARCHITECTURES:
            raise BadRecipe(f"{self.model} is a {kind} model, not {' or '.join(_ARCHITECTURES)}; type: "
                            f"left.encoder={self.model} to choose the encoder by the model")  # fmt: skip
        return _ARCHITECTURES[kind]

    @property
    def dim(self) -> int:
        """Width d of a vector."""
        _ = self.architecture
        return int(self.config.get("hidden_size", 768)) * (2 if self.pooling == "cls+mean" else 1)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors."""
        return self.made_by(pooling=self.pooling, processor=_pictures.digest(self.folder))

    @cached_property
    def processor(self) -> _pictures.Processor:
        """The model's preprocessing of pictures."""
        return _pictures.Processor(self.folder, self.extra, "dinov2")

    def load(self) -> Any:
        """The network, on the processor."""
        return _pretrained.load(self.architecture, self.folder, self.extra, ("mask_token",))

    def batches(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Rows of each batch and the vectors of its pictures."""
        return _pictures.batches(
            self, values, self.pixels, lambda pixels: self.run(lambda x: self.features(self.network, x), x=pixels)
        )

    def pixels(self, value: Any) -> np.ndarray:
        """One picture as (3, h, w) uint8, of the model's size."""
        return self.processor.pixels(value)

    def features(self, network: Any, x: Any) -> Any:
        """Pixels (b, 3, h, w) uint8 to vectors."""
        import torch

        states = network(pixel_values=self.processor.normalise(x)).last_hidden_state.float()
        first = 1 + int(self.config.get("num_register_tokens", 0) if "registers" in self.config["model_type"] else 0)
        pooled = {"cls": states[:, 0], "mean": states[:, first:].mean(1)}
        return torch.cat([pooled[name] for name in self.pooling.split("+")], 1)

    def examples(self) -> list[Any]:
        """Fixed pictures."""
        return _pictures.examples()
