"""The original's head, ``{"state_dict": {net.0.*, net.2.*}, "target_dim": r[, "pca_projection": True]}``.

As ``my_direct_model.pt``, ``my_pca_model.pt`` and ``z_head_L0.pt`` hold it; no pickle is executed. The head computes
z = W₂ relu(W₁ x + b₁) + b₂ at unit length, of the text vector as it is.
"""

from __future__ import annotations

import io as buffers
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sensorium import io
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import pt
from sensorium.heads.mlp import MLP
from sensorium.systems import _two_layers

HIDDEN = 512  # of the original's class, whatever the checkpoint


class Checkpoint(NamedTuple):
    """head: ours. pca: whether it says that its targets are principal components."""

    head: Any
    pca: bool


def read(path: Path) -> Checkpoint:
    """A checkpoint. The state dict may stand alone, and its layers may be called otherwise.

    Raises BadData for a file that is no such head, holds NaN or infinity, or would need code to be executed.
    """
    found = pt.load(path)
    whole = isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping)
    state = found["state_dict"] if whole else found
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadData(f'{path} holds no head; expected {{"state_dict": {{net.0.weight, …}}, "target_dim": …}}')
    first, second = _two_layers.read(state, path, "net.0.weight and net.2.weight")
    if len(first[0]) != second[0].shape[1]:
        raise BadData(f"{path}: layers of {tuple(first[0].shape)} and {tuple(second[0].shape)} do not follow each "
                      "other; save the checkpoint again")  # fmt: skip
    stated = found.get("target_dim", len(second[0])) if whole else len(second[0])
    if stated != len(second[0]):
        raise BadData(f"{path} says target_dim {stated!r}, its last layer gives {len(second[0])} numbers; save the "
                      "checkpoint again")  # fmt: skip
    return Checkpoint(
        _two_layers.as_head(first, second, preprocess="none"), whole and bool(found.get("pca_projection"))
    )


def write(head: Any, path: Path, pca: bool, unit_inputs: bool) -> None:
    """A head as a checkpoint that the original's class loads, which gives the same vectors.

    Input statistics are folded into the first layer, fewer hidden units than the original's are filled up with zeros,
    and a linear head A x + c takes two units for each output, relu(A x + c) − relu(−A x − c).
    pca: whether the targets are principal components. unit_inputs: whether the encoder's vectors have unit length.
    Raises BadRecipe, with the reason, for a head that has no such form.
    """
    first, second = _padded(*_form(head, unit_inputs))
    state = {"net.0.weight": first[0], "net.0.bias": first[1], "net.2.weight": second[0], "net.2.bias": second[1]}
    content = buffers.BytesIO()
    saved = {"state_dict": {name: value.contiguous() for name, value in state.items()}, "target_dim": int(head.dim)}
    torch.save({**saved, "pca_projection": True} if pca else saved, content)
    io.write(path, content.getvalue())


def _form(head: Any, unit_inputs: bool) -> tuple[_two_layers.Layer, _two_layers.Layer]:
    """The head as two layers. Raises BadRecipe with what the original's class cannot compute."""
    own = head.arguments
    if not head.normalize:
        raise refused("its outputs have no unit length (left.head.normalize=false)")
    affine = head.affine()
    if affine is not None:
        return _of_linear(torch.from_numpy(affine.weight.T.copy()), torch.from_numpy(affine.bias))
    if not isinstance(head, MLP):
        raise refused(f"it is {type(head).__name__}")
    if own["preprocess"] == "unit" and not unit_inputs:
        raise refused("it scales its inputs to unit length (left.head.preprocess=unit), which the original does not")
    for key, expected in (("depth", 1), ("activation", "relu"), ("residual", False), ("layer_norm", False)):
        if own[key] != expected:
            raise refused(f"it has left.head.{key}={str(own[key]).lower()}")
    return _two_layers.folded(head)


def _of_linear(weight: Tensor, bias: Tensor) -> tuple[_two_layers.Layer, _two_layers.Layer]:
    """A x + c as two layers, of d_out pairs of units, or of d_in pairs where these are fewer."""
    d_out, d_in = weight.shape
    if d_out <= d_in:
        one = torch.eye(d_out, dtype=weight.dtype)
        return ((torch.cat([weight, -weight]).float(), torch.cat([bias, -bias]).float()),
                (torch.cat([one, -one], 1).float(), torch.zeros(d_out)))  # fmt: skip
    one = torch.eye(d_in, dtype=weight.dtype)
    return (torch.cat([one, -one]).float(), torch.zeros(2 * d_in)), (
        torch.cat([weight, -weight], 1).float(),
        bias.float(),
    )


def _padded(first: _two_layers.Layer, second: _two_layers.Layer) -> tuple[_two_layers.Layer, _two_layers.Layer]:
    """Both layers with as many hidden units as the original has; those that are added are zero."""
    missing = HIDDEN - len(first[0])
    if missing < 0:
        raise refused(f"it needs {len(first[0])} hidden units, and the original has {HIDDEN}")
    pad = torch.nn.functional.pad
    return (pad(first[0], (0, 0, 0, missing)), pad(first[1], (0, missing))), (pad(second[0], (0, missing)), second[1])


def refused(why: str) -> BadRecipe:
    """The error of a run that the original cannot load."""
    return BadRecipe(
        f"the original's head is Linear-ReLU-Linear at unit length, and this one is not: {why}; fit one: sensorium run "
        "emorag, or emorag-pca; or type: sensorium export onnx RUN --out head.onnx"
    )
