"""``model.pth``: the document's LSTM as a state dict, read without executing a pickle and written back."""

from __future__ import annotations

import io as buffers
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sensorium import io, parts
from sensorium.errors import BadData, BadRecipe

_WRAPPED = ("model_state_dict", "state_dict", "model")


def read(path: Path | str) -> Any:
    """A state dict ``lstm.weight_ih_l0`` … ``fc.bias``, bare or inside a checkpoint, as our lstm head.

    Sizes are read off the tensors. The head expects frames as the file's own training normalised them.
    Raises BadData when it is no such file, or would need code to be executed.
    """
    path = Path(path)
    if not path.is_file():
        raise BadData(f"no file {path}; expected a state dict of the document's LSTM")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or malicious file fails in many ways, none of which ran anything
        raise BadData(f"{path} cannot be read as tensors alone ({type(error).__name__}); save its state_dict") from None
    held = next((held[key] for key in _WRAPPED if isinstance(held, dict) and isinstance(held.get(key), dict)), held)
    if not isinstance(held, dict) or not all(isinstance(value, Tensor) for value in held.values()):
        raise BadData(f"{path} holds no state dict; expected lstm.weight_ih_l0 … fc.bias")
    weights = {key.removeprefix("module."): value.float() for key, value in held.items()}
    for key in ("lstm.weight_ih_l0", "lstm.weight_hh_l0", "fc.weight"):
        if key not in weights or weights[key].ndim != 2:
            raise BadData(
                f"{path} has no matrix '{key}', but {', '.join(sorted(weights)[:3])} …; expected an EmotionLSTM"
            )
    depth = sum(key.startswith("lstm.weight_ih_l") and not key.endswith("_reverse") for key in weights)
    hidden, dim_in = weights["lstm.weight_hh_l0"].shape[1], weights["lstm.weight_ih_l0"].shape[1]
    spec = {"name": "lstm", "hidden": hidden, "depth": depth, "dim": len(weights["fc.weight"]), "preprocess": "none"}
    head = parts.make("heads", spec)
    head.build(dim_in)
    try:
        head.load_state_dict(weights)
    except RuntimeError as error:
        raise BadData(f"{path} is not the document's LSTM: {str(error).splitlines()[-1].strip()}") from None
    return head.eval()


def write(head: Any, path: Path | str) -> None:
    """An lstm head as the document's ``model.pth``: a bare state dict that its own code loads.

    The input statistics are folded into the first layer, so the file takes raw frames:
    W (x - m) s + b = (W s) x + (b - W s m). Raises BadRecipe for other heads or whitened inputs.
    """
    held = head.state_dict()
    if "lstm.weight_ih_l0" not in held or "preprocess.matrix" in held or head.normalize:
        raise BadRecipe("model.pth holds an lstm head with preprocess none, center or standardize and normalize off")
    weights = {key: value.detach().clone() for key, value in held.items() if not key.startswith("preprocess.")}
    if "preprocess.mean" in held:
        scale = held.get("preprocess.scale", torch.ones_like(held["preprocess.mean"])).double()
        folded = weights["lstm.weight_ih_l0"].double() * scale
        bias = weights["lstm.bias_ih_l0"].double() - folded @ held["preprocess.mean"].double()
        weights |= {"lstm.weight_ih_l0": folded.float(), "lstm.bias_ih_l0": bias.float()}
    content = buffers.BytesIO()
    torch.save(weights, content)
    io.write(Path(path), content.getvalue())
