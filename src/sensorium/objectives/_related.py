"""What an item is regressed onto where it is related to all items of its label: their mean over the batch."""

from __future__ import annotations

from torch import Tensor

from sensorium.pairs.positives import Positives


def related_mean(values: Tensor, positives: Positives) -> Tensor:
    """Mean (b, d) of the rows of ``values`` (b, d) that each left row of the batch is related to."""
    mask = positives.block(slice(0, len(values)), values.device).to(values.dtype)
    return mask @ values / mask.sum(1, keepdim=True)
