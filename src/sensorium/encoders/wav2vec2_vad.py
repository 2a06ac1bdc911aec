"""Valence, arousal and dominance of speech by a wav2vec 2.0 model fitted on MSP-Podcast (Wagner et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium.contracts import Encoder
from sensorium.encoders._pretrained import weight_files
from sensorium.encoders._speech_transformer import Speech, Waveform
from sensorium.errors import BadRecipe, Corrupt
from sensorium.modalities.audio import files
from sensorium.numerics.affect import DIMENSIONS
from sensorium.numerics.affect_scales import SCALES, check, to_unit

LICENCE = "CC BY-NC-SA 4.0: not for commercial use"  # of the usual weights
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
ORDER = ("arousal", "dominance", "valence")  # of the model's outputs
_LAYERS = ("dense", "out_proj")


class Wav2vec2Vad(Encoder):
    """A recording as valence, arousal and dominance, -1 to 1: wav2vec 2.0, the mean of its frames, a regression head.

    model: id on the Hugging Face hub, or a folder that ``save_pretrained`` wrote, of wav2vec 2.0 with the regression
        head of the usual model's card; "" takes audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim.
    revision: branch, tag or commit of an id.
    precision: "fp32", or "bf16" to multiply in bfloat16.
    chunk: seconds, 1 to 60; longer recordings go through in equal parts, whose frames are pooled together.
    scale: of the model's outputs, "0..1" as of the usual one, or "-1..1", "1..5", "1..7" or "1..9". What lies a little
        beyond it is cut off.

    The model gives arousal, dominance and valence in this order; the vectors have valence first. A recording's ratings
    do not depend on its companions beyond rounding (1e-5 in fp32).
    """

    takes: ClassVar[str] = "audio"
    dim: ClassVar[int] = len(DIMENSIONS)
    batch: ClassVar[int] = 32
    sample_rate: ClassVar[int] = files.RATE
    taken_from: ClassVar[str] = "regression head over the mean of the last hidden state's valid frames"

    def __init__(self, model: str = "", revision: str = "", precision: str = "fp32", chunk: float = 30.0,
                 scale: str = "0..1") -> None:  # fmt: skip
        if chunk > 60:
            raise BadRecipe(f"wav2vec2_vad.chunk={chunk}; expected at most 60 seconds")
        self.scale = check(scale, "wav2vec2_vad.scale")
        usual = "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim"
        self._speech = Speech("wav2vec2", partial(Waveform, "Wav2Vec2Model", final_norm=True), usual, model=str(model),
                              revision=revision, precision=precision, chunk=chunk)  # fmt: skip

    @property
    def device(self) -> str:
        """Where the network computes."""
        return self._speech.device

    @device.setter
    def device(self, name: str) -> None:
        self._speech.device = name

    @property
    def fingerprint(self) -> dict[str, str | int | float]:
        """What made the vectors; the weights, those of the regression head among them, by their checksum."""
        return {**self._speech.fingerprint, "name": "wav2vec2_vad", "scale": self.scale}

    def settle(self) -> Mapping[str, Any]:
        """The model's own open keys."""
        return self._speech.settle()

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Ratings (n, 3) float32 of paths or ``(samples, rate)``. Raises BadData for recordings that cannot be read."""
        if not len(values):
            return np.zeros((0, self.dim), np.float32)
        (dense, out), x = self._head, np.asarray(self._speech.encode(values), np.float64)
        found = np.tanh(x @ dense[0].T + dense[1]) @ out[0].T + out[1]
        ratings = found[:, [ORDER.index(name) for name in DIMENSIONS]]
        return to_unit(np.clip(ratings, *SCALES[self.scale]), self.scale, "wav2vec2_vad")

    @cached_property
    def _head(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weight and bias of both layers. Raises Corrupt for a model without this head, or of other widths."""
        folder, width = self._speech.folder, self._speech.shape[1]
        found = _tensors(folder)
        layers = []
        for name, outputs in zip(_LAYERS, (width, self.dim), strict=True):
            keys = [f"classifier.{name}.{part}" for part in ("weight", "bias")]
            if any(key not in found for key in keys):
                raise Corrupt(f"{folder} has no regression head ({', '.join(keys)}); expected a model such as "
                              "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim")  # fmt: skip
            weight, bias = (found[key].astype(np.float64) for key in keys)
            if weight.shape != (outputs, width) or bias.shape != (outputs,):
                raise Corrupt(f"{folder}: {keys[0]} has shape {weight.shape}; expected {(outputs, width)}")
            layers.append((weight, bias))
        return layers


def _tensors(folder: Path) -> dict[str, np.ndarray]:
    """The regression head's tensors of a model's files of weights; no pickled code is executed."""
    found: dict[str, np.ndarray] = {}
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, "np") as file:
                found |= {key: file.get_tensor(key) for key in file.keys() if key.startswith("classifier.")}  # noqa: SIM118
        else:
            import torch

            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            found |= {key: value.float().numpy() for key, value in state.items() if key.startswith("classifier.")}
    return found
