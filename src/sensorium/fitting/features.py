"""Vectors as a head sees them before its statistics: see ``Head.features``; nothing else is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.contracts import Head
from sensorium.types import Embeddings, Rows


class Mapped:
    """Rows (n, w) float32 that a function of tensors makes of rows (n, d) when they are read."""

    dtype = np.dtype(np.float32)

    def __init__(self, vectors: Rows, change: Callable[[Tensor], Tensor]) -> None:
        self.vectors, self.change = vectors, change
        self.shape = (len(vectors), self._of(np.zeros((1, vectors.shape[1]), np.float32)).shape[1])

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._of(np.require(self.vectors[rows], np.float32, ["C", "W"]))

    @torch.no_grad()
    def _of(self, x: np.ndarray) -> np.ndarray:
        return self.change(torch.from_numpy(x)).numpy()


def seen(table: Embeddings, head: Head) -> Embeddings:
    """A table of what the statistics of a head are of; the table itself for most heads."""
    if head.features is None or table.offsets is not None:
        return table
    return replace(table, vectors=Mapped(table.vectors, head.features))
