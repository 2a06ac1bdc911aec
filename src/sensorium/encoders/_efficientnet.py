"""EfficientNet-Lite for use alone: batch normalisation folded into the convolutions, channels last in memory.

The network is that of the package ``efficientnet-lite-pytorch`` (Tan and Le 2019; Liu 2020, "EfficientNet-Lite").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sensorium.errors import Corrupt, require


class Features(nn.Module):
    """Pixels (b, 3, h, w) uint8 to features (b, 1280): the mean over places of the last convolution.

    network: the package's, with its weights. It computes (x − 127) / 128 first, as in training.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.stem = _Layer(network._conv_stem, network._bn0, True)
        self.blocks = nn.ModuleList(map(_Block, network._blocks))
        self.head = _Layer(network._conv_head, network._bn1, True)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (b, 1280)."""
        x = (pixels.float() - 127.0) / 128.0
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        return self.head(x).float().mean((2, 3))


class _Block(nn.Module):
    """Inverted residual: wider by 1 × 1, one filter a channel, narrower by 1 × 1."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        layers = [_Layer(block._expand_conv, block._bn0, True)] if block._block_args.expand_ratio != 1 else []
        layers += [_Layer(block._depthwise_conv, block._bn1, True), _Layer(block._project_conv, block._bn2, False)]
        self.layers = nn.Sequential(*layers)
        stride = block._block_args.stride
        one = block._block_args.input_filters == block._block_args.output_filters
        self.residual = block.id_skip and one and (stride[0] if isinstance(stride, list) else stride) == 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return y.add_(x) if self.residual else y


class _Layer(nn.Module):
    """A convolution with its normalisation folded in, padded as TensorFlow does, and clipped to 0 … 6 where asked.

    Where TensorFlow pads one more after than before, the kernel gets a first row and column of zeros, so that
    padding is alike on both sides: no padded copy of the input is made.
    """

    def __init__(self, convolution: Any, normalisation: nn.Module, clip: bool) -> None:
        super().__init__()
        folded = fuse_conv_bn_eval(convolution, normalisation)
        around = folded.static_padding.padding if isinstance(folded.static_padding, nn.ZeroPad2d) else (0, 0, 0, 0)
        before, after = around[0], around[1]  # the same of rows and columns
        stride = folded.stride[0] if isinstance(folded.stride, (list, tuple)) else folded.stride
        weight = functional.pad(folded.weight.detach(), (after - before, 0, after - before, 0))
        self.clip, self.point = clip, tuple(weight.shape[2:]) == (1, 1)
        self.convolution = nn.Conv2d(
            folded.in_channels, folded.out_channels, tuple(weight.shape[2:]), stride, after, groups=folded.groups
        )
        self.convolution.load_state_dict({"weight": weight, "bias": folded.bias.detach()})
        self.convolution.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        if self.point:  # channels last, it is one product; torch would copy the input first
            weight, bias = self.convolution.weight.flatten(1), self.convolution.bias
            y = functional.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
        else:
            y = self.convolution(x)
        return y.clamp_(0.0, 6.0) if self.clip else y


def network(model: str, path: Path, extra: str) -> nn.Module:
    """The package's own network of a model ("lite0", …) with weights from a file, for evaluation.

    Raises MissingExtra without the package, Corrupt when the weights do not fit.
    """
    made = require("efficientnet_lite_pytorch", extra).EfficientNet.from_name(f"efficientnet-{model}")
    try:
        made.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    except (RuntimeError, KeyError, OSError) as error:
        raise Corrupt(f"{path} holds no weights of {model} ({error}); restore or install it again") from None
    return made.eval()
