"""wav2vec 2.0: speech as hidden states of a transformer trained to predict masked sound (Baevski et al. 2020)."""

from functools import partial

from sensorium.encoders._speech_transformer import Speech, Waveform

LICENCE = "Apache 2.0"  # of the usual weights
USUAL_MODEL = "facebook/wav2vec2-base"
USUAL_WIDTH = 768
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
Wav2vec2 = partial(Speech, "wav2vec2", partial(Waveform, "Wav2Vec2Model"), USUAL_MODEL)
