"""timm: a picture as the pooled features of any model of the library timm, by its name, a hub id or a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import downloads
from sensorium.encoders import _pictures, _torchvision
from sensorium.encoders._pretrained import Pretrained
from sensorium.encoders._trainable import Trainable
from sensorium.errors import BadRecipe, Corrupt, nearest, require

LICENCE = "of the model: see its page on the hub"
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"


class Timm(Pretrained, Trainable):
    """A picture as what a model gives in place of classes: pooled features, prepared as the model's settings say.

    model: a name of timm, such as vit_small_patch14_dinov2 or resnet50.a1_in1k (without a tag its default one), an id
    on the Hugging Face hub, or a folder with config.json and weights, as timm writes for the hub.
    revision: branch, tag or commit of an id.
    precision: of the products: "fp32", "bf16", or "auto": bf16 in hardware that leaves cosines to fp32 above 0.9999.
    """

    part, extra, takes = "timm", "timm", "image"

    def weights(self) -> downloads.Weights:
        """Where the model is looked for: a name of timm stands for the id that timm gives it."""
        return downloads.Weights(
            self.part, self.model if self._is_place else self._id, self.files, self.extra,
            "type: left.encoder=timm:FOLDER", "delete it from the hub's cache", self.revision,
        )  # fmt: skip

    @property
    def _is_place(self) -> bool:
        return "/" in self.model or self.model.startswith((".", "~")) or Path(self.model).is_dir()

    @property
    def _id(self) -> str:
        """The hub's id of a name of timm. Raises BadRecipe, naming the nearest, for one that it has no weights of."""
        timm = _timm()
        known = timm.list_models(pretrained=True)
        try:
            about = timm.get_pretrained_cfg(self.model)
        except RuntimeError:  # a tag that the architecture has not
            about = None
        if about is None or not about.hf_hub_id:
            raise BadRecipe(f"timm has no weights of a model {self.model}; {nearest(self.model, known)}")
        return str(about.hf_hub_id) if "/" in str(about.hf_hub_id) else f"timm/{self.model}"

    @cached_property
    def dim(self) -> int:
        """Width d of a vector: that of the features of an empty picture."""
        import torch

        with torch.inference_mode():
            return int(self.load()(torch.zeros(1, *self._settings["input_size"])).shape[1])

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors; the settings of the preprocessing are in config.json."""
        return self.made_by()

    def load(self) -> Any:
        """The model without its classifier, on the processor. Raises Corrupt when its files do not fit together."""
        timm = _timm()
        from safetensors import SafetensorError

        try:
            return timm.create_model(f"local-dir:{self.folder}", pretrained=True, num_classes=0).eval()
        except (SafetensorError, RuntimeError, OSError, KeyError, ValueError) as error:
            raise Corrupt(f"{self.folder} cannot be loaded by timm ({str(error).splitlines()[0]}); "
                          "restore or download it again") from None  # fmt: skip

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """Size, mean, deviation, crop and interpolation of its pictures."""
        timm = _timm()
        return dict(timm.data.resolve_data_config(pretrained_cfg=self.config.get("pretrained_cfg") or self.config))

    @cached_property
    def _transform(self) -> Any:
        return _timm().data.create_transform(**self._settings, is_training=False)

    def pixels(self, value: Any) -> np.ndarray:
        """One picture as (3, h, w) float32, prepared as the model's settings say."""
        image = require("PIL.Image", self.extra).fromarray(_pictures.rgb(value))
        return self._transform(image).numpy()

    def batches(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Rows of each batch and their vectors."""
        return _pictures.batches(self, values, self.pixels, lambda x: self.run(self.network, x=x))

    def features(self, network: Any, x: Any) -> Any:
        """Prepared pictures (b, 3, h, w) float32 to vectors."""
        return network(x)

    def examples(self) -> list[Any]:
        """Fixed pictures."""
        return _pictures.examples()


def _timm() -> Any:
    _torchvision.library("timm.data", "timm")
    return require("timm", "timm")
