"""An emotion2vec of a few thousand random weights, in the folder that its publishers would put up."""

from pathlib import Path

import torch
import yaml

AUDIO = {
    "type": "AUDIO", "prenet_depth": 1, "prenet_layerdrop": 0.05, "prenet_dropout": 0.1, "start_drop_path_rate": 0.0,
    "end_drop_path_rate": 0.0, "num_extra_tokens": 3, "init_extra_token_zero": True, "mask_noise_std": 0.01,
    "mask_prob_min": None, "mask_prob": 0.5, "inverse_mask": False, "mask_prob_adjust": 0.05, "keep_masked_pct": 0.0,
    "mask_length": 5, "add_masks": False, "remove_masks": False, "mask_dropout": 0.0, "encoder_zero_mask": True,
    "mask_channel_prob": 0.0, "mask_channel_length": 64, "ema_local_encoder": False, "local_grad_mult": 1.0,
    "use_alibi_encoder": True, "alibi_scale": 1.0, "learned_alibi": False, "alibi_max_pos": None,
    "learned_alibi_scale": True, "learned_alibi_scale_per_head": True, "learned_alibi_scale_per_layer": False,
    "num_alibi_heads": 2, "model_depth": 2, "decoder": None, "extractor_mode": "layer_norm",
    "feature_encoder_spec": "[(8, 10, 5)] + [(8, 3, 2)] * 4 + [(8,2,2)] + [(8,2,2)]", "conv_pos_width": 15,
    "conv_pos_groups": 2, "conv_pos_depth": 3, "conv_pos_pre_ln": False,
}  # fmt: skip
MODEL = {
    "depth": 2, "start_drop_path_rate": 0.0, "end_drop_path_rate": 0.0, "num_heads": 2, "norm_eps": 1e-5,
    "norm_affine": True, "encoder_dropout": 0.1, "post_mlp_drop": 0.1, "attention_dropout": 0.1,
    "activation_dropout": 0.0, "dropout_input": 0.0, "layerdrop": 0.05, "embed_dim": 16, "mlp_ratio": 4.0,
    "layer_norm_first": False, "average_top_k_layers": 2, "end_of_block_targets": False, "clone_batch": 8,
    "loss_beta": 0.0, "loss_scale": None, "supported_modality": "AUDIO", "normalize": True,
    "modalities": {"audio": AUDIO},
}  # fmt: skip


def settings(folder: Path, **audio: object) -> Path:
    """The folder with its config.yaml and tokens alone. audio: other settings of the modality."""
    folder.mkdir(parents=True, exist_ok=True)
    conf = {**MODEL, "modalities": {"audio": {**AUDIO, **audio}}}
    made = {"model": "Emotion2vec", "model_conf": conf, "tokenizer": "CharTokenizer",
            "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
            "scope_map": ["d2v_model.", "none"]}  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(made))
    (folder / "tokens.txt").write_text("angry\nhappy\n<unk>\n")
    return folder


def save(folder: Path, without: str = "") -> Path:
    """The folder with random weights of FunASR's class, as a training saves them, but those of a prefix."""
    from funasr.models.emotion2vec.model import Emotion2vec

    torch.manual_seed(0)
    network = Emotion2vec(model_conf=MODEL, vocab_size=3)
    state = {f"d2v_model.{name}" if not name.startswith("proj") else name: value + 0.02 * torch.randn_like(value)
             for name, value in network.state_dict().items() if not (without and name.startswith(without))}  # fmt: skip
    torch.save({"model": state}, settings(folder) / "model.pt")
    return folder
