"""HuBERT: speech as hidden states of a transformer trained on clusters of hidden units (Hsu et al. 2021)."""

from functools import partial

from sensorium.encoders._speech_transformer import Speech, Waveform

LICENCE = "Apache 2.0"  # of the usual weights
USUAL_MODEL = "facebook/hubert-base-ls960"
USUAL_WIDTH = 768
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
Hubert = partial(Speech, "hubert", partial(Waveform, "HubertModel"), USUAL_MODEL)
