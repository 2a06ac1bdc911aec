"""Pretrained networks as encoders: files, checksums, device, precision and batches, shared by several parts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium import downloads, io
from sensorium.contracts import Encoder
from sensorium.encoders import _batches, _names, _torchvision, _trainable
from sensorium.errors import BadRecipe, Corrupt
from sensorium.numerics import device as devices

PRECISIONS = ("auto", "fp32", "bf16")
EXACT = 0.9999  # cosine to float32 from which on "auto" takes bfloat16
WEIGHTS = ("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin")
FILES = ("*.json", "*.txt", "*.model", *WEIGHTS)  # of a model: settings, vocabularies, weights


class Pretrained(Encoder):
    """What encoders with a downloaded torch network have in common. A part sets the class attributes and three methods.

    model: id on the Hugging Face hub, or a folder that ``save_pretrained`` wrote. revision: branch, tag or commit of an
    id. precision: of the products, "fp32", "bf16", or "auto": bf16 where the device multiplies it in hardware and
    the vectors of a few fixed examples keep a cosine of EXACT to float32; what was used stands in the fingerprint.
    """

    part: ClassVar[str]  #: name of the part
    usual: ClassVar[str] = ""  #: the model that model="" stands for
    accelerated = True
    accelerated = True
    extra: ClassVar[str]  #: the extra that installs what it needs
    files: ClassVar[Sequence[str]] = FILES
    #: By kind of item: units of a batch at the beginning and at most.
    sizes: ClassVar[dict[str, tuple[int, int]]] = {"text": (2048, 1 << 17), "image": (32, 512), "audio": (8, 128)}

    def __init__(self, model: str = "", revision: str = "", precision: str = "auto") -> None:
        if precision not in PRECISIONS:
            raise BadRecipe(f"{self.part}: precision={precision!r}; expected {', '.join(PRECISIONS)}")
        model = str(model) or self.usual
        if not model:
            raise BadRecipe(f"{self.part} needs a model; type: left.encoder={self.part.replace('_', '-')}:NAME")
        self.model, self.revision, self.precision = _names.with_owner(self.part, model), revision, precision
        self._network: Any = None
        self._sizes: dict[str, _batches.BatchSize] = {}

    def __getstate__(self) -> dict[str, Any]:
        """The settings, without the network, which another process loads anew; the precision is the one used here."""
        precision = vars(self).get("computes", self.precision)
        return {**super().__getstate__(), "_network": None, "_sizes": {}, "precision": precision}

    # what a part defines

    @abstractmethod
    def load(self) -> Any:
        """The network, float32, on the processor."""

    @abstractmethod
    def batches(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Rows of each batch and their vectors, in any order."""

    @abstractmethod
    def examples(self) -> list[Any]:
        """A few fixed values, on which the precisions are compared."""

    # what it has

    def weights(self) -> downloads.Weights:
        """Where the model is looked for."""
        return downloads.Weights(
            self.part, self.model, self.files, self.extra, "type: left.encoder.model=FOLDER",
            "delete it from the hub's cache", self.revision, hint=_names.nearest_models(self.part, self.model),
        )  # fmt: skip

    @cached_property
    def folder(self) -> Path:
        """The model's folder. Raises BadData when it is neither local nor available from the hub."""
        return _trainable.kept_in(self.kept) if self.kept else downloads.folder(self.weights())

    def model_files(self) -> dict[str, Path]:
        """The files of the model's folder that are read."""
        commit = downloads.commit(self.folder) if self.revision else ""
        return _trainable.files_in(self.folder, self.weights().files, commit)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config.json. Raises Corrupt when that is damaged."""
        return io.read_object(self.folder / "config.json", "restore the model's folder")

    @cached_property
    def where(self) -> Any:
        """The torch device it computes on. Raises BadRecipe when ``device`` is not there."""
        return devices.choose(self.device)

    @cached_property
    def checksums(self) -> str:
        """Checksum of every file with weights. Raises Corrupt when there is none."""
        return ",".join(io.checksum(path) for path in weight_files(self.folder))

    @property
    def batch(self) -> int:
        """Items that one call should get: enough that nothing waits between two calls, few enough to be kept often."""
        on_gpu = devices.available()[0] != "cpu" and self.device != "cpu"
        return {"text": 4096}.get(self.takes, 4096 if on_gpu else 256)

    @property
    def network(self) -> Any:
        """The network on its device, in its precision; loaded at first use."""
        if self._network is None:
            _ = self.computes
        if self._network is None:
            self._network = self._loaded()
            if self.computes == "bf16":
                bfloat16_products(self._network)
            self._network.to(self.where)
        return self._network

    def _loaded(self) -> Any:
        network = self.load()
        return _trainable.restore(network, self.tuned) if self.tuned else network

    @property
    def tuned_by(self) -> dict[str, str]:
        """What the fingerprint says of trained weights: their checksum; empty without any."""
        return {"tuned": io.checksum(Path(self.tuned))} if self.tuned else {}

    @cached_property
    def computes(self) -> str:
        """Precision of the products that is really used, "fp32" or "bf16"."""
        if self.precision != "auto":
            return self.precision
        if not devices.bfloat16_in_hardware(self.where.type):
            return "fp32"
        examples = self.examples()
        self._network, found = self._loaded().to(self.where), []
        for precision in ("fp32", "bf16"):
            vars(self)["computes"] = precision
            if precision == "bf16":
                bfloat16_products(self._network)
            found.append(self.encode(examples).astype(np.float64))
        a, b = found
        cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        self._sizes.clear()
        if cosine.min() >= EXACT:
            return "bf16"
        self._network = None  # its weights are rounded
        return "fp32"

    def settle(self) -> dict[str, Any]:
        """The precision that "auto" stands for here. Raises BadRecipe when the device is not there."""
        return {"precision": self.computes}

    def made_by(self, **more: Any) -> dict[str, Any]:
        """A fingerprint: the part, its weights by their checksum wherever they lie, settings, precision and ``more``.

        With ``revision`` its commit as well, so that a branch that moved on counts as another encoder.
        """
        commit = downloads.commit(self.folder) if self.revision else ""
        known = {**({"revision": commit} if commit else {}), **self.tuned_by}
        return {"name": self.part, "weights": self.checksums, "config": io.checksum(self.folder / "config.json"),
                **more, "precision": self.computes, **known}  # fmt: skip

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Vectors (n, d) float32 of n values. Raises BadData for a value that cannot be read."""
        out = np.empty((len(values), self.dim), np.float32)
        if len(values):
            for rows, found in self.batches(values):
                out[list(rows)] = found
        return out

    def size(self, footprint: int = 0) -> _batches.BatchSize:
        """The batch size of the kind of item that it takes. footprint: bytes of activations of one unit."""
        if self.takes not in self._sizes:
            start, most = self.sizes[self.takes]
            if self.where.type == "cpu":  # where larger batches were no faster
                most = min(most, 2 * start)
            self._sizes[self.takes] = _batches.BatchSize(self.where, start, most, footprint)
        return self._sizes[self.takes]

    def run(self, call: Callable[..., Any], **inputs: Any) -> np.ndarray:
        """Vectors (b, d) float32 that the network gives for inputs, which are moved to its device."""
        import torch

        on_device = {
            name: value.to(self.where, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for name, value in inputs.items()
        }
        with torch.inference_mode(), torch.autocast(self.where.type, torch.bfloat16, enabled=self.computes == "bf16"):
            return call(**on_device).float().cpu().numpy()


def bfloat16_products(network: Any) -> None:
    """Round the weights of products to bfloat16, once; under autocast they would be converted in each call.

    Normalisations, embeddings and sums stay in float32.
    """
    import torch

    for module in network.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)):
            module.to(torch.bfloat16)


def weight_files(folder: Path) -> list[Path]:
    """The files with weights: one, or several shards. Raises Corrupt when there is none."""
    for pattern in WEIGHTS:
        if found := sorted(folder.glob(pattern)):
            return found
    raise Corrupt(f"{folder} holds no weights (model.safetensors or pytorch_model.bin); restore or download it again")


def load(architecture: str, folder: Path, extra: str, optional: Sequence[str] = ()) -> Any:
    """A transformers model in float32 for evaluation. optional: parts of names of weights that may be missing.

    Raises MissingExtra without transformers, Corrupt when weights are missing or damaged.
    """
    transformers = _torchvision.library("transformers", extra)
    import torch
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # of the weights only training needs
    try:
        model, info = getattr(transformers, architecture).from_pretrained(
            str(folder), local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise Corrupt(f"{folder} cannot be loaded as {architecture} ({error}); restore or download it again") from None
    finally:
        logging.set_verbosity(before)
    missing = sorted(key for key in info["missing_keys"] if not any(part in key for part in optional))
    if missing:
        raise Corrupt(f"{folder} lacks {len(missing)} weights of {architecture}, such as {missing[0]}; restore it")
    return model.eval()
