"""WavLM: speech as hidden states of a transformer trained on noisy and overlapping speech (Chen et al. 2022)."""

from functools import partial

from sensorium.encoders._speech_transformer import Speech, Waveform

LICENCE = "MIT"  # of the usual weights
USUAL_MODEL = "microsoft/wavlm-base-plus"
USUAL_WIDTH = 768
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
Wavlm = partial(Speech, "wavlm", partial(Waveform, "WavLMModel"), USUAL_MODEL)
