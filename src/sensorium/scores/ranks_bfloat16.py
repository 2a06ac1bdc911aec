"""Counting by bfloat16 products: for targets that many candidates come near.

The threshold is part of the product: a query of unit length gets three more coordinates that
sum to its threshold t, every candidate gets −1 there, and the product is q·c − t, whose
bfloat16 rounding is smallest exactly where the decision is close. Two comparisons of its bits
with a constant then tell certainly above, certainly below, and the few to score again.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from sensorium.numerics import threads
from sensorium.scores import int8, quantize
from sensorium.scores.similarity import UNIT, at_least, error32, lengths
from sensorium.scores.source import Source
from sensorium.scores.targets import Targets
from sensorium.types import blocks

_ROWS, _COLUMNS = 1024, 2048
_TARGETS = 1 << 15  # narrowed at a time


def count(targets: Targets, source: Source, torch: Any) -> np.ndarray:
    """How many candidates score at least each target's score, (r,) int64."""
    space = int8.space_of(source)
    above, adding = np.zeros(len(targets), np.int64), threading.Lock()
    for some in blocks(len(targets), _TARGETS):
        quantized = _Queries(targets, some, space, torch)

        def among(part: slice, quantized: _Queries = quantized, some: slice = some) -> None:
            here = quantized.among(*source.read(part))
            with adding:
                above[some] += here

        threads.each(among, blocks(len(source), _COLUMNS), torch)
    return above


class _Queries:
    """One row a target: queries of unit length, turned and narrowed, with their thresholds appended."""

    def __init__(self, targets: Targets, some: slice, space: quantize.Space, torch: Any) -> None:
        row = targets.row[some]
        alone = len(targets.q) == len(targets)  # one target a query: no copy
        self.q = targets.q[some] if alone else targets.q[row]
        self.length = targets.length[row]
        self.threshold = targets.score[some]
        self.torch, self.space = torch, space
        self.unit = np.maximum(self.length, 1e-30)
        turned = space.queries(self.q)
        turned /= self.unit[:, None].astype(np.float32)
        shifted = (self.threshold - space.constant(self.q)) / self.unit
        self.reach = float(np.abs(shifted).max())
        q16 = torch.from_numpy(turned).bfloat16()
        self.residual = float(quantize.residual(turned, q16.float().numpy()).max())
        parts, rest = [], torch.from_numpy(shifted)
        for _ in range(3):  # 24 bits of the threshold
            parts.append(rest.bfloat16())
            rest = rest - parts[-1].double()
        self.narrow = torch.cat([q16, torch.stack(parts, dim=1)], dim=1)

    def among(self, c: np.ndarray, c_length: np.ndarray) -> np.ndarray:
        """How many of the candidates c (n, d) score at least each threshold."""
        torch = self.torch
        moved = self.space.candidates(c)
        c16 = torch.from_numpy(moved).bfloat16()
        c_residual = float(quantize.residual(moved, c16.float().numpy()).max())
        bits = _bits(self.error(c_residual, float(lengths(moved).max())))
        c16 = torch.cat([c16, torch.full((len(c), 3), -1.0, dtype=torch.bfloat16)], dim=1)
        longest = float(c_length.max())
        found = np.empty(len(self.threshold), np.int64)
        for rows in blocks(len(found), _ROWS):
            tile = (self.narrow[rows] @ c16.T).view(torch.int16).numpy()
            mask = tile >= bits
            found[rows] = _row_counts(mask)
            np.bitwise_and(tile, 0x7FFF, out=tile)
            i, j = np.divmod(_flat(np.less(tile, bits, out=mask), torch), len(c))
            if len(i):
                error = error32(self.length[rows], longest, c.shape[1])[i]
                chosen = np.ones((len(i), 1), bool)
                yes = at_least(self.q[rows], c, i, j, self.threshold[rows][i, None], chosen, error, torch)
                found[rows] += np.bincount(i[yes[:, 0]], minlength=rows.stop - rows.start)
        return found

    def error(self, c_residual: float, c_longest: float) -> float:
        """How far a product can lie from (q·c − t) / ‖q‖, over all rows and these candidates."""
        error = quantize.bound(self.residual, 1.0 + 1e-4, c_residual, c_longest)
        error += float((self.space.slack(self.length, c_longest) / self.unit).max())
        # Dividing by the length, 24 bits of threshold, and float32 accumulation in any order.
        return error + 4 * (self.narrow.shape[1] + 4) * UNIT * (1.02 * c_longest + self.reach)


def _bits(error: float) -> int:
    """The bits of a bfloat16 safely above the error, as the integer that orders like it."""
    return (int(np.float32(error * (1 + 2.0**-6)).view(np.int32)) >> 16) + 1


def _flat(mask: np.ndarray, torch: Any) -> np.ndarray:
    """Where a mask is true, as positions in its memory: eight bytes are looked at a time."""
    if mask.size % 8:
        return np.flatnonzero(mask)
    words = mask.reshape(-1).view(np.int64)
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
