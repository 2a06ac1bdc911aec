"""Texts or pictures by any encoder of transformers, pooled: mean over valid tokens, class token or pooler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from sensorium.encoders import _pictures, _pretrained, _texts, _trainable
from sensorium.encoders._pretrained import Pretrained
from sensorium.encoders._trainable import Trainable
from sensorium.errors import BadRecipe

LICENCE = "of the model, see its card"
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
_POOLING = ("mean", "cls", "pooler")
_ENCODERS = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}  # of models with a decoder


class Transformers(Pretrained, Trainable):
    """A text, or with a model of pictures a picture, as one vector of the last hidden states.

    model: id on the Hugging Face hub, such as google-bert/bert-base-uncased, or a folder that save_pretrained wrote.
    pooling: "mean" over valid tokens, "cls" for the first one, or "pooler" for the model's own pooled output.
    prompt: text put before each text, such as "query: " for E5 models.
    max_length: tokens read of a text, at most as many as the model has positions; the rest is cut off.
    revision: branch, tag or commit of an id.
    precision: of the products: "fp32", "bf16", or "auto": bf16 in hardware that leaves cosines to fp32 above 0.9999.
    """

    part, extra = "transformers", "transformers"

    def __init__(
        self,
        model: str,
        pooling: str = "mean",
        prompt: str = "",
        max_length: int = 512,
        revision: str = "",
        precision: str = "auto",
    ) -> None:
        super().__init__(model, revision, precision)
        if pooling not in _POOLING:
            raise BadRecipe(f"transformers: pooling={pooling!r}; expected {', '.join(_POOLING)}")
        if max_length < 1:
            raise BadRecipe(f"transformers: max_length={max_length}; expected 1 or more tokens")
        self.pooling, self.prompt, self.max_length = pooling, prompt, max_length

    @cached_property
    def takes(self) -> str:
        """Pictures where the model has a processor for them and no vocabulary, else texts."""
        looks = any(key.startswith("image_") for key in _pictures.settings(self.folder))
        reads = int(self.config.get("vocab_size", 0) or 0) > 0
        return "image" if looks and not reads else "text"

    @property
    def dim(self) -> int:
        """Width d of a vector. Raises BadRecipe for a model of another kind."""
        width = self.config.get("hidden_size") or self.config.get("d_model") or self.config.get("dim")
        if not isinstance(width, int):
            raise BadRecipe(f"transformers: {self.model} is a {self.config.get('model_type')} model without a width "
                            "of hidden states; choose another encoder, see: sensorium ls encoders")  # fmt: skip
        return width

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors."""
        if self.takes == "image":
            return self.made_by(pooling=self.pooling, processor=_pictures.digest(self.folder))
        return self.made_by(pooling=self.pooling, prompt=self.prompt, max_length=self.longest)

    @cached_property
    def longest(self) -> int:
        """Tokens read of a text: max_length, or as many as the model has positions."""
        places = int(self.config.get("max_position_embeddings", 0) or 0)
        if self.config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
            places -= 2  # their positions begin after the padding's
        return min(self.max_length, places) if places > 0 else self.max_length

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer, which pads at the end."""
        made = _texts.tokenizer(self.folder, self.extra)
        made.padding_side = "right"
        if made.pad_token is None:
            made.pad_token = made.eos_token
        return made

    @cached_property
    def processor(self) -> _pictures.Processor:
        """The model's preprocessing of pictures."""
        return _pictures.Processor(self.folder, self.extra, str(self.config.get("model_type")))

    def load(self) -> Any:
        """The network, on the processor."""
        architecture = _ENCODERS.get(str(self.config.get("model_type")), "AutoModel")
        unneeded = () if self.pooling == "pooler" else ("pooler.",)
        return _pretrained.load(architecture, self.folder, self.extra, (*unneeded, "mask_token"))

    def batches(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Rows of each batch and their vectors."""
        if self.takes == "image":
            return _pictures.batches(self, values, self.processor.pixels, lambda pixels: self.run(self._see, x=pixels))
        texts = [self.prompt + text for text in _texts.check(self.part, values)]
        forward = lambda tokens: self.run(self._read, **tokens)  # noqa: E731
        return _texts.batches(self, texts, self.tokenizer, self.longest, forward)

    def prepare(self, value: Any) -> Any:
        """A text's tokens, or a picture (3, h, w) uint8 of the model's size. Raises BadData."""
        if self.takes == "image":
            return self.processor.pixels(value)
        return _trainable.tokens(self.tokenizer, self.prompt + _texts.check(self.part, [value])[0], self.longest)

    def collate(self, network: Any, prepared: Sequence[Any]) -> Any:
        """Tokens of some texts, (b, t) each, or pictures (b, 3, h, w)."""
        return (
            super().collate(network, prepared) if self.takes == "image" else _trainable.padded(self.tokenizer, prepared)
        )

    def features(self, network: Any, x: Any) -> Any:
        """Collated items to vectors (b, dim)."""
        if self.takes == "image":
            return self._pooled(network(pixel_values=self.processor.normalise(x)), None)
        return self._pooled(network(**x), x["attention_mask"])

    def _read(self, **tokens: Any) -> Any:
        return self.features(self.network, tokens)

    def _see(self, x: Any) -> Any:
        return self.features(self.network, x)

    def _pooled(self, output: Any, valid: Any) -> Any:
        if self.pooling == "pooler":
            if output.get("pooler_output") is None:
                raise BadRecipe(f"transformers: {self.model} has no pooler; type: left.encoder.pooling=mean")
            return output.pooler_output.flatten(1)
        states = output.last_hidden_state.float()
        if states.ndim == 4:  # of a convolutional network: (b, d, h, w)
            states = states.flatten(2).transpose(1, 2)
        if self.pooling == "cls":
            return states[:, 0]
        if valid is None:
            return states.mean(1)
        return (states * valid[..., None]).sum(1) / valid.sum(1, keepdim=True)

    def examples(self) -> list[Any]:
        """Fixed pictures or texts."""
        return _pictures.examples() if self.takes == "image" else list(_texts.EXAMPLES)
