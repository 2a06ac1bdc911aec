"""One small head of every kind that takes frames."""

import numpy as np
import torch

from sensorium import parts
from sensorium.numerics.moments import InputStats

SPECS = {
    "lstm": {"hidden": 16},
    "gru": {"hidden": 16},
    "statistics": {"hidden": 16, "members": 3, "depth": 2},
    "statistics and relations": {"name": "statistics", "hidden": 16, "relations": 1},
    "tcn": {"width": 12, "depth": 3},
}
D, C = 5, 8


def made(name: str, **more: object) -> torch.nn.Module:
    torch.manual_seed(0)
    head = parts.make("heads", {"name": name, **SPECS[name], **more})
    frames = np.random.default_rng(0).normal(2.0, 3.0, size=(500, D))
    head.build(D, InputStats.of(frames, np.arange(500)), C)
    head(torch.randn(64, 9, D) * 3 + 2, torch.full((64,), 9))  # running statistics of a batch, where a head keeps any
    return head.eval()
