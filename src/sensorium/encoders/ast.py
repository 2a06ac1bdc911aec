"""AST: sound as the pooled output of the Audio Spectrogram Transformer, trained on AudioSet (Gong et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from sensorium.encoders import _batches, _pretrained, _sounds, _torchvision, _trainable
from sensorium.encoders._pretrained import Pretrained
from sensorium.encoders._trainable import Trainable
from sensorium.errors import BadRecipe, Corrupt
from sensorium.modalities.audio import files

LICENCE = "BSD 3-Clause"  # of the usual weights
USUAL_MODEL = "MIT/ast-finetuned-audioset-10-10-0.4593"
USUAL_WIDTH = 768
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
_FRAME, _HOP = 0.025, 0.010  # seconds, of the model's log-mel features
_TOGETHER = 16  # parts of about 10 s in one pass


class Ast(Pretrained, Trainable):
    """A sound as (h₁ + h₂) / 2 of the class and distillation tokens after the last normalisation: the pooled output.

    model: id on the Hugging Face hub, or a folder that save_pretrained wrote.
    normalize: vectors of unit length.
    revision: branch, tag or commit of an id.
    precision: of the products: "fp32", "bf16", or "auto": bf16 in hardware that leaves cosines to fp32 above 0.9999.

    The network takes one length, 10.24 s in the published models: a shorter sound is filled with zeros, as in training.
    A longer one is cut into equal parts and gets the mean of their vectors; the library alone leaves its end out.
    """

    part, extra, usual, takes = "ast", "speech", USUAL_MODEL, "audio"
    sample_rate = files.RATE
    taken_from = "pooled output: mean of the last layer's class and distillation tokens, mean over parts of 10.24 s"

    def __init__(self, model: str = "", normalize: bool = False, revision: str = "", precision: str = "auto") -> None:
        super().__init__(model, revision, precision)
        self.normalize = bool(normalize)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config.json. Raises BadRecipe for a model of another kind."""
        found = super().config
        if (kind := found.get("model_type")) != "audio-spectrogram-transformer":
            raise BadRecipe(f"{self.model} is a {kind} model, not an audio-spectrogram-transformer; type: "
                            f"left.encoder={self.model} to choose the encoder by the model")  # fmt: skip
        return found

    @property
    def dim(self) -> int:
        """Width d of a vector."""
        return int(self.config["hidden_size"])

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors."""
        return self.made_by(pooling="parts", unit_length=self.normalize, features=self._about)

    @property
    def _about(self) -> dict[str, Any]:
        one = self.features_of
        return {"rate": one.sampling_rate, "frames": one.max_length, "mean": one.mean, "std": one.std}

    @cached_property
    def features_of(self) -> Any:
        """The model's log-mel features. Raises Corrupt without preprocessor_config.json, BadRecipe for another rate."""
        transformers = _torchvision.library("transformers", self.extra)
        try:
            made = transformers.ASTFeatureExtractor.from_pretrained(str(self.folder), local_files_only=True)
        except (OSError, ValueError, TypeError) as error:
            raise Corrupt(f"{self.folder} has no preprocessor_config.json of AST ({error}); restore it") from None
        if made.sampling_rate != self.sample_rate:
            raise BadRecipe(f"{self.model} hears {made.sampling_rate} Hz; expected {self.sample_rate} Hz")
        return made

    @property
    def longest(self) -> int:
        """Samples of a part at most: those of the frames that the network takes."""
        return round(((self.features_of.max_length - 1) * _HOP + _FRAME) * self.sample_rate)

    def load(self) -> Any:
        """The network, on the processor."""
        return _pretrained.load("ASTModel", self.folder, self.extra)

    def batches(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Rows of each batch and their vectors: each sound with all of its parts."""

        def read(rows: Sequence[int]) -> Any:
            return _trainable.stacked_parts(_batches.side_by_side(self.prepare, [values[i] for i in rows]))

        def forward(inputs: Any) -> np.ndarray:
            x, counts = inputs
            hear = lambda x: self._hear(self.network, x)  # noqa: E731
            found = np.concatenate([self.run(hear, x=some) for some in x.split(_TOGETHER)])
            return _sounds.mean_of_parts(found, counts, self.normalize)

        size = self.size()
        return _batches.compute(_batches.fixed(len(values), size), read, forward, size, self.where)

    def _mel(self, samples: np.ndarray) -> np.ndarray:
        """Log-mel features (t, mels) of one part, filled up to the length that the network takes."""
        least = round(_FRAME * self.sample_rate)
        samples = np.pad(samples, (0, max(0, least - len(samples))))  # of one frame
        made = self.features_of(samples, sampling_rate=self.sample_rate, return_tensors="np")
        return made["input_values"][0].astype(np.float32)

    def _hear(self, network: Any, x: Any) -> Any:
        return network(x).pooler_output

    def prepare(self, value: Any) -> np.ndarray:
        """Log-mel features (k, t, mels) of a sound's equal parts. Raises BadData."""
        samples = files.read(value, self.sample_rate)
        return np.stack([self._mel(part) for part in np.array_split(samples, -(-len(samples) // self.longest))])

    def collate(self, network: Any, prepared: Sequence[Any]) -> Any:
        """All parts of some sounds, and the number of each one's."""
        return _trainable.stacked_parts(prepared)

    def features(self, network: Any, x: Any) -> Any:
        """Collated sounds to vectors (b, dim)."""
        return _trainable.mean_of_parts(self._hear(network, x[0]).float(), x[1], self.normalize)

    def examples(self) -> list[Any]:
        """Fixed sounds."""
        return _sounds.examples(self.sample_rate)
