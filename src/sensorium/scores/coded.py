"""Vectors as int8 codes, their integer products, and what these say for certain about scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.scores import narrow
from sensorium.scores.definition import lengths
from sensorium.scores.source import Source

STRETCH = 32  # columns of a tile that are looked at together
NEVER = 1 << 30  # an integer score that vectors narrower than 66,000 cannot reach
_SAMPLE = 1024


@dataclass(frozen=True)
class Block:
    """n candidates as int8 codes of one step, filled up with zero codes to a multiple of STRETCH.

    longest: the greatest length of the candidates; turned_longest: once centred; residual: the
    greatest length that the codes leave out.
    """

    size: int
    codes: Any
    step: float
    longest: float
    turned_longest: float
    residual: float


def space_of(source: Source) -> narrow.Space:
    """Where a table's vectors are narrowed: about the mean of a sample."""
    return narrow.Space(source.sample(_SAMPLE)[0].mean(axis=0))


def encode(c: np.ndarray, length: np.ndarray, space: narrow.Space, torch: Any) -> Block:
    """Candidates c (n, d) of given lengths as one block."""
    turned = space.candidates(c)
    step, codes, residual = narrow.int8(turned, per_row=False)
    codes = torch.from_numpy(np.pad(codes, ((0, -len(c) % STRETCH), (0, 0))))
    return Block(len(c), codes, float(step), float(length.max()), float(lengths(turned).max()), float(residual.max()))


class Asking:
    """Queries q (b, d) narrowed once, each with a step of its own."""

    def __init__(self, q: np.ndarray, length: np.ndarray, space: narrow.Space, torch: Any) -> None:
        turned = space.queries(q)
        self.torch, self.space, self.length = torch, space, length
        self.constant = space.constant(q)
        self.turned_length = lengths(turned)
        step, codes, self.residual = narrow.int8(turned, per_row=True)
        self.step, self.codes = step.astype(np.float64), torch.from_numpy(codes)

    def tile(self, rows: slice, block: Block) -> Any:
        """Integer scores (b, n), int32; the filling scores -NEVER."""
        q = self.codes[rows]
        b = len(q)
        if 1 < b < STRETCH:  # products of a few rows are slower than of 32
            q = self.torch.nn.functional.pad(q, (0, 0, 0, STRETCH - b))
        tile = self.torch._int_mm(q, block.codes.T)[:b]
        tile[:, block.size :] = -NEVER
        return tile

    def error(self, block: Block) -> np.ndarray:
        """How far integer score × steps + constant can lie from the score, (b,) float64."""
        error = narrow.bound(self.residual, self.turned_length, block.residual, block.turned_longest)
        return error + self.space.slack(self.length, block.turned_longest)

    def limits(self, threshold: np.ndarray, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of thresholds (b, s), int32: below low a score is certainly below, from high on not."""
        step = (self.step * block.step)[:, None]
        middle, error = threshold - self.constant[:, None], self.error(block)[:, None]
        low, high = np.floor((middle - error) / step), np.ceil((middle + error) / step)
        return tuple(np.clip(x, 1 - NEVER, NEVER).astype(np.int32) for x in (low, high))


def found(tile: Any, gate: np.ndarray, torch: Any, top: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and value of every score of a tile (b, n) that reaches its row's gate (b,), in that order.

    top: the tile's :func:`stretch_tops`, when at hand.
    """
    top = stretch_tops(tile) if top is None else top
    gate = torch.from_numpy(gate)[:, None]
    at = (top >= gate).view(-1).nonzero().view(-1)
    values = tile.view(-1, STRETCH)[at]
    row = at // top.shape[1]
    hit, column = (values >= gate[row]).nonzero(as_tuple=True)
    j = (at[hit] % top.shape[1]) * STRETCH + column
    return row[hit].numpy(), j.numpy(), values[hit, column].numpy()


def stretch_tops(tile: Any) -> Any:
    """The greatest value of every STRETCH columns, (b, n / STRETCH)."""
    return tile.view(len(tile), -1, STRETCH).amax(-1)


def blocks_of(source: Source, size: int, torch: Any) -> Iterator[tuple[slice, np.ndarray, Block]]:
    """(positions, vectors, codes) of a table block by block, coded on the way."""
    space = space_of(source)
    for part, c, length in source.blocks(size):
        yield part, c, encode(c, length, space, torch)
