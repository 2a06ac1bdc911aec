"""Targets: the (query, relevant) pairs whose ranks are computed, each with its score as threshold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sensorium.scores import int8


@dataclass(frozen=True)
class Targets:
    """b queries q (b, d) of given length (b,), and r thresholds, those of query i at offsets[i]:offsets[i + 1].

    narrowed: the queries as int8 codes, where somebody will multiply these.
    """

    q: np.ndarray
    length: np.ndarray
    offsets: np.ndarray
    score: np.ndarray
    narrowed: int8.QuantizedQueries | None = None

    def __len__(self) -> int:
        return len(self.score)

    @cached_property
    def row(self) -> np.ndarray:
        """The query of each target, (r,)."""
        return np.repeat(np.arange(len(self.q)), np.diff(self.offsets))

    @cached_property
    def slot(self) -> np.ndarray:
        """Which of its query's targets each is, (r,)."""
        return np.arange(len(self.score)) - self.offsets[self.row]

    def take(self, mask: np.ndarray) -> Targets:
        """The targets under a mask (r,), and only the queries that still have any."""
        if mask.all():
            return self
        counts = np.bincount(self.row[mask], minlength=len(self.q))
        chosen = np.flatnonzero(counts)
        offsets = np.concatenate([[0], np.cumsum(counts[chosen])])
        if len(chosen) == len(self.q):
            return Targets(self.q, self.length, offsets, self.score[mask], self.narrowed)
        narrowed = self.narrowed and self.narrowed.take(chosen)
        return Targets(self.q[chosen], self.length[chosen], offsets, self.score[mask], narrowed)

    def padded(self, filler: float) -> np.ndarray:
        """Thresholds as (b, s), s being the most any query has, the rest filled up."""
        out = np.full((len(self.q), int(np.diff(self.offsets).max(initial=1))), filler, np.float32)
        out[self.row, self.slot] = self.score
        return out
