"""Speech transformers of a few thousand random weights, as their publishers would put them up."""

from pathlib import Path

import torch
import transformers

RATE = 16_000
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
        "conv_dim": (8, 8, 8), "conv_kernel": (10, 3, 3), "conv_stride": (5, 4, 4), "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2, "num_feat_extract_layers": 3, "vocab_size": 8}  # fmt: skip
CLASSES = {"wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model"), "hubert": ("HubertConfig", "HubertModel"),
           "wavlm": ("WavLMConfig", "WavLMModel"), "whisper": ("WhisperConfig", "WhisperModel")}  # fmt: skip


def save(name: str, folder: Path, **more: object) -> Path:
    """A random model of the real class, as its publisher would put it up."""
    torch.manual_seed(0)
    config, model = (getattr(transformers, one) for one in CLASSES[name])
    if name == "whisper":
        made = config(d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24, decoder_layers=1,
                      decoder_attention_heads=2, decoder_ffn_dim=24, num_mel_bins=20, max_source_positions=50,
                      vocab_size=60, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)  # fmt: skip
        transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=1).save_pretrained(folder)
    else:
        made = config(**{**TINY, **more})
        transformers.Wav2Vec2FeatureExtractor(do_normalize=name != "wavlm").save_pretrained(folder)
    model(made).eval().save_pretrained(folder)
    return folder
