"""Checkpoints of the original's fine-tuning, ``finetune_<mode>.pt``: both trained encoders and both heads of a run.

The file is that of :mod:`sensorium.systems.embed2image.heads_pt` with ``mode`` ("baseline", or "vision" with a CNN as
the left head), ``audio_encoder`` and ``text_encoder``, the state dicts of the networks, ``audio_arch`` and
``text_model``, what they are of.
"""

from __future__ import annotations

import io as buffers
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sensorium import io
from sensorium.encoders import _trainable
from sensorium.errors import BadRecipe
from sensorium.systems.embed2image import heads_pt

START = "finetune_"  # of a file's name
ENCODERS = {"left": ("audio_encoder", "audio_arch"), "right": ("text_encoder", "text_model")}


def write(run: Any, path: Path, epoch: int, loss: float) -> None:
    """The trained encoders of a run beside its heads. Raises BadRecipe where the fit has trained none of them."""
    encoders = {side: run.encoder(side) for side in ENCODERS}
    if not any(encoder is not None and encoder.tuned for encoder in encoders.values()):
        raise BadRecipe(f"the fit of {run.folder} has trained no encoder; type: --out {heads_pt.FILE} for its heads")
    found = heads_pt.content(run.head("left"), run.head("right"), epoch, loss)
    found["mode"] = "vision" if found["config"]["input_type"] == "vision" else "baseline"
    for side, (weights, model) in ENCODERS.items():
        encoder = encoders[side]
        if encoder is not None and encoder.trains:
            found[weights] = state(encoder)
        spec = run.recipe.values[side].get("encoder") or {}
        found[model] = str(spec.get("arch") or spec.get("model") or spec.get("name") or "")
    content = buffers.BytesIO()
    torch.save(found, content)
    io.write(path, content.getvalue())


def state(encoder: Any) -> dict[str, Tensor]:
    """The tensors of an encoder's network by name, with the weights that a fit has trained."""
    network = encoder.load()
    if encoder.tuned:
        _trainable.restore(network, encoder.tuned)
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
