"""Emotion classifiers with random weights: a mini-XCEPTION, and an image classifier of transformers in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sensorium.modalities.face.emotions import _mini_xception

#: Outputs of the saved classifier: another order than ours, other words, and one that is left out.
LABELS = ("happy", "Surprised", "neutral", "contempt", "sad", "anger", "fear", "disgust")
OURS = (5, 7, 6, 0, 2, 4, 1)
SIDE = 32


def mini_xception() -> _mini_xception.MiniXception:
    """Random weights, and batch norms that have seen something."""
    torch.manual_seed(0)
    network = _mini_xception.MiniXception()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def folded(network: _mini_xception.MiniXception, temperature: float) -> dict[str, np.ndarray]:
    """The arrays for NumPy."""
    return _mini_xception.folded(network, temperature)


def scores(network: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    """Torch's answer for crops (n, 64, 64)."""
    with torch.no_grad():
        return network(torch.from_numpy(x)[:, None]).numpy()


def save_vit(folder: Path) -> tuple[Path, Callable[[np.ndarray], np.ndarray]]:
    """A ViT in a folder, and what it says of crops (n, 32, 32, 3) of 0..255: (n, 7) in our order."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, patch_size=8,
                       image_size=SIDE, id2label=dict(enumerate(LABELS)), label2id={n: i for i, n in enumerate(LABELS)},
                       initializer_range=0.5)  # fmt: skip
    model = ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    told = {"image_processor_type": "ViTImageProcessor", "size": {"height": SIDE, "width": SIDE}, "do_resize": True,
            "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3],
            "image_std": [0.5, 0.25, 0.2]}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(told))

    def expected(crops: np.ndarray) -> np.ndarray:
        pixels = (torch.from_numpy(crops) / 255 - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.5, 0.25, 0.2])
        with torch.no_grad():
            logits = model(pixel_values=pixels.permute(0, 3, 1, 2).float()).logits
        return logits[:, list(OURS)].softmax(1).numpy()

    return folder, expected
