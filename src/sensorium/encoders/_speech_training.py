"""Speech transformers as torch modules with gradients, for fits that train them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.encoders import _trainable

_LEAST = 1e-12  # of a variance, whose root has no derivative at 0


class Modules(nn.Module):
    """The modules of a network of :mod:`sensorium.encoders._speech_transformer`, which computes with them."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.computes = network
        for name, module in network.modules().items():
            self.add_module(name, module)

    def states(self, chunks: Sequence[np.ndarray]) -> Sequence[Tensor]:
        """Hidden states (b, t, d) of every layer, on the device that the modules are on."""
        self.computes.to(next(self.parameters()).device)
        return self.computes.states(chunks)


def restore(network: Any, path: Path | str) -> None:
    """Put weights that a fit has trained into a network. Raises Corrupt where they do not fit."""
    _trainable.restore(Modules(network), path)


def vectors(encoder: Any, network: Modules, chunks: Sequence[np.ndarray], counts: Sequence[int]) -> Tensor:
    """Chunks of recordings, of which each has ``counts``, to the encoder's vectors (b, dim), with gradients."""
    states = network.states(chunks)
    chosen = list(states) if encoder.layers == "all" else [states[encoder.layer]]
    real = [network.computes.frames(len(chunk)) for chunk in chunks]
    found, at = [], 0
    for count in counts:
        frames = [torch.cat([state[k, : real[k]].float() for k in range(at, at + count)]) for state in chosen]
        pooled = []
        for x in frames:
            pooled.append(x.mean(0))
            if encoder.pooling == "mean+std":
                pooled.append(x.var(0, correction=0).clamp_min(_LEAST).sqrt())
        found.append(torch.cat(pooled))
        at += count
    return torch.stack(found)
