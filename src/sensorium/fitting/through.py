"""A head behind the network of its encoder: items in, outputs of the head out; the network frozen, or trained too."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.contracts import Head, TrainableEncoder
from sensorium.fitting import gradcache, lora
from sensorium.fitting.finetune_options import FinetuneOptions
from sensorium.fitting.raw_items import RawBatch, RawItems
from sensorium.fitting.trained_layers import TrainedLayers, select
from sensorium.types import blocks

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_PASS = 32  # items a pass: the layers that are frozen keep nothing, so that few fill the memory


class Through(nn.Module, Head):
    """A head behind the network of its encoder: prepared items to outputs of the head.

    The network stays in evaluation mode, so that normalisations keep their statistics; its dropout layers are active in
    training where ``finetune.dropout`` says so. Raises BadRecipe, see :func:`sensorium.fitting.trained_layers.select`.
    """

    def __init__(
        self,
        network: nn.Module,
        encoder: TrainableEncoder,
        head: Any,
        options: FinetuneOptions,
        side: int,
        one: RawBatch,
    ) -> None:
        super().__init__()
        self.network, self.head, self.encoder, self.options = network, head, encoder, options
        self.layers: TrainedLayers = select(network, encoder, lambda: self.features(one), options, side)
        self.arguments, self.dim_in, self.dim = head.arguments, head.dim_in, head.dim
        self.trainable, self.normalize = head.trainable or bool(self.layers.parameters), head.normalize

    def build(self, dim_in: int, stats: Any = None, like: int | None = None) -> None:
        """The head has been built before."""

    def forward(self, x: RawBatch) -> Tensor:
        """Items (b, …) to (b, dim)."""
        return self.head(self.features(x))

    def features(self, x: RawBatch) -> Tensor:
        """Items (b, …) to the encoder's vectors (b, dim_in), each item of the batch once."""
        order, chunk = x.order(), self.options.chunk
        cached = bool(chunk) and chunk < len(order) and torch.is_grad_enabled() and self.layers.parameters
        chunks = [order[part] for part in blocks(len(order), chunk if cached else _PASS)]
        if cached:
            found = gradcache.features(lambda some: self._pass(x, some), chunks, list(self.layers.parameters.values()))
        else:
            found = torch.cat([self._pass(x, some) for some in chunks])
        at = np.empty(len(order), np.int64)
        at[order] = np.arange(len(order))
        place = at[x.place]
        if len(place) == len(found) and (place == np.arange(len(place))).all():
            return found
        return found.index_select(0, torch.from_numpy(place).to(found.device))

    def _pass(self, x: RawBatch, some: np.ndarray) -> Tensor:
        found = self.encoder.features(self.network, x.inputs(self.network, some.tolist()))
        return found if found.dtype == torch.float64 else found.float()

    @torch.inference_mode()
    def vectors(self, items: RawItems, rows: np.ndarray) -> np.ndarray:
        """The encoder's vectors of these rows as they are now, in a table (n, dim_in) of zeros."""
        found = np.zeros(items.shape, np.float32)
        device = next(self.network.parameters()).device
        for part in blocks(len(rows), _PASS):
            found[rows[part]] = self.features(items[rows[part]].to(device)).cpu().numpy()
        return found

    def train(self, mode: bool = True) -> Through:
        """Set the head's mode, and that of the network's dropout layers where they are to be active."""
        super().train(mode)
        self.network.eval()
        for module in self.network.modules() if mode and self.options.dropout else ():
            if isinstance(module, _DROPOUT):
                module.train()
        if self.options.lora_dropout and mode:
            for name, module in self.network.named_modules():
                if ".lora_dropout." in name:
                    module.train()
        return self

    def weights(self) -> dict[str, Tensor]:
        """The trained parameters of the network, adapters merged, by name; copies on the processor."""
        if self.options.lora and self.layers.parameters:
            return dict(lora.merged(self.network, self.layers.parameters))
        return {name: parameter.detach().cpu().clone() for name, parameter in self.layers.parameters.items()}
