"""SigLIP and SigLIP 2: pictures and texts in one space (Zhai et al. 2023; Tschannen et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from sensorium.encoders import _batches, _pictures
from sensorium.encoders._two_towers import Looks

LICENCE = "Apache 2.0"  # of the usual weights
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"


class Siglip(Looks):
    """A picture or a text as the vector of its tower, trained with a sigmoid loss; cosine compares the two.

    model: id on the Hugging Face hub, such as google/siglip-base-patch16-224, or a folder that save_pretrained wrote.
    tower: "image" or "text"; "" is chosen by the kind of the side's items.
    revision: branch, tag or commit of an id.
    precision: of the products: "fp32", "bf16", or "auto": bf16 in hardware that leaves cosines to fp32 above 0.9999.

    Texts are padded to the model's longest, 64 tokens in most, as in training; SigLIP 2 reads them in lower case.
    """

    part, extra, usual = "siglip", "transformers", "google/siglip-base-patch16-224"
    architectures = {"siglip": "SiglipModel", "siglip2": "Siglip2Model"}  # noqa: RUF012
    padded = True

    @cached_property
    def dim(self) -> int:
        """Width d of a vector: both towers end with it."""
        _ = self.architecture
        about = self.config.get("vision_config", {})
        return int(about.get("hidden_size", 768))

    @property
    def trains(self) -> bool:
        """Whether it is the tower of texts, or of pictures of one square each."""
        return self.takes == "text" or not self.patches

    @property
    def patches(self) -> bool:
        """Whether pictures become patches in their own aspect ratio (NaFlex) in place of one fixed square."""
        return self.architecture == "Siglip2Model"

    @property
    def longest(self) -> int:
        """Tokens that the text tower reads, all of them."""
        return int(self.config.get("text_config", {}).get("max_position_embeddings", 0)) or 64

    def others(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Vectors of pictures."""
        if not self.patches:
            yield from super().others(values)
            return
        made = self.processor.made

        def read(rows: Sequence[int]) -> Any:
            pictures = _batches.side_by_side(_pictures.rgb, [values[i] for i in rows])
            return made(pictures, input_data_format="channels_last", return_tensors="pt")

        def forward(inputs: Any) -> np.ndarray:
            return self.run(lambda **x: self.network.get_image_features(**x).pooler_output, **inputs)

        size = self.size(_pictures.footprint(self.config))
        yield from _batches.compute(_batches.fixed(len(values), size), read, forward, size, self.where)
