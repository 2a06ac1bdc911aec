"""The heads of a run as functions: ``run.left(X)`` and ``run.right(Y)``, arrays in and arrays out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.errors import BadData
from sensorium.types import blocks
from sensorium.values import read
from sensorium.values.frames import column_of

if TYPE_CHECKING:
    from torch import nn

    from sensorium.search.run import Run


class HeadFunction:
    """One side's items into the shared space, by its encoder, where it has one, and its head.

    Called with vectors (n, d_in) as the encoder gives them, of any library, or with a list of the side's own items
    (texts, paths, pictures, sounds), it returns (n, d) float32; with one vector (d_in,) it returns (d,).
    """

    def __init__(self, run: Run, side: str) -> None:
        self._run, self.side = run, side

    @property
    def module(self) -> nn.Module:
        """The head as a ``torch.nn.Module``: tensors (n, d_in) to (n, d), gradients included; in evaluation mode."""
        return self._run.head(self.side)

    @property
    def dim_in(self) -> int:
        """Width of its input."""
        return int(self._run.head(self.side).dim_in)

    @property
    def dim(self) -> int:
        """Width of its output."""
        return int(self._run.head(self.side).dim)

    def __call__(self, values: Any) -> np.ndarray:
        """Values of this side, or vectors, in the shared space: (n, d) float32.

        Raises BadData for vectors of another width, for NaN, and for what the side's encoder does not take.
        """
        found = column_of(values, self.side)
        if isinstance(found, np.ndarray) and found.ndim == 1 and found.dtype.kind == "f":
            return self(found[None])[0]
        given = read(values, f"the {self.side} values")
        if given.form == "vectors":
            return self._run.project(self.side, given.values)
        encoder = self._run.encoder(self.side)
        if encoder is None:
            raise BadData(
                f"{given.what} are {given.form}; expected vectors (n, {self.dim_in}), as this side has no encoder"
            )
        if (given.form == "texts") != (encoder.takes == "text") and given.form != "texts":
            raise BadData(f"{given.what} are {given.form}, but the {self.side} encoder takes {encoder.takes}")
        items = [str(one) if given.form == "paths" else one for one in given.values]
        parts = [self._run.encode(self.side, items[part]) for part in blocks(len(items), max(1, int(encoder.batch)))]
        return np.concatenate(parts)

    def __repr__(self) -> str:
        return f"<head of {self.side}: {self.dim_in} -> {self.dim}>"
