"""CLIP's text model, pooled: the vector by which Stable Diffusion reads a prompt, before CLIP's projection."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sensorium import downloads
from sensorium.encoders import _pretrained, _texts
from sensorium.encoders._text_model import TextModel
from sensorium.errors import BadRecipe

LICENCE = "MIT (OpenAI's models)"  # of the usual weights
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
_KINDS = ("clip", "clip_text_model")


class ClipText(TextModel):
    """A text as ``pooler_output`` of transformers' CLIPTextModel: the last layer, normalised, at the end token.

    768 numbers with the usual model, openai/clip-vit-large-patch14, as in training_data.npz of the perception document
    and in Stable Diffusion 1. The part clip gives another vector of the same text: this one times the text projection,
    in the space of CLIP's pictures.

    model: id on the Hugging Face hub, or a folder that save_pretrained wrote, of a CLIP model or of its text model
    alone; ``text_encoder`` of a Stable Diffusion model is one, with the folder ``tokenizer`` beside it.
    revision: branch, tag or commit of an id.
    precision: of the products: "fp32", "bf16", or "auto": bf16 in hardware that leaves cosines to fp32 above 0.9999.

    Of a text of more than 77 tokens the rest is cut off; a note says of how many. Vectors have the length that the
    model gives them.
    """

    part, extra, usual, takes = "clip_text", "transformers", "openai/clip-vit-large-patch14", "text"

    def __init__(self, model: str = "", revision: str = "", precision: str = "auto") -> None:
        super().__init__(model, revision, precision)

    def weights(self) -> downloads.Weights:
        """Where the model is looked for."""
        remedy = "type: right.encoder.model=FOLDER, or right.encoder=minilm, another text encoder"
        return replace(super().weights(), remedy=remedy)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config.json. Raises BadRecipe for a model of another kind."""
        found = super().config
        if (kind := found.get("model_type")) not in _KINDS:
            raise BadRecipe(f"{self.model} is a {kind} model, not clip; type: right.encoder={self.model} to choose the "
                            "encoder by the model")  # fmt: skip
        return found

    @property
    def _text(self) -> dict[str, Any]:
        return self.config.get("text_config") or self.config

    @property
    def dim(self) -> int:
        """Width d of a vector."""
        return int(self._text.get("hidden_size", 512))

    @property
    def longest(self) -> int:
        """Tokens read of a text, with those at both ends."""
        return int(self._text.get("max_position_embeddings", 77))

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors."""
        return self.made_by(pooling="end token")

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer, which pads at the end."""
        folder = self.folder
        beside = Path(folder).parent / "tokenizer"
        if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")) and beside.is_dir():
            folder = beside
        made = _texts.tokenizer(folder, self.extra)
        made.padding_side = "right"
        return made

    def load(self) -> Any:
        """The text model, on the processor."""
        return _pretrained.load("CLIPTextModel", self.folder, self.extra)

    def features(self, network: Any, x: Any) -> Any:
        """Tokens to vectors (b, dim). What follows the end token changes nothing: each token sees those before it."""
        return network(input_ids=x["input_ids"], attention_mask=x["attention_mask"]).pooler_output
