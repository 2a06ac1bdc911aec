"""LoRA (Hu et al. 2021) by the library peft: adapters of low rank beside linear layers; merged into them in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.encoders import _torchvision
from sensorium.errors import BadRecipe
from sensorium.fitting.finetune_options import ALL, FinetuneOptions

_ADAPTER = "default"


def targets(network: nn.Module, within: Iterable[str], names: str) -> list[str]:
    """Names of the linear layers that get an adapter: those below the modules ``within`` that ``names`` asks for.

    Raises BadRecipe, naming the layers that are there, when none is.
    """
    prefixes = tuple(f"{name}." if name else "" for name in within)
    linear = [name for name, module in network.named_modules()
              if type(module) is nn.Linear and name.startswith(prefixes)]  # fmt: skip
    asked = [one.strip() for one in names.split(",")]
    found = linear if names == ALL else [name for name in linear if any(f".{name}".endswith(f".{a}") for a in asked)]
    if not found:
        there = sorted({name.rpartition(".")[2] for name in linear})
        raise BadRecipe(f"finetune.lora_targets={names}: no linear layer of this name in the trained blocks; there are "
                        f"{', '.join(there) or 'none'}")  # fmt: skip
    return found


def inject(network: nn.Module, layers: list[str], options: FinetuneOptions) -> dict[str, nn.Parameter]:
    """Put an adapter beside each of these layers, in place; returns the adapters' parameters by name.

    All other parameters are frozen. Raises MissingExtra without peft.
    """
    peft = _torchvision.library("peft", "lora")
    alpha = options.lora_alpha or 2 * options.lora
    config = peft.LoraConfig(r=options.lora, lora_alpha=alpha, lora_dropout=options.lora_dropout, target_modules=layers)
    peft.inject_adapter_in_model(config, network, _ADAPTER)
    network.requires_grad_(False)
    found = {name: p for name, p in network.named_parameters() if ".lora_A." in name or ".lora_B." in name}
    for parameter in found.values():
        parameter.requires_grad_(True)
    return found


@torch.no_grad()
def merged(network: nn.Module, trained: Iterable[str]) -> Mapping[str, Tensor]:
    """Weight + adapter of every layer of these trained parameters, by the weight's name without adapters; copies."""
    from peft.tuners.lora import LoraLayer

    found: dict[str, Tensor] = {}
    layers = {name.partition(".lora_")[0] for name in trained}
    for name, module in network.named_modules():
        if name in layers and isinstance(module, LoraLayer):
            base: Any = module.get_base_layer()
            found[f"{name}.weight"] = (base.weight + module.get_delta_weight(_ADAPTER)).detach().cpu().clone()
    return found
