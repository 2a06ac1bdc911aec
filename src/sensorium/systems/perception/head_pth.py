"""The original's head: ``best_model.pth``, a state dict of fc1, ln1 and fc2; ``projection_best.pt``, with its widths.

z = W₂ tanh(LayerNorm(W₁ x + b₁)) + b₂ of the perception vector x (n, 1441) as it is: z (n, 768) is not scaled to unit
length. No pickle is executed.
"""

from __future__ import annotations

import io as buffers
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sensorium import io, parts
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import pt
from sensorium.heads.mlp import MLP
from sensorium.systems import _two_layers

EXPECTED = "fc1.weight, ln1.weight and fc2.weight"
#: Keys under which checkpoints hold the state dict, the original's own first.
_WRAPPED = ("model_state_dict", "state_dict", "model")
#: Of a file with its widths: the key, and what it must equal.
_WIDTHS = ("input_dim", "hidden_dim", "output_dim")
_FOLDED = ("none", "center", "standardize", "whiten")  # input statistics that W₁ and b₁ can take in


class Norm(NamedTuple):
    """Weight and bias (hidden,) of the LayerNorm."""

    weight: Tensor
    bias: Tensor


def read(path: Path) -> Any:
    """The head of a file, whatever stands before the names of its layers: our ``mlp`` head, outputs not normalised.

    Raises BadData for a file that is no such head, holds NaN or infinity, whose stated widths are not its own, or that
    would need code to be executed.
    """
    found = pt.load(path)
    key = next((k for k in _WRAPPED if isinstance(found, Mapping) and isinstance(found.get(k), Mapping)), None)
    state = found if key is None else found[key]
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadData(f"{path} holds no head; expected a state dict with {EXPECTED}")
    state = {str(name).removeprefix("module."): value for name, value in state.items()}
    first, second = _two_layers.read(state, path, EXPECTED)
    hidden = len(first[0])
    if second[0].shape[1] != hidden:
        raise BadData(f"{path}: layers of {tuple(first[0].shape)} and {tuple(second[0].shape)} do not follow each "
                      "other; save the checkpoint again")  # fmt: skip
    norm = _norm(state, hidden, path)
    widths = dict(zip(_WIDTHS, (first[0].shape[1], hidden, len(second[0])), strict=True))
    for name, width in widths.items() if key is not None else ():
        if found.get(name, width) != width:
            raise BadData(f"{path} says {name} {found[name]!r}, its layers have {width}; save the checkpoint again")
    return _as_head(first, norm, second)


def write(head: Any, path: Path) -> None:
    """A head as the original's file, whose class gives the same vectors for raw inputs.

    ``.pth`` is a bare state dict, ``.pt`` one with its widths. Input statistics are folded into the first layer. Where
    our head scales its outputs to unit length the file gives them at their own length, in the same direction.
    Raises BadRecipe for a head that the original has no room for.
    """
    check(head)
    (w1, b1), (w2, b2) = _two_layers.folded(head)
    norm = head.norms[0]
    state = OrderedDict({"fc1.weight": w1, "fc1.bias": b1, "ln1.weight": norm.weight, "ln1.bias": norm.bias,
                         "fc2.weight": w2, "fc2.bias": b2})  # fmt: skip
    state = OrderedDict((name, value.detach().clone().contiguous()) for name, value in state.items())
    widths = {"input_dim": int(head.dim_in), "output_dim": int(head.dim), "hidden_dim": int(head.arguments["hidden"])}
    content = buffers.BytesIO()
    torch.save({"model_state_dict": state, **widths} if path.suffix == ".pt" else state, content)
    io.write(path, content.getvalue())


def check(head: Any) -> None:
    """Raise BadRecipe, with the reason, for a head that is not Linear-LayerNorm-tanh-Linear."""
    if not isinstance(head, MLP):
        raise _refused(f"it is {type(head).__name__}")
    own = head.arguments
    for key, expected in (("depth", 1), ("layer_norm", True), ("activation", "tanh"), ("residual", False)):
        if own[key] != expected:
            raise _refused(f"it has left.head.{key}={str(own[key]).lower()}")
    if own["preprocess"] not in _FOLDED:
        raise _refused(f"it has left.head.preprocess={own['preprocess']}, which no linear layer can take in")
    if abs(float(head.norms[0].eps) - 1e-5) > 1e-9:
        raise _refused(f"its LayerNorm adds {head.norms[0].eps} to the variance, the original 1e-05")


def _refused(why: str) -> BadRecipe:
    return BadRecipe(
        f"the original's head is Linear-LayerNorm-tanh-Linear, and the left one is not: {why}; fit one: sensorium run "
        "perception-document; or type: sensorium export onnx RUN --out head.onnx"
    )


def _norm(state: Mapping[str, Tensor], hidden: int, path: Path) -> Norm:
    """The LayerNorm: the one pair of vectors that belongs to no matrix."""
    names = [name for name, value in state.items() if name.endswith("weight") and value.ndim == 1]
    if len(names) != 1:
        raise BadData(f"{path} holds {len(names)} layers of a weight (d,), such as LayerNorm; expected one: {EXPECTED}")
    name = names[0].removesuffix("weight")
    if f"{name}bias" not in state:
        raise BadData(f"{path} lacks '{name}bias'; save the checkpoint again")
    made = Norm(*(pt.dense(state[name + end], f"{path}:{name}{end}").float() for end in ("weight", "bias")))
    if any(value.shape != (hidden,) for value in made):
        raise BadData(f"{path}: '{name}weight' has shape {tuple(made.weight.shape)}; expected ({hidden},)")
    if not all(value.isfinite().all() for value in made):
        raise BadData(
            f"{path}: '{name}weight' holds NaN or infinity; its training diverged: take an earlier checkpoint"
        )
    return made


def _as_head(first: _two_layers.Layer, norm: Norm, second: _two_layers.Layer) -> Any:
    hidden, dim_in = first[0].shape
    head = parts.make("heads", {"name": "mlp", "hidden": hidden, "dim": len(second[0]), "activation": "tanh",
                                "gain": 0.5, "layer_norm": True, "preprocess": "none", "normalize": False})  # fmt: skip
    head.build(dim_in)
    with torch.no_grad():
        for layer, (weight, bias) in zip((*head.layers, *head.norms), (first, second, norm), strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return head.eval()
