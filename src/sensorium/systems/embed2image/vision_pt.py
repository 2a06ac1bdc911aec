"""The vision head of the original, a CNN on pseudo-images, as our head ``cnn`` and back.

Blocks of two convolutions without bias, each with batch normalisation and GELU, and a pool of 2 after each of the first
four; the published code has a fifth block (``tail``), its document has not. Then the mean over places, Linear, GELU,
dropout, Linear, or one Linear alone. The published code also puts random convolutions before the pictures, which no
file holds: such a head gives other vectors here, as it does there each time that it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sensorium import parts
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import pt
from sensorium.heads.cnn import CNN
from sensorium.systems import _two_layers
from sensorium.systems.embed2image.refusal import refused

POOLED = 4  # blocks that end in a pool
_NORM, _COUNT = ("weight", "bias", "running_mean", "running_var"), "num_batches_tracked"
#: Key of ``vision_images`` → key of our head. The original has no ``minmax``: it is written where it is not "image".
_KEYS = {"image_size": "size", "image_mode": "mode", "channel_mode": "channels", "clip": "clamp", "minmax": "minmax"}
_IN_DIM, _DROPOUT = 768, 0.1  # of the original, where its files do not say


def read(
    state: Mapping[str, Tensor],
    own: Mapping[str, Any],
    images: Any,
    path: Path,
    dim_in: int | None = None,
    preprocess: str = "none",
) -> Any:
    """The tensors of a vision head, whatever stands before their names, as our head.

    own: its config. images: the settings of its pseudo-images, where missing those of the original. dim_in: width of
    the vectors that the pictures are made of, which the file does not say. preprocess: of these.
    Raises BadData for tensors that do not make such a head, NaN or infinity, and settings that are none.
    """
    names = sorted(state, key=_two_layers.natural)
    convolutions = [name for name in names if state[name].ndim == 4]
    norms = [name.removesuffix("running_mean") for name in names if name.endswith("running_mean")]
    linear = _two_layers.linear_layers(state, path)
    blocks = len(convolutions) // 2
    if len(convolutions) % 2 or not blocks or len(norms) != len(convolutions) or len(linear) not in (1, 2):
        raise BadData(
            f"{path}: {len(convolutions)} convolutions, {len(norms)} batch normalisations and {len(linear)} linear "
            "layers; expected blocks of two convolutions with one normalisation each, and one or two linear layers"
        )
    tail = blocks == POOLED + 1
    spec = {"name": "cnn", "width": len(state[convolutions[0]]), "stages": blocks - tail, "tail": tail,
            "hidden": len(linear[0][0]) if len(linear) == 2 else 0, "dim": len(linear[-1][0]), "preprocess": preprocess,
            "dropout": float(own.get("dropout", _DROPOUT)), **_settings(images, path)}  # fmt: skip
    try:
        made = parts.make("heads", spec, "left.head")
    except BadRecipe as error:
        raise BadData(f"{path}: its config cannot be used ({error})") from None
    made.build(dim_in or _IN_DIM)
    values = {f"convolutions.{i}.weight": state[name] for i, name in enumerate(convolutions)}
    values |= {f"norms.{i}.{key}": _found(state, f"{name}{key}", path) for i, name in enumerate(norms) for key in _NORM}
    counts = {
        f"norms.{i}.{_COUNT}": state[f"{name}{_COUNT}"] for i, name in enumerate(norms) if f"{name}{_COUNT}" in state
    }
    for key, layer in zip(("hidden", "fc")[-len(linear) :], linear, strict=True):
        values |= {f"{key}.weight": layer[0], f"{key}.bias": layer[1]}
    for name, value in values.items():
        if not pt.dense(value, f"{path}:{name}").isfinite().all():
            raise BadData(f"{path}: its CNN holds NaN or infinity; its training diverged: take an earlier checkpoint")
    try:
        missing, _ = made.load_state_dict(values | counts, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise BadData(f"{path}: the layers of its CNN do not follow each other ({reason}); save the checkpoint "
                      "again") from None  # fmt: skip
    lacks = [name for name in missing if not name.endswith(_COUNT)]
    if lacks:
        raise BadData(f"{path}: its CNN lacks {', '.join(lacks[:3])}; save the checkpoint again")
    return made.eval()


def is_one(module: Any) -> bool:
    """Whether a head of ours is a CNN."""
    return isinstance(module, CNN)


def state(head: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Our head as the tensors of the original's ``VisionProjectionHead``, and its config.

    The published class loads those of four stages and a tail, that of the document those without a tail.
    Raises BadRecipe for a head that has no such form.
    """
    own = head.arguments
    if own["preprocess"] not in ("none", "unit"):
        raise refused(f"its pictures are made of vectors after left.head.preprocess={own['preprocess']}", "left")
    if not own["normalize"]:
        raise refused("its outputs have no unit length (left.head.normalize=false)", "left")
    if own["quantize"] or own["stages"] != POOLED:
        what = "quantize=true" if own["quantize"] else f"stages={own['stages']}"
        raise refused(f"it has left.head.{what}", "left")
    found, values = dict(head.state_dict()), {}
    for i in range(len(head.convolutions)):
        place = f"features.{i // 2 * 2}.{i % 2 * 3}"
        norm = f"features.{i // 2 * 2}.{i % 2 * 3 + 1}"
        values[f"{place}.weight"] = found[f"convolutions.{i}.weight"]
        values |= {f"{norm}.{key}": found[f"norms.{i}.{key}"] for key in (*_NORM, _COUNT)}
    last = (3 if own["dropout"] > 0 else 2) if own["hidden"] else 0
    layers = {0: "hidden", last: "fc"} if own["hidden"] else {0: "fc"}
    for place, name in layers.items():
        values |= {f"projector.{place}.{key}": found[f"{name}.{key}"] for key in ("weight", "bias")}
    config = {"type": "vision", "base_channels": own["width"], "hidden_dim": own["hidden"] or None,
              "out_dim": int(head.dim), "dropout": float(own["dropout"])}  # fmt: skip
    return {name: value.detach().clone().contiguous() for name, value in values.items()}, config


def images(head: Any) -> dict[str, Any]:
    """The settings of the pictures of our head, as the original states them."""
    said = {theirs: head.arguments[ours] for theirs, ours in _KEYS.items()}
    if said["minmax"] == "image":
        del said["minmax"]
    return {**said, "image_dir": None}


def _settings(images: Any, path: Path) -> dict[str, Any]:
    given = images if isinstance(images, Mapping) else {}
    return {ours: given[theirs] for theirs, ours in _KEYS.items() if given.get(theirs) is not None}


def _found(state: Mapping[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in state:
        raise BadData(f"{path} lacks '{name}'; save the checkpoint again")
    return torch.as_tensor(state[name])
