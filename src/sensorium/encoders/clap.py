"""CLAP: sounds and texts in one space (Wu et al. 2023), by a model of the Hugging Face hub or a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from sensorium.encoders import _batches, _sounds, _torchvision, _trainable
from sensorium.encoders._two_towers import Towers
from sensorium.errors import Corrupt
from sensorium.modalities.audio import files

LICENCE = "Apache 2.0"  # of the usual weights
USUAL_MODEL = "laion/clap-htsat-unfused"
USUAL_WIDTH = 512
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
RATE = 48_000  # Hz, of the published models
_TOGETHER = 32  # parts of 10 s in one pass


class Clap(Towers):
    """A sound or a text as the vector of its tower, of unit length; cosine compares the two.

    model: id on the Hugging Face hub, such as laion/clap-htsat-unfused, or a folder that save_pretrained wrote.
    tower: "audio" or "text"; "" is chosen by the kind of the side's items.
    revision: branch, tag or commit of an id.
    precision: of the products: "fp32", "bf16", or "auto": bf16 in hardware that leaves cosines to fp32 above 0.9999.

    A sound longer than the model hears (10 s) is cut into equal parts and gets the mean of their vectors, at unit
    length; the library's own way takes one part by chance. Shorter ones are repeated, as the model was trained so.
    """

    part, extra, usual = "clap", "speech", USUAL_MODEL
    towers = ("audio", "text")
    architectures: ClassVar[Mapping[str, str]] = {"clap": "ClapModel"}
    of_tower: ClassVar[Mapping[str, Sequence[str]]] = {
        "audio": ("audio_model", "audio_projection"), "text": ("text_model", "text_projection")
    }  # fmt: skip

    @property
    def sample_rate(self) -> int:
        """Hz of the sounds that the published models hear; 0 of the tower of texts."""
        return RATE if self.takes == "audio" else 0

    @property
    def taken_from(self) -> str:
        """What a vector is."""
        return "projection of the audio tower, mean over parts of at most 10 s, unit length" * (self.takes == "audio")

    @property
    def dim(self) -> int:
        """Width d of a vector."""
        _ = self.architecture
        return int(self.config.get("projection_dim", 512))

    @property
    def longest(self) -> int:
        """Tokens that the text tower reads: positions of RoBERTa begin after the padding's."""
        about = self.config.get("text_config", {})
        return int(about.get("max_position_embeddings", 514)) - int(about.get("pad_token_id", 1)) - 1

    @cached_property
    def extractor(self) -> Any:
        """The model's mel features. Raises Corrupt without its preprocessor_config.json."""
        transformers = _torchvision.library("transformers", self.extra)
        try:
            return transformers.ClapFeatureExtractor.from_pretrained(str(self.folder), local_files_only=True)
        except (OSError, ValueError, TypeError) as error:
            raise Corrupt(f"{self.folder} has no preprocessor_config.json of CLAP ({error}); restore it") from None

    def others(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Vectors of sounds, each with all of its parts in one batch."""

        def read(rows: Sequence[int]) -> Any:
            return _trainable.stacked_parts(_batches.side_by_side(self._parts, [values[i] for i in rows]))

        def forward(inputs: Any) -> np.ndarray:
            features, counts = inputs
            hear = lambda x: self._hear(self.network, x)  # noqa: E731
            found = np.concatenate([self.run(hear, x=some) for some in features.split(_TOGETHER)])
            return _sounds.mean_of_parts(found, counts, unit_length=True)

        size = self.size()
        return _batches.compute(_batches.fixed(len(values), size), read, forward, size, self.where)

    def _parts(self, value: Any) -> np.ndarray:
        """Mel features (k, channels, t, mels) of equal parts of a sound, each at most as long as the model hears."""
        rate, most = self.extractor.sampling_rate, self.extractor.nb_max_samples
        samples = files.read(value, rate)
        return np.concatenate([self._mel(part) for part in np.array_split(samples, -(-len(samples) // most))])

    def _mel(self, samples: np.ndarray) -> np.ndarray:
        """Mel features (1, channels, t, mels) of at most 10 s."""
        made = self.extractor(samples, sampling_rate=self.extractor.sampling_rate, return_tensors="np")
        return made["input_features"].astype(np.float32)

    def _hear(self, network: Any, x: Any) -> Any:
        longer = x.new_zeros((len(x), 1), dtype=bool)  # the extractor says True of one by chance
        return network.get_audio_features(input_features=x, is_longer=longer).pooler_output

    def prepare(self, value: Any) -> Any:
        """Mel features of a sound's parts, or a text's tokens. Raises BadData."""
        return super().prepare(value) if self.takes == "text" else self._parts(value)

    def collate(self, network: Any, prepared: Sequence[Any]) -> Any:
        """All parts of some sounds and the number of each one's, or tokens of texts."""
        return super().collate(network, prepared) if self.takes == "text" else _trainable.stacked_parts(prepared)

    def features(self, network: Any, x: Any) -> Any:
        """Collated items to vectors (b, dim)."""
        if self.takes == "text":
            return self.read(network, x)
        return _trainable.mean_of_parts(self._hear(network, x[0]), x[1], unit_length=True)

    def blocks(self, network: Any) -> Sequence[Any]:
        """Blocks of the tower, first to last; those of all stages, where it hears."""
        if self.takes == "text":
            return super().blocks(network)
        return [block for stage in network.audio_model.audio_encoder.layers for block in stage.blocks]

    def other_examples(self) -> list[Any]:
        """Fixed sounds."""
        return _sounds.examples(self.extractor.sampling_rate)
