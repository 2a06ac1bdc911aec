"""Categories of both sides' items as codes, for negatives of the positive's own category."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import BadRecipe, nearest
from sensorium.pairs.positives import Positives
from sensorium.types import Embeddings

Codes = tuple[np.ndarray, np.ndarray]


def category_codes(left: Embeddings, right: Embeddings, column: str) -> Codes:
    """The column as codes on both sides; where only the right has it, every left item is of one category.

    Raises BadRecipe where the right items have no such column.
    """
    if column not in right.meta:
        raise BadRecipe(f"objective.match: the right items have no column '{column}'; {nearest(column, right.meta)}")
    right_codes = np.unique(np.asarray(right.meta[column]), return_inverse=True)[1].astype(np.int64)
    if column not in left.meta:
        return np.zeros(len(left), np.int64), right_codes
    return np.unique(np.asarray(left.meta[column]), return_inverse=True)[1].astype(np.int64), right_codes


def of_batch(codes: Codes, positives: Positives, column: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Codes (b,) of the batch's left and right rows. Raises BadRecipe for mixtures of items, which have no rows."""
    if positives.rows is None:
        raise BadRecipe(f"objective.match='{column}' is undefined for mixtures of items; set train.mixup=0")
    return tuple(torch.from_numpy(c[r]).to(device) for c, r in zip(codes, positives.rows, strict=True))
