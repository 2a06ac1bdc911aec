"""``model.pth``: the document's LSTM as a state dict, read without executing a pickle and written back."""

from __future__ import annotations

import io as buffers
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium import formats, io, parts
from sensorium.errors import BadData, BadRecipe, SensoriumError
from sensorium.formats import pt

_WRAPPED = ("model_state_dict", "state_dict", "model")


#: How the frames that a file was trained on had been normalised; what ``normalization=`` takes beside a file's name.
NORMALIZATIONS = {
    "none": "raw frames, as a file that was exported here takes them",
    "utterance": "each recording by its own mean and deviation; cannot stream",
    "running": "by the mean and deviation of the frames so far, the stream's stand-in for utterance",
    "training": "by the mean and deviation of the training recordings below data.root",
}
CMVN = ("none", "utterance", "running")
_NOTE = "sensorium_features"


def read(path: Path | str, preprocess: str = "none") -> Any:
    """A state dict ``lstm.weight_ih_l0`` … ``fc.bias``, bare or inside a checkpoint, as our lstm head.

    Sizes are read off the tensors. preprocess: what the head does to frames before the file's weights see
    them; its statistics are neutral until :func:`normalise` sets them.
    Raises BadData when it is no such file, holds NaN or infinity, or would need code to be executed.
    """
    tensors = _tensors(Path(path))
    weights = {key.removeprefix("module."): pt.dense(value, f"{path}:{key}").float() for key, value in tensors.items()}
    for key in ("lstm.weight_ih_l0", "lstm.weight_hh_l0", "fc.weight"):
        if key not in weights or weights[key].ndim != 2:
            raise BadData(
                f"{path} has no matrix '{key}', but {', '.join(sorted(weights)[:3])} …; expected an EmotionLSTM"
            )
    for key, value in weights.items():
        if not value.isfinite().all():
            raise BadData(f"{path}: '{key}' holds NaN or infinity; its training diverged: take an earlier checkpoint")
    depth = sum(key.startswith("lstm.weight_ih_l") and not key.endswith("_reverse") for key in weights)
    hidden, dim_in = weights["lstm.weight_hh_l0"].shape[1], weights["lstm.weight_ih_l0"].shape[1]
    spec = {
        "name": "lstm",
        "hidden": hidden,
        "depth": depth,
        "dim": len(weights["fc.weight"]),
        "preprocess": preprocess,
    }
    head = parts.make("heads", spec)
    head.build(dim_in)
    neutral = {f"preprocess.{key}": value for key, value in head.preprocess.state_dict().items()}
    try:
        head.load_state_dict({**neutral, **weights})
    except RuntimeError as error:
        raise BadData(f"{path} is not the document's LSTM: {str(error).splitlines()[-1].strip()}") from None
    return head.eval()


def stated_features(path: Path | str) -> dict[str, Any] | None:
    """The ``mfcc`` arguments that a file exported here states its frames come from; None where it states nothing."""
    about = getattr(_tensors(Path(path)), "_metadata", None)
    own = about.get("") if isinstance(about, dict) else None
    text = own.get(_NOTE) if isinstance(own, dict) else None
    try:
        features = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return features if isinstance(features, dict) and features.get("cmvn") in CMVN else None


def statistics(path: Path) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (d,) of a ``.npz`` or ``.json`` file with ``mean`` and ``std``.

    Raises BadData when there is no such file or the numbers are no statistics.
    """
    try:
        values = formats.read(path) if path.suffix == ".npz" else json.loads(path.read_text("utf-8"))
        mean, std = (torch.from_numpy(np.array(values[key], np.float32)) for key in ("mean", "std"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SensoriumError) as error:
        raise BadData(
            f"{path} holds no input statistics ({type(error).__name__}: {error}); expected .npz or .json with the "
            "numbers mean and std, one a coefficient"
        ) from None
    if mean.ndim != 1 or mean.shape != std.shape or not mean.isfinite().all() or not (std > 0).all():
        raise BadData(f"{path}: mean and std of shapes {tuple(mean.shape)} and {tuple(std.shape)}; expected as many "
                      "finite numbers of each, std above 0")  # fmt: skip
    return mean, std


def normalise(head: Any, mean: Tensor, std: Tensor) -> None:
    """Set the statistics (d,) of a head read with preprocess "standardize". Raises BadData for another width."""
    if len(mean) != head.dim_in:
        raise BadData(f"statistics of {len(mean)} numbers do not fit the head, which takes frames of {head.dim_in}")
    head.preprocess.mean.copy_(mean)
    head.preprocess.scale.copy_(1.0 / std)


def _tensors(path: Path) -> Any:
    """The state dict that a file holds, by itself or in a checkpoint."""
    if not path.is_file():
        raise BadData(f"no file {path}; expected a state dict of the document's LSTM")
    found = pt.load(path)
    found = next(
        (found[key] for key in _WRAPPED if isinstance(found, dict) and isinstance(found.get(key), dict)), found
    )
    plain = isinstance(found, dict) and all(isinstance(key, str) for key in found)
    if not plain or not all(isinstance(value, Tensor) for value in found.values()):
        raise BadData(f"{path} holds no state dict; expected lstm.weight_ih_l0 … fc.bias")
    return found


def write(head: Any, path: Path | str, features: Mapping[str, Any] | None = None) -> None:
    """An lstm head as the document's ``model.pth``: a bare state dict that its own code loads.

    The input statistics are folded into the first layer, so the file takes raw frames:
    W (x - m) s + b = (W s) x + (b - W s m). features: arguments of the encoder that makes these frames,
    which the file's metadata state, where other programs do not look.
    Raises BadRecipe for other heads or inputs that cannot be folded.
    """
    state = head.state_dict()
    folds = head.arguments.get("preprocess") in ("none", "center", "standardize")
    if "lstm.weight_ih_l0" not in state or not folds or head.normalize:
        raise BadRecipe(
            "model.pth holds an lstm head with preprocess none, center or standardize and normalize off, not "
            f"{type(head).__name__} with {head.arguments}; type: sensorium export onnx RUN --out head.onnx"
        )
    weights = OrderedDict(
        (key, value.detach().clone()) for key, value in state.items() if not key.startswith("preprocess.")
    )
    weights._metadata = OrderedDict(
        {"": {"version": 1, _NOTE: json.dumps({"cmvn": "none", **(features or {})})}}
    )  # where torch keeps versions of modules
    if "preprocess.mean" in state:
        scale = state.get("preprocess.scale", torch.ones_like(state["preprocess.mean"])).double()
        folded = weights["lstm.weight_ih_l0"].double() * scale
        bias = weights["lstm.bias_ih_l0"].double() - folded @ state["preprocess.mean"].double()
        weights |= {"lstm.weight_ih_l0": folded.float(), "lstm.bias_ih_l0": bias.float()}
    content = buffers.BytesIO()
    torch.save(weights, content)
    io.write(Path(path), content.getvalue())
