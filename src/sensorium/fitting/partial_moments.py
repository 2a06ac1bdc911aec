"""Moments of sorted pairs, part by part: each part may be computed in another process, and all of them are added."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sensorium.numerics.moments import Moments
from sensorium.types import blocks, rows_within

BLOCK = 8192  # pairs gathered at once


class Sided(Protocol):
    """One side: its rows as the objective sees them."""

    dim: int

    def rows(self, which: np.ndarray) -> np.ndarray:
        """Rows (b, d)."""
        ...


@dataclass(frozen=True)
class Pass:
    """One pass over n pairs. It goes to other processes by pickle.

    sides: left and right. first: the side, 0 or 1, by which the pairs are sorted. rows, others (n,): of that side and
    of the other one. both_orders: within one table each pair counts in both orders. needs, products: see Moments.
    """

    sides: tuple[Any, Any]
    first: int
    rows: np.ndarray
    others: np.ndarray
    both_orders: bool
    needs: Sequence[str]
    products: str

    def __len__(self) -> int:
        return len(self.rows)

    def moments(self, start: int = 0, stop: int | None = None) -> Moments:
        """Moments of the pairs from ``start`` to ``stop``, in blocks."""
        found = Moments(self.sides[0].dim, self.sides[1].dim, self.needs, self.products)
        stop = len(self) if stop is None else stop
        for part in blocks(stop - start, rows_within(max(side.dim for side in self.sides), BLOCK)):
            self._add(found, slice(part.start + start, part.stop + start))
        return found

    def _add(self, moments: Moments, part: slice) -> None:
        rows, first = self.rows[part], self.first
        changes = rows[1:] != rows[:-1]
        owner = np.concatenate([[0], np.cumsum(changes)])
        once = self.sides[first].rows(rows[np.concatenate([[True], changes])])
        many = self.sides[1 - first].rows(self.others[part])
        for side in (first, 1 - first) if self.both_orders else (first,):
            if len(once) < len(many):
                moments.update_repeated(once, owner, many, "xy"[side])
            else:
                moments.update(*((many, once) if side else (once, many)))


_mapper: ContextVar[Callable[[Pass], Moments] | None] = ContextVar("mapper", default=None)


@contextlib.contextmanager
def by(mapper: Callable[[Pass], Moments] | None) -> Iterator[None]:
    """Let ``mapper`` compute the moments of every pass within the block, such as on several machines."""
    before = _mapper.set(mapper)
    try:
        yield
    finally:
        _mapper.reset(before)


def of(work: Pass) -> Moments:
    """The moments of a pass, by the mapper of the block around this, or in this process."""
    mapper = _mapper.get()
    return work.moments() if mapper is None else mapper(work)
