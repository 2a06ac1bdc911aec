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


class RegressionHead(torch.nn.Module):
    """The head of audeering's model card: dropout, dense, tanh, dropout, out_proj."""

    def __init__(self, config):
        super().__init__()
        self.dense = torch.nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = torch.nn.Dropout(config.final_dropout)
        self.out_proj = torch.nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, features):
        x = torch.tanh(self.dense(self.dropout(features)))
        return self.out_proj(self.dropout(x))


class EmotionModel(transformers.Wav2Vec2PreTrainedModel):
    """The model of that card: the mean of the last hidden states, then the head. Arousal, dominance, valence."""

    def __init__(self, config):
        super().__init__(config)
        self.wav2vec2 = transformers.Wav2Vec2Model(config)
        self.classifier = RegressionHead(config)
        self.post_init()

    def forward(self, input_values):
        return self.classifier(self.wav2vec2(input_values)[0].mean(dim=1))


def save_dimensional(folder: Path, **more: object) -> EmotionModel:
    """A random dimensional model, as its publisher puts it up; outputs are about 0 to 1."""
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(**{**TINY, "num_labels": 3, "feat_extract_norm": "layer", "conv_bias": True,
                                            "do_stable_layer_norm": True, **more})  # fmt: skip
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    model = EmotionModel(config).eval()
    with torch.no_grad():
        model.classifier.dense.weight.mul_(20)
        model.classifier.out_proj.weight.mul_(10)
        model.classifier.out_proj.bias.copy_(torch.tensor([0.4, 0.5, 0.6]))
    model.save_pretrained(folder)
    return model


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
