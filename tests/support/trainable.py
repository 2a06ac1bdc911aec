"""An encoder's network as a fit uses it: items prepared and collated, layers selected, trained weights written."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from sensorium.fitting import trained_layers
from sensorium.fitting.finetune_options import FinetuneOptions


def features(network: torch.nn.Module, encoder: object, values: list) -> torch.Tensor:
    """Vectors (b, dim) with gradients."""
    return encoder.features(network, encoder.collate(network, [encoder.prepare(value) for value in values]))


def select(network: torch.nn.Module, encoder: object, value: object, blocks: int | str = 1, **more: object):
    """The layers that a fit with these options trains."""
    options = FinetuneOptions(blocks=blocks, **more)
    return trained_layers.select(network, encoder, lambda: features(network, encoder, [value]), options)


def write(parameters: dict, path: Path) -> str:
    """Trained weights as a run keeps them."""
    save_file({key: p.detach().contiguous() for key, p in parameters.items()}, path)
    return str(path)
