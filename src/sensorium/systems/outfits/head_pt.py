"""Head checkpoints of the original fashion project, ``{"head", "in_dim", "out_dim"}``; no pickle is executed."""

from __future__ import annotations

import io as buffers
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sensorium import io, parts
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import pt
from sensorium.heads.mlp import MLP

_DROPOUT = 0.1


def read(path: Path, preprocess: str = "none") -> Any:
    """A checkpoint as our mlp head: Linear-ReLU-Dropout-Linear, outputs of unit length.

    The two linear layers are found in the order of their names, whatever stands before ``0.weight`` and ``3.weight``;
    ``{"head": …}`` around them may be missing. preprocess: "unit" where the inputs are not of unit length yet.
    Raises BadData for a file that is no such head, holds NaN or infinity, or would need code to be executed.
    """
    found = pt.load(path)
    whole = isinstance(found, Mapping) and isinstance(found.get("head"), Mapping)
    state = found["head"] if whole else found
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadData(f'{path} holds no head; expected {{"head": state dict, "in_dim": …, "out_dim": …}}')
    names = sorted((key for key, value in state.items() if key.endswith("weight") and value.ndim == 2), key=_natural)
    if len(names) != 2:
        raise BadData(f"{path} holds {len(names)} linear layers ({', '.join(map(str, state))}); expected two, such as "
                      "net.0.weight and net.3.weight")  # fmt: skip
    layers = []
    for name in names:
        bias = state.get(name.removesuffix("weight") + "bias")
        weight = pt.dense(state[name], f"{path}:{name}").float()
        made = torch.zeros(len(weight)) if bias is None else pt.dense(bias, f"{path}:{name}").float()
        if made.shape != (len(weight),):
            raise BadData(f"{path}: the bias of '{name}' has shape {tuple(made.shape)}; expected ({len(weight)},)")
        if not (weight.isfinite().all() and made.isfinite().all()):
            raise BadData(f"{path}: '{name}' holds NaN or infinity; its training diverged: take an earlier checkpoint")
        layers.append((weight, made))
    (first, _), (second, _) = layers
    stated = tuple(found.get(key) for key in ("in_dim", "out_dim")) if whole else (None, None)
    sizes = first.shape[1], second.shape[0]
    other = any(said is not None and said != size for said, size in zip(stated, sizes, strict=True))
    if other or first.shape[0] != second.shape[1]:
        raise BadData(f"{path}: layers of {tuple(first.shape)} and {tuple(second.shape)} do not make a head from "
                      f"in_dim {stated[0]} to out_dim {stated[1]}; save the checkpoint again")  # fmt: skip
    head = parts.make("heads", {"name": "mlp", "hidden": first.shape[0], "depth": 1, "activation": "relu",
                                "dropout": _DROPOUT, "dim": sizes[1], "preprocess": preprocess})  # fmt: skip
    head.build(sizes[0])
    with torch.no_grad():
        for layer, (weight, bias) in zip(head.layers, layers, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return head.eval()


def write(head: Any, path: Path) -> None:
    """A head as a checkpoint that the original loads: ``net.0.*`` and ``net.3.*``.

    Input statistics are folded into the first layer: W ((x − m) s) + b = (W s) x + (b − W s m). Where the head was
    fitted on vectors as the encoder gives them, the file takes those; "unit" inputs are the original's own.
    Raises BadRecipe for another head.
    """
    own = head.arguments
    plain = isinstance(head, MLP) and own["depth"] == 1 and own["activation"] == "relu" and own["normalize"]
    if not plain or own["residual"] or own["layer_norm"]:
        raise BadRecipe(
            f"the original's head is Linear-ReLU-Linear at unit length, not {type(head).__name__} with {dict(own)}; "
            "fit one: sensorium run outfits-document, or left.head=mlp left.head.depth=1 left.head.activation=relu "
            "train.members=1; or type: sensorium export onnx RUN --out head.onnx"
        )
    layers = head.layers
    weight, bias = layers[0].weight.detach().double(), layers[0].bias.detach().double()
    if own["preprocess"] in ("center", "standardize", "whiten"):
        buffers_ = {name: value.double() for name, value in head.preprocess.named_buffers()}
        if "scale" in buffers_:
            weight = weight * buffers_["scale"]
        if "matrix" in buffers_:
            weight = weight @ buffers_["matrix"].T
        bias = bias - weight @ buffers_["mean"]
    last = layers[1]
    state = {"net.0.weight": weight.float(), "net.0.bias": bias.float(),
             "net.3.weight": last.weight.detach().clone(), "net.3.bias": last.bias.detach().clone()}  # fmt: skip
    content = buffers.BytesIO()
    torch.save({"head": state, "in_dim": int(head.dim_in), "out_dim": int(head.dim)}, content)
    io.write(path, content.getvalue())


def _natural(name: str) -> list[Any]:
    """A key that sorts ``net.3`` before ``net.10``."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]
