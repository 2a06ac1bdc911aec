"""Vectors as int8 codes, their integer products, and what these say for certain about scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sensorium.numerics import threads
from sensorium.scores import cpu_features, quantize
from sensorium.scores.similarity import lengths
from sensorium.scores.source import Source
from sensorium.types import blocks

STRETCH = 32  # columns of a tile that are looked at together
NEVER = 1 << 30  # an integer score that vectors narrower than 66,000 cannot reach
FEW = 16  # queries up to which packed codes are faster
SEGMENT = 1 << 18  # candidates coded with one step in an index
_UNIT = 4096  # candidates whose bounds are known together; a multiple of STRETCH
_SAMPLE = 1024


@dataclass(frozen=True)
class Block:
    """n candidates as int8 codes of one step, filled up with zero codes to a multiple of STRETCH.

    longest: the greatest length of the candidates; turned_longest: once centred; residual: the
    greatest length that the codes leave out. packed: the codes once more, for a few queries.
    """

    size: int
    codes: Any
    step: float
    longest: float
    turned_longest: float
    residual: float
    packed: cpu_features.Packed | None = None


def space_of(source: Source) -> quantize.Space:
    """Where a table's vectors are narrowed: about the mean of a sample."""
    return quantize.Space(source.sample(_SAMPLE)[0].mean(axis=0))


def encode(
    c: np.ndarray, length: np.ndarray, space: quantize.Space, torch: Any, step: np.ndarray | None = None
) -> Block:
    """Candidates c (n, d) of given lengths as one block, by default of the finest step that holds them."""
    turned = space.candidates(c)
    step = quantize.step_of(np.abs(turned).max(initial=0.0)) if step is None else step
    codes, residual = quantize.int8(turned, step)
    codes = torch.from_numpy(np.pad(codes, ((0, -len(c) % STRETCH), (0, 0))))
    return Block(len(c), codes, float(step), float(length.max()), float(lengths(turned).max()), float(residual.max()))


class Segment:
    """Up to SEGMENT candidates c (n, d) coded with one step, to be scanned in pieces of any size."""

    def __init__(self, c: np.ndarray, space: quantize.Space, torch: Any) -> None:
        units = list(blocks(len(c), _UNIT))
        greatest = threads.each(lambda unit: float(np.abs(space.candidates(c[unit])).max()), units, torch)
        step = quantize.step_of(max(greatest))
        coded = threads.each(lambda unit: encode(c[unit], lengths(c[unit]), space, torch, step), units, torch)
        self.size = len(c)
        self.codes = torch.cat([block.codes for block in coded])
        self.units = [replace(block, codes=None) for block in coded]
        self._whole: Block | None = None

    def parts(self, size: int) -> Iterator[tuple[slice, Block]]:
        """(positions, block) of about ``size`` candidates each."""
        for some in blocks(len(self.units), max(1, size // _UNIT)):
            start, n = some.start * _UNIT, sum(unit.size for unit in self.units[some])
            yield slice(start, start + n), self._block(some, self.codes[start : start + n + -n % STRETCH], n)

    def whole(self, torch: Any) -> Block:
        """All candidates as one block, their codes packed for a few queries (on first use)."""
        if self._whole is None:
            block = self._block(slice(None), self.codes, self.size)
            self._whole = replace(block, packed=cpu_features.Packed(self.codes, torch))
        return self._whole

    def _block(self, some: slice, codes: Any, n: int) -> Block:
        worst = (max(getattr(u, name) for u in self.units[some]) for name in ("longest", "turned_longest", "residual"))
        return Block(n, codes, self.units[0].step, *worst)


class QuantizedQueries:
    """Queries q (b, d) narrowed once, each with a step of its own."""

    def __init__(self, q: np.ndarray, length: np.ndarray, space: quantize.Space, torch: Any) -> None:
        turned = space.queries(q)
        self.torch, self.space, self.length = torch, space, length
        self.constant = space.constant(q)
        self.turned_length = lengths(turned)
        step = quantize.step_of(np.abs(turned).max(axis=1, keepdims=True, initial=0.0))
        codes, self.residual = quantize.int8(turned, step)
        self.step, self.codes = step[:, 0].astype(np.float64), torch.from_numpy(codes)

    @classmethod
    def together(cls, q: np.ndarray, length: np.ndarray, space: quantize.Space, torch: Any) -> QuantizedQueries:
        """The same for many queries, by all threads. Not to be called in one of them."""
        parts = threads.each(lambda rows: cls(q[rows], length[rows], space, torch), blocks(len(q), _UNIT), torch)
        return parts[0]._with(lambda name: _joined([getattr(part, name) for part in parts], torch))

    def take(self, rows: np.ndarray) -> QuantizedQueries:
        """Some of the queries."""
        return self._with(lambda name: getattr(self, name)[rows])

    def _with(self, value: Callable[[str], Any]) -> QuantizedQueries:
        new = copy(self)
        for name in ("length", "constant", "turned_length", "residual", "step", "codes"):
            setattr(new, name, value(name))
        return new

    def tile(self, rows: slice, block: Block) -> Any:
        """Integer scores (b, n), int32; the filling scores -NEVER."""
        q, b = self.codes[rows], len(self.codes[rows])
        if block.packed is not None and b <= FEW:
            tile = block.packed(q)
        elif b < 4:  # one row has a fast path of its own; otherwise a few are slower than 32
            tile = self.torch.cat([self.torch._int_mm(row, block.codes.T) for row in q.split(1)])
        else:
            tile = self.torch._int_mm(self.torch.nn.functional.pad(q, (0, 0, 0, max(0, 32 - b))), block.codes.T)[:b]
        tile[:, block.size :] = -NEVER
        return tile

    def error(self, block: Block) -> np.ndarray:
        """How far integer score × steps + constant can lie from the score, (b,) float64."""
        error = quantize.bound(self.residual, self.turned_length, block.residual, block.turned_longest)
        return error + self.space.slack(self.length, block.turned_longest)

    def limits(self, threshold: np.ndarray, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of thresholds (b, s), int32: below low a score is certainly below, from high on not."""
        step = (self.step * block.step)[:, None]
        middle, error = threshold - self.constant[:, None], self.error(block)[:, None]
        low, high = np.floor((middle - error) / step), np.ceil((middle + error) / step)
        return tuple(np.clip(x, 1 - NEVER, NEVER).astype(np.int32) for x in (low, high))


def _joined(parts: Sequence[Any], torch: Any) -> Any:
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else torch.cat(list(parts))


def found(tile: Any, gate: np.ndarray, top: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and value of every score of a tile (b, n) that reaches its row's gate (b,), in that order.

    top: the tile's :func:`stretch_tops`, when at hand.
    """
    top = stretch_tops(tile) if top is None else top
    at = np.flatnonzero(top >= gate[:, None])
    row, stretch = np.divmod(at, top.shape[1])
    values = tile.numpy().reshape(-1, STRETCH)[at]
    hit, column = np.divmod(np.flatnonzero(values >= gate[row, None]), STRETCH)
    return row[hit], stretch[hit] * STRETCH + column, values[hit, column]


def stretch_tops(tile: Any) -> np.ndarray:
    """The greatest value of every STRETCH columns, (b, n / STRETCH)."""
    return tile.view(len(tile), -1, STRETCH).amax(-1).numpy()
