"""Signed powers of vectors, sign(x) |x|^p, of arrays and of tables that are read by rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


def signed_power(x: Any, power: float) -> np.ndarray:
    """sign(x) · |x|^power of every number, float32, of any shape; with power 1 the numbers themselves.

    0.5 is the signed square root (Perronnin, Sánchez & Mensink 2010, section 3.2).
    """
    x = np.asarray(x).astype(np.float32, copy=False)
    return x if power == 1.0 else np.sign(x) * np.abs(x) ** np.float32(power)


@dataclass(frozen=True)
class Powered:
    """The signed power of a table, computed when rows are read: (n, d) float32 Rows."""

    table: Any
    power: float

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        return tuple(self.table.shape)

    @property
    def dtype(self) -> np.dtype:
        """Always float32."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, which: Any) -> np.ndarray:
        return signed_power(self.table[which], self.power)
