"""Counting by bfloat16 products: for targets that many candidates come near.

The threshold is part of the product: a query of unit length gets three more coordinates that
sum to its threshold t, every candidate gets −1 there, and the product is q·c − t, whose
bfloat16 rounding is smallest exactly where the decision is close. Two comparisons of its bits
with a constant then tell certainly above, certainly below, and the few to score again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.scores import coded, narrow
from sensorium.scores.definition import UNIT, at_least, error32, lengths
from sensorium.scores.source import Source
from sensorium.scores.targets import Targets
from sensorium.types import blocks

_ROWS, _COLUMNS = 1024, 2048
_TARGETS = 1 << 15  # narrowed at a time


def count(targets: Targets, source: Source, torch: Any) -> np.ndarray:
    """How many candidates score at least each target's score, (r,) int64."""
    space = coded.space_of(source)
    above = np.zeros(len(targets), np.int64)
    for some in blocks(len(targets), _TARGETS):
        asking = _Asking(targets, some, space, torch)
        for _, c, c_length in source.blocks(_COLUMNS):
            moved = space.candidates(c)
            c16 = torch.from_numpy(moved).bfloat16()
            c_residual = float(narrow.residual(moved, c16.float().numpy()).max())
            bits = _bits(asking.error(c_residual, float(lengths(moved).max())))
            c16 = torch.cat([c16, torch.full((len(c), 3), -1.0, dtype=torch.bfloat16)], dim=1)
            longest = float(c_length.max())
            for rows in blocks(len(asking.threshold), _ROWS):
                tile = (asking.narrow[rows] @ c16.T).view(torch.int16).numpy()
                mask = np.greater_equal(tile, bits)
                found = _row_counts(mask)
                np.bitwise_and(tile, 0x7FFF, out=tile)
                np.less(tile, bits, out=mask)
                i, j = np.divmod(_flat(mask, torch), len(c))
                if len(i):
                    error = error32(asking.length[rows], longest, source.width)[i]
                    threshold = asking.threshold[rows][i, None]
                    yes = at_least(asking.q[rows], c, i, j, threshold, np.ones((len(i), 1), bool), error, torch)
                    found += np.bincount(i[yes[:, 0]], minlength=len(found))
                above[some][rows] += found
    return above


class _Asking:
    """One row a target: queries of unit length, turned and narrowed, with their thresholds appended."""

    def __init__(self, targets: Targets, some: slice, space: narrow.Space, torch: Any) -> None:
        row = targets.row[some]
        alone = len(targets.q) == len(targets)  # one target a query: no copy
        self.q = targets.q[some] if alone else targets.q[row]
        self.length = targets.length[row]
        self.threshold = targets.score[some]
        self.space = space
        self.unit = np.maximum(self.length, 1e-30)
        turned = space.queries(self.q)
        turned /= self.unit[:, None].astype(np.float32)
        shifted = (self.threshold - space.constant(self.q)) / self.unit
        self.reach = float(np.abs(shifted).max())
        q16 = torch.from_numpy(turned).bfloat16()
        self.residual = float(narrow.residual(turned, q16.float().numpy()).max())
        parts, rest = [], torch.from_numpy(shifted)
        for _ in range(3):  # 24 bits of the threshold
            parts.append(rest.bfloat16())
            rest = rest - parts[-1].double()
        self.narrow = torch.cat([q16, torch.stack(parts, dim=1)], dim=1)

    def error(self, c_residual: float, c_longest: float) -> float:
        """How far a product can lie from (q·c − t) / ‖q‖, over all rows and these candidates."""
        error = narrow.bound(self.residual, 1.0 + 1e-4, c_residual, c_longest)
        error += float((self.space.slack(self.length, c_longest) / self.unit).max())
        # Dividing by the length, 24 bits of threshold, and float32 accumulation in any order.
        return error + 4 * (self.narrow.shape[1] + 4) * UNIT * (1.02 * c_longest + self.reach)


def _bits(error: float) -> int:
    """The bits of a bfloat16 safely above the error, as the integer that orders like it."""
    return (int(np.float32(error * (1 + 2.0**-6)).view(np.int32)) >> 16) + 1


def _flat(mask: np.ndarray, torch: Any) -> np.ndarray:
    if mask.size % 8:
        return np.flatnonzero(mask)
    words = mask.ravel().view(np.int64)
    at = torch.from_numpy(words).nonzero().view(-1).numpy()
    inside = np.flatnonzero(words[at].view(np.bool_))
    return at[inside >> 3] * 8 + (inside & 7)


def _row_counts(mask: np.ndarray) -> np.ndarray:
    """Number of true values in each row, (b,): eight bytes are added at a time where the width allows."""
    b, n = mask.shape
    if n % 1024:
        return np.count_nonzero(mask, axis=1)
    lanes = mask.view(np.uint64).reshape(b, n // 1024, 128).sum(axis=2)  # 128 ones fit into a byte
    return lanes.view(np.uint8).reshape(b, -1).sum(axis=1, dtype=np.int64)
