"""Whisper's encoder: speech as hidden states of a transformer trained to transcribe (Radford et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.encoders import _torchvision
from sensorium.encoders._speech_transformer import Speech, load


class MelWindows:
    """Log-mel spectra of one fixed window, 30 s in the published models, and the encoder over them.

    Shorter chunks are filled with silence, as in training, and only the frames that hold sound count:
    so a batch changes nothing.
    """

    def __init__(self, folder: Path) -> None:
        _torchvision.guard()
        from transformers import WhisperFeatureExtractor

        self.spectra = WhisperFeatureExtractor.from_pretrained(str(folder), local_files_only=True)
        self.encoder = load("WhisperModel", folder).encoder
        self.longest = int(self.spectra.n_samples)
        self.hop = self.spectra.hop_length * self.encoder.conv2.stride[0]  # samples of a frame

    def to(self, device: Any) -> None:
        """Move the network to a torch device."""
        self.encoder.to(device)

    def modules(self) -> Mapping[str, Any]:
        """The encoder."""
        return {"encoder": self.encoder}

    def prepare(self, samples: np.ndarray) -> np.ndarray:
        """As they are; the spectra are scaled by the loudest of their window."""
        return samples

    def frames(self, n: int) -> int:
        """How many frames n samples give."""
        return -(-n // self.hop)

    def states(self, chunks: Sequence[np.ndarray]) -> Sequence[Any]:
        """Hidden states (b, t, d) of every layer."""
        import torch

        windows = [
            self.spectra(chunk, sampling_rate=self.spectra.sampling_rate, return_tensors="np").input_features[0]
            for chunk in chunks
        ]
        inputs = torch.from_numpy(np.stack(windows)).to(self.encoder.device)
        return self.encoder(inputs, output_hidden_states=True).hidden_states


LICENCE = "Apache 2.0"  # of the usual weights
USUAL_MODEL = "openai/whisper-base"
USUAL_WIDTH = 512
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
Whisper = partial(Speech, "whisper", MelWindows, USUAL_MODEL)
