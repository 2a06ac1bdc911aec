"""Heads of two linear layers, as other projects' checkpoints hold them: made ours, and written for raw inputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sensorium import parts
from sensorium.errors import BadData
from sensorium.formats import pt

#: (weight (d_out, d_in), bias (d_out,)) of a linear layer.
Layer = tuple[Tensor, Tensor]


def read(state: Mapping[Any, Any], path: Path, example: str) -> tuple[Layer, Layer]:
    """The two linear layers of a state dict in the order of their names, whatever stands before ``0.weight``.

    example: names that are expected, for messages. Raises BadData as :func:`linear_layers` does, and for another number
    of layers.
    """
    found = linear_layers(state, path)
    if len(found) != 2:
        raise BadData(f"{path} holds {len(found)} linear layers ({', '.join(map(str, state))}); expected two, such as "
                      f"{example}")  # fmt: skip
    return found[0], found[1]


def linear_layers(state: Mapping[Any, Any], path: Path) -> list[Layer]:
    """All linear layers of a state dict in the order of their names; a missing bias is zeros.

    Raises BadData for biases of another width, NaN or infinity.
    """
    names = sorted((key for key, value in state.items() if key.endswith("weight") and value.ndim == 2), key=natural)
    found = []
    for name in names:
        bias = state.get(name.removesuffix("weight") + "bias")
        weight = pt.dense(state[name], f"{path}:{name}").float()
        made = torch.zeros(len(weight)) if bias is None else pt.dense(bias, f"{path}:{name}").float()
        if made.shape != (len(weight),):
            raise BadData(f"{path}: the bias of '{name}' has shape {tuple(made.shape)}; expected ({len(weight)},)")
        if not (weight.isfinite().all() and made.isfinite().all()):
            raise BadData(f"{path}: '{name}' holds NaN or infinity; its training diverged: take an earlier checkpoint")
        found.append((weight, made))
    return found


def as_head(first: Layer, second: Layer, **arguments: Any) -> Any:
    """Linear-ReLU-Linear at unit length as our mlp head. arguments: further ones of the head."""
    hidden, dim_in = first[0].shape
    head = parts.make("heads", {"name": "mlp", "hidden": hidden, "depth": 1, "activation": "relu",
                                "dim": len(second[0]), **arguments})  # fmt: skip
    head.build(dim_in)
    with torch.no_grad():
        for layer, (weight, bias) in zip(head.layers, (first, second), strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return head.eval()


def folded(head: Any) -> tuple[Layer, Layer]:
    """Both layers of an mlp head, the first of the raw input: the input statistics are folded into it.

    W ((x − m) s) + b = (W s) x + (b − W s m). "unit" is left out, as it is not linear.
    """
    weight, bias = (tensor.detach().double() for tensor in (head.layers[0].weight, head.layers[0].bias))
    if head.arguments["preprocess"] in ("center", "standardize", "whiten"):
        buffers = {name: value.double() for name, value in head.preprocess.named_buffers()}
        if "scale" in buffers:
            weight = weight * buffers["scale"]
        if "matrix" in buffers:
            weight = weight @ buffers["matrix"].T
        bias = bias - weight @ buffers["mean"]
    last = head.layers[1]
    return (weight.float(), bias.float()), (last.weight.detach().clone(), last.bias.detach().clone())


def natural(name: str) -> list[Any]:
    """A key that sorts ``net.3`` before ``net.10``."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]
