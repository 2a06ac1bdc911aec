"""OpenCLIP: pictures and texts in one space, by an architecture and tag of open_clip, a hub id or a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import downloads, io
from sensorium import fingerprint as fingerprints
from sensorium.encoders import _batches, _pictures, _texts, _torchvision, _trainable
from sensorium.encoders._two_towers import Towers
from sensorium.errors import BadData, BadRecipe, Corrupt, nearest, require

LICENCE = "of the model: see its page on the hub"
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
SETTINGS = "open_clip_config.json"
CHECKPOINTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
FILES = (SETTINGS, *CHECKPOINTS, "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "*.model")
HUB = "hf-hub:"


class OpenClip(Towers):
    """A picture or a text as the vector of its tower; cosine compares the two.

    model: ARCHITECTURE/TAG of open_clip, such as ViT-B-32/laion2b_s34b_b79k, hf-hub:OWNER/NAME, or a folder with
    open_clip_config.json and its weights.
    tower: "image" or "text"; "" is chosen by the kind of the side's items.
    revision: branch, tag or commit of an id on the hub.
    precision: of the products: "fp32", "bf16", or "auto": bf16 in hardware that leaves cosines to fp32 above 0.9999.

    Vectors have the length that the model gives them; heads and indexes normalise.
    """

    part, extra = "open_clip", "open-clip"
    towers = ("image", "text")

    @cached_property
    def _published(self) -> tuple[str, str]:
        """The hub's id of the model, and the name of its file of weights where that is not the usual one.

        Raises BadRecipe, naming the nearest, for an architecture or tag that open_clip does not know.
        """
        if self.model.startswith(HUB):
            return self.model.removeprefix(HUB), ""
        open_clip = _open_clip()
        architecture, _, tag = self.model.partition("/")
        known = sorted({name for name, _ in open_clip.list_pretrained()})
        if architecture not in known:
            raise BadRecipe(f"open_clip has no architecture {architecture}; {nearest(architecture, known)}")
        about = open_clip.get_pretrained_cfg(architecture, tag)
        if not about:
            tags = open_clip.list_pretrained_tags_by_model(architecture)
            raise BadRecipe(f"open_clip has no weights {tag or '(no tag)'} of {architecture}; {nearest(tag, tags)}")
        if not about.get("hf_hub"):
            raise BadData(f"open_clip:{self.model} is not on the hub; download {about['url']} into a folder with "
                          f"{SETTINGS}, then type: left.encoder=open_clip:FOLDER")  # fmt: skip
        owner, name, *file = about["hf_hub"].split("/", 2)
        return f"{owner}/{name}", file[0] if file else ""

    @cached_property
    def folder(self) -> Path:
        """The model's folder. Raises BadData when it is neither local nor available from the hub."""
        if self.kept:
            return _trainable.kept_in(self.kept)
        if self.model.startswith((".", "/", "~")) or Path(self.model).is_dir():
            where = Path(self.model).expanduser()
            if not (where / SETTINGS).is_file():
                raise BadData(f"open_clip.model={self.model}: no folder with {SETTINGS}")
            return where
        name, file = self._published
        files = (*FILES, file) if file else FILES
        remedy, repair = "type: left.encoder=open_clip:FOLDER", "delete it from the hub's cache"
        return downloads.folder(downloads.Weights(self.part, name, files, self.extra, remedy, repair, self.revision))

    @cached_property
    def config(self) -> dict[str, Any]:
        """Settings of the architecture and of the preprocessing. Raises Corrupt when they are damaged."""
        if (self.folder / SETTINGS).is_file():
            about = io.read_object(self.folder / SETTINGS, "restore the model's folder")
            if isinstance(about.get("model_cfg"), dict):
                return about
            raise Corrupt(f"{self.folder / SETTINGS} has no model_cfg; restore or download it again")
        open_clip = _open_clip()
        architecture, _, tag = self.model.partition("/")
        about = open_clip.get_pretrained_cfg(architecture, tag)
        keys = ("mean", "std", "interpolation", "resize_mode")
        model = {**open_clip.get_model_config(architecture), "quick_gelu": bool(about.get("quick_gelu", False))}
        return {"model_cfg": model, "preprocess_cfg": {key: about[key] for key in keys if key in about}}

    @cached_property
    def checkpoint(self) -> Path:
        """The file with the weights. Raises Corrupt when there is none."""
        named = "" if self._is_folder else self._published[1]
        for name in filter(None, (named, *CHECKPOINTS)):
            if (self.folder / name).is_file():
                return self.folder / name
        raise Corrupt(f"{self.folder} holds no weights ({CHECKPOINTS[0]}); restore or download it again")

    @property
    def _is_folder(self) -> bool:
        return self.folder == Path(self.model).expanduser()

    @cached_property
    def checksums(self) -> str:
        """Checksum of the file with the weights."""
        return io.checksum(self.checkpoint)

    @property
    def trains(self) -> bool:
        """Whether it is the tower of pictures."""
        return self.takes == "image"

    @property
    def dim(self) -> int:
        """Width d of a vector, by the model's settings."""
        return int(self.config["model_cfg"]["embed_dim"])

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors."""
        commit = downloads.commit(self.folder) if self.revision else ""
        return {"name": self.part, "weights": self.checksums, "config": fingerprints.digest(self.config),
                "tower": self.takes, "precision": self.computes,
                **({"revision": commit} if commit else {}), **self.tuned_by}  # fmt: skip

    def load(self) -> Any:
        """The whole model, on the processor. Raises Corrupt when its files do not fit together."""
        open_clip = _open_clip()
        from safetensors import SafetensorError

        if self._by_settings:
            _ = self.checkpoint
            how: dict[str, Any] = {"model_name": f"local-dir:{self.folder}"}
        else:
            quick = bool(self.config["model_cfg"].get("quick_gelu", False))
            architecture = self.model.partition("/")[0]
            how = {"model_name": architecture, "pretrained": str(self.checkpoint), "force_quick_gelu": quick}
        try:
            return open_clip.create_model(**how, require_pretrained=True).float().eval()
        except (SafetensorError, RuntimeError, OSError, KeyError, TypeError, ValueError) as error:
            raise Corrupt(f"{self.folder} cannot be loaded by open_clip ({str(error).splitlines()[0]}); "
                          "restore or download it again") from None  # fmt: skip

    @property
    def _by_settings(self) -> bool:
        """Whether the folder's own settings and its usual file of weights make the model, not those of open_clip."""
        return (self.folder / SETTINGS).is_file() and self.checkpoint.name in CHECKPOINTS

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer, from its folder where that has one."""
        own = (self.folder / SETTINGS).is_file()
        return _open_clip().get_tokenizer(f"local-dir:{self.folder}" if own else self.model.partition("/")[0])

    @cached_property
    def _transform(self) -> Any:
        """Preprocessing of pictures, as open_clip evaluates with these settings."""
        transform = _open_clip().transform
        size = self.config["model_cfg"]["vision_cfg"].get("image_size", 224)
        known = {"size": size, **self.config.get("preprocess_cfg", {})}
        fields = transform.PreprocessCfg.__dataclass_fields__
        return transform.image_transform_v2(
            transform.PreprocessCfg(**{key: value for key, value in known.items() if key in fields}), is_train=False
        )

    def texts(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Vectors of texts, cut off at the longest that the model reads."""
        texts = _texts.check(self.part, values)
        tokens = self.tokenizer(texts)
        size = self.size()
        return _batches.compute(
            _batches.alike(np.full(len(texts), tokens.shape[1]), size), lambda rows: tokens[list(rows)],
            lambda x: self.run(lambda x: self.network.encode_text(x), x=x), size, self.where,
            lambda rows: len(rows) * tokens.shape[1],
        )  # fmt: skip

    def pixels(self, value: Any) -> np.ndarray:
        """One picture as (3, h, w) float32, prepared as the model's settings say."""
        image = require("PIL.Image", self.extra).fromarray(_pictures.rgb(value))
        return self._transform(image).numpy()

    def others(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Vectors of pictures."""
        return _pictures.batches(
            self, values, self.pixels, lambda x: self.run(lambda x: self.features(self.network, x), x=x)
        )

    def features(self, network: Any, x: Any) -> Any:
        """Prepared pictures (b, 3, h, w) float32 to vectors."""
        return network.encode_image(x)

    def blocks(self, network: Any) -> Sequence[Any]:
        """The blocks of the tower of pictures, first to last."""
        return super().blocks(network.visual)

    def other_examples(self) -> list[Any]:
        """Fixed pictures."""
        return _pictures.examples()


def _open_clip() -> Any:
    return _torchvision.library("open_clip", "open-clip")
