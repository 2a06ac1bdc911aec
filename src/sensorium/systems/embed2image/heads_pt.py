"""Projection heads of the original, ``projection_heads.pt``: both heads in, both heads out; no pickle is executed.

The file is ``{epoch, loss, config {input_type, anchor_head {…}, text_head {…}, vision_images {…}}, anchor_head,
text_head}``; earlier ones say ``audio_head`` and have no config. A head is Linear, ReLU or GELU, dropout, Linear, or
one Linear alone. Its outputs have any length there and unit length here: the original scores by cosine.
"""

from __future__ import annotations

import io as buffers
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sensorium import io, parts
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import pt
from sensorium.heads._preprocess import affine_of
from sensorium.heads.linear import Linear
from sensorium.heads.mlp import MLP
from sensorium.systems import _two_layers
from sensorium.systems._two_layers import Layer
from sensorium.systems.embed2image import vision_pt
from sensorium.systems.embed2image.refusal import refused
from sensorium.types import Affine

FILE = "projection_heads.pt"
ACTIVATIONS = ("relu", "gelu")
#: What the original assumes where a file does not say.
ACTIVATION, DROPOUT = "relu", 0.1
#: The settings of pseudo-images that every checkpoint of the original states.
IMAGES: Mapping[str, Any] = {"image_size": 128, "image_mode": "nearest", "channel_mode": "split", "clip": False,
                             "image_dir": None}  # fmt: skip
#: Words that a tensor's name has where it belongs to a head, by side.
_WORDS = {"left": ("anchor", "audio"), "right": ("text",)}
_ENCODERS = ("audio_encoder", "text_encoder")  #: of a checkpoint of fine-tuning, which hold no head
_EXPECTED = f'{{"anchor_head": state dict, "text_head": state dict}}, as the original writes {FILE}'


class Checkpoint(NamedTuple):
    """heads: by side, ours. config: as the file states it, {} where it does not.

    assumed: what the file does not say and the original's defaults stand for, in words; "" where it says all.
    """

    heads: Mapping[str, Any]
    config: Mapping[str, Any]
    epoch: int | None
    loss: float | None
    assumed: str

    @property
    def vision(self) -> bool:
        """Whether the left head takes pseudo-images."""
        return self.config.get("input_type") == "vision"


def read(path: Path, activation: str | None = None, dim_in: int | None = None, preprocess: str = "none") -> Checkpoint:
    """A checkpoint with any prefix before the names of its tensors, such as ``module.`` or ``audio_head.net.``.

    activation: "relu" or "gelu", where the file does not say. dim_in: width of the vectors of clips, which the file of
    a CNN does not say. preprocess: "unit" for vectors of an encoder, which the original scales to unit length before
    it stores them. Raises BadRecipe for another word, BadData for a file
    that holds no two such heads, heads whose layers do not follow each other or are not as the config says, NaN or
    infinity, or what would need code to be executed.
    """
    if activation is not None and activation not in ACTIVATIONS:
        raise BadRecipe(f"activation={activation}; expected relu or gelu")
    found = pt.load(path)
    if not isinstance(found, Mapping):
        raise BadData(f"{path} holds a {type(found).__name__}; expected {_EXPECTED}")
    config = found.get("config") if isinstance(found.get("config"), Mapping) else {}
    states = _states(found, path)
    made, assumed = {}, []
    for side, own in (
        ("left", config.get("anchor_head", config.get("audio_head"))),
        ("right", config.get("text_head")),
    ):
        own = own if isinstance(own, Mapping) else {}
        if any(value.ndim == 4 for value in states[side].values()):
            made[side] = vision_pt.read(states[side], own, config.get("vision_images"), path, dim_in, preprocess)
            continue
        made[side], said = _head(states[side], own, path, activation, preprocess)
        assumed += [said] if said else []
    if made["left"].dim != made["right"].dim:
        raise BadData(f"{path}: the heads give vectors of {made['left'].dim} and {made['right'].dim} numbers; they "
                      "must be of one checkpoint")  # fmt: skip
    epoch, loss = found.get("epoch"), found.get("loss")
    said = ", ".join(dict.fromkeys(assumed))
    number = float(loss) if isinstance(loss, (int, float)) else None
    return Checkpoint(made, config, epoch if isinstance(epoch, int) else None, number, said)


def write(left: Any, right: Any, path: Path, epoch: int = 0, loss: float = 0.0) -> None:
    """Two heads as a checkpoint that the original loads; input statistics are folded into the first layers.

    Heads that scale their inputs to unit length give the same vectors there for inputs of unit length.
    Raises BadRecipe, with the reason, for a head that has no such form.
    """
    made = buffers.BytesIO()
    torch.save(content(left, right, epoch, loss), made)
    io.write(path, made.getvalue())


def content(left: Any, right: Any, epoch: int = 0, loss: float = 0.0) -> dict[str, Any]:
    """What :func:`write` puts into the file."""
    vision = vision_pt.is_one(left)
    anchor, text = vision_pt.state(left) if vision else _state(left, "left"), _state(right, "right")
    config = {"input_type": "vision" if vision else "embedding", "anchor_head": anchor[1], "text_head": text[1],
              "vision_images": vision_pt.images(left) if vision else dict(IMAGES)}  # fmt: skip
    return {"epoch": int(epoch), "loss": float(loss), "config": config, "anchor_head": anchor[0], "text_head": text[0]}


def _states(found: Mapping[Any, Any], path: Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of each head by their names, whatever stands around them in the file."""
    states: dict[str, dict[str, Tensor]] = {"left": {}, "right": {}}
    for name, value in _flat({key: value for key, value in found.items() if key not in _ENCODERS}):
        words = [word.lower() for word in name.split(".")]
        for side, starts in _WORDS.items():
            if any(word.startswith(starts) for word in words):
                states[side][name] = value
                break
    for side, called in (("left", "anchor_head or audio_head"), ("right", "text_head")):
        if not states[side]:
            some = ", ".join(list(dict(_flat(found)))[:6]) or "no tensor"
            raise BadData(f"{path} holds no {called} (it holds {some}); expected {_EXPECTED}")
    return states


def _flat(found: Mapping[Any, Any], prefix: str = "") -> list[tuple[str, Tensor]]:
    """Every tensor of nested mappings with its dotted name."""
    made: list[tuple[str, Tensor]] = []
    for key, value in found.items():
        if isinstance(value, Mapping):
            made += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, Tensor):
            made.append((f"{prefix}{key}", value))
    return made


def _head(
    state: Mapping[str, Tensor], own: Mapping[str, Any], path: Path, activation: str | None, preprocess: str
) -> tuple[Any, str]:
    """Linear layers as our linear or mlp head, and what was assumed of it."""
    layers = _two_layers.linear_layers(state, path)
    used = sum(value.numel() for value in state.values() if value.is_floating_point())
    if not layers or used != sum(weight.numel() + _biases(state, len(bias)) for weight, bias in layers):
        raise BadData(f"{path}: {', '.join(list(state)[:6])} are not linear layers alone; expected a head of the "
                      "original, such as text_head.net.0.weight and text_head.net.3.weight")  # fmt: skip
    for before, after in itertools.pairwise(layers):
        if len(before[0]) != after[0].shape[1]:
            raise BadData(f"{path}: layers of {tuple(before[0].shape)} and {tuple(after[0].shape)} do not follow each "
                          f"other ({', '.join(state)}); save the checkpoint again")  # fmt: skip
    widths = [layers[0][0].shape[1], *(len(weight) for weight, _ in layers)]
    for key, size in (("in_dim", widths[0]), ("out_dim", widths[-1])):
        if own.get(key) not in (None, size):
            raise BadData(f"{path}: its config says {key} {own[key]!r}, the layers {size}; save the checkpoint again")
    if len(set(widths[1:-1])) > 1:
        raise BadData(f"{path}: hidden layers of {', '.join(map(str, widths[1:-1]))} numbers; expected one width")
    if len(layers) == 1:
        return _linear(layers[0], preprocess), ""
    said = own.get("activation")
    if said not in (None, *ACTIVATIONS):
        raise BadData(f"{path}: its config says activation {said!r}; expected relu or gelu")
    return _mlp(layers, said or activation or ACTIVATION, own.get("dropout", DROPOUT), preprocess), (
        "" if said or activation else f"activation={ACTIVATION}"
    )


def _biases(state: Mapping[str, Tensor], width: int) -> int:
    """How many numbers the bias of one layer has in the file: none where all layers lack it."""
    return width if any(name.endswith("bias") for name in state) else 0


def _linear(layer: Layer, preprocess: str) -> Any:
    head = parts.make("heads", {"name": "linear", "dim": len(layer[0]), "preprocess": preprocess})
    head.build(layer[0].shape[1])
    head.set_affine(Affine(layer[0].double().numpy().T, layer[1].double().numpy()))
    return head.eval()


def _mlp(layers: list[Layer], activation: str, dropout: float, preprocess: str) -> Any:
    head = parts.make("heads", {"name": "mlp", "hidden": len(layers[0][0]), "depth": len(layers) - 1,
                                "activation": activation, "dropout": float(dropout), "dim": len(layers[-1][0]),
                                "preprocess": preprocess})  # fmt: skip
    head.build(layers[0][0].shape[1])
    with torch.no_grad():
        for layer, (weight, bias) in zip(head.layers, layers, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return head.eval()


def _state(head: Any, side: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A head as the tensors of the original's ``ProjectionHead``, and its config."""
    if not head.normalize:
        raise refused(f"its outputs have no unit length ({side}.head.normalize=false)", side)
    config: dict[str, Any] = {"type": "projection", "in_dim": int(head.dim_in), "out_dim": int(head.dim)}
    affine = head.affine()
    if affine is None and isinstance(head, Linear):  # unit inputs: of vectors that have it, this
        affine = affine_of(head.layers[0])
    if affine is not None:
        first = _tensor(affine.weight.T), _tensor(affine.bias)
        about = {"hidden_dim": None, "activation": ACTIVATION, "dropout": 0.0}
        return {"net.0.weight": first[0], "net.0.bias": first[1]}, config | about
    if not isinstance(head, MLP):
        raise refused(f"it is {type(head).__name__}", side)
    own = head.arguments
    for key, expected in (("depth", 1), ("residual", False), ("layer_norm", False)):
        if own[key] != expected:
            raise refused(f"it has {side}.head.{key}={str(own[key]).lower()}", side)
    if own["activation"] not in ACTIVATIONS:
        raise refused(f"it has {side}.head.activation={own['activation']}", side)
    first, second = _two_layers.folded(head)
    about = {"hidden_dim": len(first[0]), "activation": own["activation"], "dropout": float(own["dropout"])}
    last = 3 if own["dropout"] > 0 else 2  # the original has no dropout layer where it is 0
    state = {"net.0.weight": first[0], "net.0.bias": first[1], f"net.{last}.weight": second[0],
             f"net.{last}.bias": second[1]}  # fmt: skip
    return {name: value.contiguous() for name, value in state.items()}, config | about


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
