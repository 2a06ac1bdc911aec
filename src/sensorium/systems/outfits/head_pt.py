"""Head checkpoints of the original fashion project, ``{"head", "in_dim", "out_dim"}``; no pickle is executed."""

from __future__ import annotations

import io as buffers
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sensorium import io
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import pt
from sensorium.heads.mlp import MLP
from sensorium.systems import _two_layers

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
    first, second = _two_layers.read(state, path, "net.0.weight and net.3.weight")
    stated = tuple(found.get(key) for key in ("in_dim", "out_dim")) if whole else (None, None)
    sizes = first[0].shape[1], len(second[0])
    other = any(said is not None and said != size for said, size in zip(stated, sizes, strict=True))
    if other or len(first[0]) != second[0].shape[1]:
        raise BadData(f"{path}: layers of {tuple(first[0].shape)} and {tuple(second[0].shape)} do not make a head from "
                      f"in_dim {stated[0]} to out_dim {stated[1]}; save the checkpoint again")  # fmt: skip
    return _two_layers.as_head(first, second, dropout=_DROPOUT, preprocess=preprocess)


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
    first, second = _two_layers.folded(head)
    state = {"net.0.weight": first[0], "net.0.bias": first[1], "net.3.weight": second[0], "net.3.bias": second[1]}
    content = buffers.BytesIO()
    torch.save({"head": state, "in_dim": int(head.dim_in), "out_dim": int(head.dim)}, content)
    io.write(path, content.getvalue())
