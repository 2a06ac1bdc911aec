"""RoBERTa: a text as the mean of its token vectors in the last layer (Liu et al. 2019), at most 256 tokens."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from sensorium.encoders import _pretrained, _texts
from sensorium.encoders._text_model import TextModel
from sensorium.errors import BadRecipe

LICENCE = "MIT"  # of the usual weights
USUAL_MODEL = "FacebookAI/roberta-base"
USUAL_WIDTH = 768
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
_BEFORE = 2  # positions before that of the first token: RoBERTa counts from the index of the padding


class Roberta(TextModel):
    """z = Σ mₜ hₜ / Σ mₜ over the tokens t of a text: hₜ of the last layer, mₜ = 1 for valid tokens, 0 for padding.

    The tokens <s> and </s> at both ends count, as in the usual mean pooling by the attention mask.

    model: id on the Hugging Face hub, such as roberta-base or FacebookAI/roberta-large, or a folder that
    save_pretrained wrote.
    max_length: tokens read of a text, 3 to 512 with the published models; the rest is cut off, which a note says.
    normalize: vectors of unit length, as in caches of PaSST and RoBERTa vectors of Clotho.
    revision: branch, tag or commit of an id.
    precision: of the products: "fp32", "bf16", or "auto": bf16 in hardware that leaves cosines to fp32 above 0.9999.
    """

    part, extra, usual, takes = "roberta", "transformers", USUAL_MODEL, "text"

    def __init__(self, model: str = "", max_length: int = 256, normalize: bool = False, revision: str = "",
                 precision: str = "auto") -> None:  # fmt: skip
        super().__init__(model, revision, precision)
        if not 3 <= max_length <= 512:
            raise BadRecipe(f"roberta: max_length={max_length!r}; expected 3 to 512 tokens")
        self.max_length, self.normalize = max_length, bool(normalize)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config.json. Raises BadRecipe for a model of another kind."""
        found = super().config
        if (kind := found.get("model_type")) != "roberta":
            raise BadRecipe(f"{self.model} is a {kind} model, not roberta; type: right.encoder=transformers "
                            f"right.encoder.model={self.model}")  # fmt: skip
        return found

    @property
    def dim(self) -> int:
        """Width d of a vector."""
        return int(self.config["hidden_size"])

    @property
    def longest(self) -> int:
        """Tokens read of a text: max_length, or as many as the model has positions."""
        return min(self.max_length, int(self.config["max_position_embeddings"]) - _BEFORE)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors."""
        return self.made_by(pooling="mean", max_length=self.longest, unit_length=self.normalize)

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer, which pads at the end."""
        made = _texts.tokenizer(self.folder, self.extra)
        made.padding_side = "right"
        return made

    def load(self) -> Any:
        """The network without its pooler, on the processor."""
        return _pretrained.load("RobertaModel", self.folder, self.extra, ("pooler.",))

    def features(self, network: Any, x: Any) -> Any:
        """Tokens to vectors (b, dim)."""
        states, valid = network(**x).last_hidden_state.float(), x["attention_mask"]
        mean = (states * valid[..., None]).sum(1) / valid.sum(1, keepdim=True)
        return mean / mean.norm(dim=1, keepdim=True) if self.normalize else mean
