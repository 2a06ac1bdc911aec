"""Two-tower models (CLIP and its kind): two kinds of item in one space, each by the tower of its side."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from sensorium.encoders import _pictures, _pretrained, _texts, _trainable
from sensorium.encoders._pretrained import Pretrained
from sensorium.encoders._trainable import Trainable
from sensorium.errors import BadRecipe


class Towers(Pretrained, Trainable):
    """A model with two towers, of which an encoder loads one. See a part, such as :mod:`sensorium.encoders.clip`.

    towers: the kinds of item. architectures: transformers' class by the model_type of config.json. of_tower: names of
    the modules of each tower; those of the other one are dropped.
    """

    towers: Sequence[str]
    architectures: ClassVar[Mapping[str, str]]
    of_tower: ClassVar[Mapping[str, Sequence[str]]]

    def __init__(self, model: str = "", tower: str = "", revision: str = "", precision: str = "auto") -> None:
        super().__init__(model, revision, precision)
        if tower and tower not in self.towers:
            raise BadRecipe(f"{self.part}: tower={tower!r}; expected {' or '.join(self.towers)}, or \"\" to choose it "
                            "by the items")  # fmt: skip
        self.tower = tower
        self.takes = tower or self.towers[0]

    def choose(self, kind: str) -> None:
        """The tower of this kind of item, where none was named."""
        if not self.tower and kind in self.towers:
            self.tower = self.takes = kind

    def settle(self) -> dict[str, Any]:
        """The tower, and the precision that "auto" stands for here."""
        return {"tower": self.takes, **super().settle()}

    @cached_property
    def architecture(self) -> str:
        """transformers' class of the model. Raises BadRecipe for a model of another kind."""
        kind = self.config.get("model_type")
        if kind not in self.architectures:
            raise BadRecipe(f"{self.model} is a {kind} model, not {' or '.join(self.architectures)}; type: "
                            f"left.encoder={self.model} to choose the encoder by the model")  # fmt: skip
        return self.architectures[kind]

    @property
    def space(self) -> str:
        """Both towers of one model share it, unless one was trained further."""
        return " ".join((self.part, self.checksums, *self.tuned_by.values()))

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors."""
        return self.made_by(tower=self.takes, **self.reading())

    def reading(self) -> dict[str, Any]:
        """What the fingerprint says of how values are prepared, beyond the model's own files."""
        return {}

    def load(self) -> Any:
        """The model without its other tower, on the processor."""
        model = _pretrained.load(self.architecture, self.folder, self.extra)
        for kind, names in self.of_tower.items():
            for name in names if kind != self.takes else ():
                delattr(model, name)
        return model

    def batches(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Rows of each batch and their vectors."""
        return self.texts(values) if self.takes == "text" else self.others(values)

    def examples(self) -> list[Any]:
        """Fixed texts or pictures."""
        return list(_texts.EXAMPLES) if self.takes == "text" else self.other_examples()

    def texts(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Vectors of texts, cut off at the longest that the model reads."""
        texts = _texts.check(self.part, values)

        def forward(tokens: Any) -> np.ndarray:
            return self.run(lambda **x: self.read(self.network, x), **tokens)

        return _texts.batches(self, texts, self.tokenizer, self.longest, forward, self.padded)

    def read(self, network: Any, tokens: Mapping[str, Any]) -> Any:
        """Tokens, (b, t) each, to vectors (b, dim)."""
        return network.get_text_features(**tokens).pooler_output

    def prepare(self, value: Any) -> Any:
        """A text's tokens, or what the other tower takes. Raises BadData."""
        if self.takes != "text":
            return self.pixels(value)
        return _trainable.tokens(self.tokenizer, _texts.check(self.part, [value])[0], self.longest)

    def collate(self, network: Any, prepared: Sequence[Any]) -> Any:
        """Prepared items as the tower takes them."""
        if self.takes != "text":
            return super().collate(network, prepared)
        return _trainable.padded(self.tokenizer, prepared, self.longest if self.padded else 0)

    padded: ClassVar[bool] = False  #: every text takes as many tokens as the longest

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return _texts.tokenizer(self.folder, self.extra)

    @property
    def longest(self) -> int:
        """Tokens that the text tower reads at most."""
        return int(self.config.get("text_config", {}).get("max_position_embeddings", 0)) or 77

    @abstractmethod
    def others(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Vectors of what is no text."""

    @abstractmethod
    def other_examples(self) -> list[Any]:
        """Fixed values of the kind that is no text."""


class Looks(Towers):
    """A model with a tower for pictures and one for texts."""

    towers = ("image", "text")
    of_tower: ClassVar[Mapping[str, Sequence[str]]] = {"image": ("vision_model",), "text": ("text_model",)}

    @cached_property
    def dim(self) -> int:
        """Width d of a vector."""
        _ = self.architecture
        return int(self.config.get("projection_dim") or 512)

    @cached_property
    def processor(self) -> _pictures.Processor:
        """The model's preprocessing of pictures."""
        return _pictures.Processor(self.folder, self.extra, str(self.config.get("model_type")))

    def reading(self) -> dict[str, Any]:
        """Of pictures, the settings of their preprocessing."""
        return {"processor": _pictures.digest(self.folder)} if self.takes == "image" else {}

    def others(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Vectors of pictures."""
        return _pictures.batches(self, values, self.pixels, self.see)

    def see(self, pixels: Any) -> np.ndarray:
        """Pixels (b, 3, h, w) uint8 to vectors."""
        return self.run(lambda x: self.features(self.network, x), x=pixels)

    def pixels(self, value: Any) -> np.ndarray:
        """One picture as (3, h, w) uint8, of the model's size."""
        return self.processor.pixels(value)

    def features(self, network: Any, x: Any) -> Any:
        """Tokens, or pixels (b, 3, h, w) uint8, to vectors."""
        if self.takes == "text":
            return self.read(network, x)
        return network.get_image_features(pixel_values=self.processor.normalise(x)).pooler_output

    def other_examples(self) -> list[Any]:
        """Fixed pictures."""
        return _pictures.examples()
