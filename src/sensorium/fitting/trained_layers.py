"""What of a network a fit trains, and the learning rate of each parameter: blocks, LoRA, layer-wise decay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sensorium.contracts import TrainableEncoder
from sensorium.errors import BadRecipe
from sensorium.fitting import lora
from sensorium.fitting.finetune_options import ALL, FinetuneOptions


@dataclass(frozen=True)
class TrainedLayers:
    """The trained parameters of a network by name, the learning rate of each, and what of the network they are.

    parameters: in the network's order. rates: by name. blocks: trained, of all. total: parameters of the network.
    adapted: linear layers that have a LoRA adapter.
    """

    parameters: Mapping[str, nn.Parameter]
    rates: Mapping[str, float]
    blocks: tuple[int, int]
    total: int
    adapted: int = 0

    @property
    def count(self) -> int:
        """Number of trained values."""
        return sum(p.numel() for p in self.parameters.values())

    def about(self) -> dict[str, Any]:
        """What is said of it, in plain values."""
        rates = sorted(set(self.rates.values()))
        found = {"trained": self.count, "parameters": self.total, "blocks": self.blocks[0], "of": self.blocks[1]}
        if rates:
            found |= {"lr": rates[-1], **({"least_lr": rates[0]} if len(rates) > 1 else {})}
        return {**found, **({"adapted": self.adapted} if self.adapted else {})}


def select(
    network: nn.Module,
    encoder: TrainableEncoder,
    probe: Callable[[], Tensor],
    options: FinetuneOptions,
    side: int = 0,
) -> TrainedLayers:
    """Leave gradients to the last blocks of a side's network and to what follows them, or to adapters within them.

    probe: the network's vector of one item, for the parameters that take part in it; others are left out. Raises
    BadRecipe for more blocks than it has, and where none of the named layers takes part in the vector.
    """
    count, total = options.blocks_of(side), sum(p.numel() for p in network.parameters())
    network.requires_grad_(False)
    if not count:
        return TrainedLayers({}, {}, (0, 0), total)
    every, chosen, layers = planned(network, encoder, options, side)
    if options.checkpointing:
        for block in chosen:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    place = _places(network, every)
    if options.lora:
        candidates = lora.inject(network, layers, options)
        place |= {name: _place_of(name, place) for name in candidates}
    else:
        named = dict(network.named_parameters())
        first = 0 if count == ALL else min(k for k, name in enumerate(named) if place[name] == len(every) - len(chosen))
        candidates = dict(list(named.items())[first:])
        for parameter in candidates.values():
            parameter.requires_grad_(True)
    with torch.enable_grad():
        vector = probe().sum()
        wanted = list(candidates.values())
        reached = (
            torch.autograd.grad(vector, wanted, allow_unused=True) if vector.requires_grad else [None] * len(wanted)
        )
    for parameter, gradient in zip(candidates.values(), reached, strict=True):
        parameter.requires_grad_(gradient is not None)
    trained = {name: parameter for name, parameter in candidates.items() if parameter.requires_grad}
    if not trained:
        raise BadRecipe(f"finetune.blocks={count}: no parameter of these blocks takes part in the vectors of "
                        f"{type(encoder).__name__}; type: finetune.blocks={ALL}")  # fmt: skip
    top, decay = options.lr_of(side), options.layer_decay
    rates = {name: top * decay ** max(0, len(every) - 1 - place[name]) for name in trained}
    adapted = {name.partition(".lora_")[0] for name in trained} if options.lora else ()
    return TrainedLayers(trained, rates, (len(chosen), len(every)), total, len(adapted))


def planned(
    network: nn.Module, encoder: TrainableEncoder, options: FinetuneOptions, side: int
) -> tuple[list[nn.Module], list[nn.Module], list[str]]:
    """All blocks of a side's network, those that are trained, and the layers that get an adapter; nothing is changed.

    Raises BadRecipe for more blocks than there are, and adapters for layers that there are not.
    """
    every, count = list(encoder.blocks(network)), options.blocks_of(side)
    chosen = every if count == ALL else list(last(every, int(count), encoder))
    if not options.lora:
        return every, chosen, []
    within = {id(block) for block in chosen}
    names = [""] if count == ALL else [name for name, module in network.named_modules() if id(module) in within]
    return every, chosen, lora.targets(network, names, options.lora_targets)


def last(every: Sequence[nn.Module], count: int, encoder: TrainableEncoder) -> Sequence[nn.Module]:
    """So many of the last blocks. Raises BadRecipe where there are fewer."""
    if count > len(every):
        raise BadRecipe(f"finetune.blocks={count}; the network of {type(encoder).__name__} has {len(every)}")
    return every[len(every) - count :]


def _places(network: nn.Module, every: Sequence[nn.Module]) -> dict[str, int]:
    """The block of each parameter, counted from 0; -1 before the first one registered, their number after it."""
    block_of = {id(p): k for k, block in enumerate(every) for p in block.parameters()}
    found, begun = {}, False
    for name, parameter in network.named_parameters():
        begun = begun or id(parameter) in block_of
        found[name] = block_of.get(id(parameter), len(every) if begun else -1)
    return found


def _place_of(adapter: str, place: Mapping[str, int]) -> int:
    """The block of an adapter's parameter: that of the weight of its layer."""
    layer = adapter.partition(".lora_")[0]
    return place[f"{layer}.weight"]
