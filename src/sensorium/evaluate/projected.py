"""What is evaluated: both tables, their pairs, and the outputs of their heads, as one value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.contracts import Head
from sensorium.pairs import Pairs, csr
from sensorium.types import Embeddings, Rows


@dataclass(frozen=True)
class Projected:
    """Two embedded tables and what their heads made of them.

    left: n items, right: m items; the same object where both sides are one table. pairs: rows of the two.
    zl (n, d), zr (m, d): head outputs in the shared space. head: what made zl; None where only its outputs are known.
    """

    left: Embeddings
    right: Embeddings
    pairs: Pairs
    zl: Rows
    zr: Rows
    head: Head | None = None

    @classmethod
    def of(cls, zl: Rows, zr: Rows, pairs: Pairs) -> Projected:
        """Head outputs (n, d) and (m, d) alone: they stand for the tables too, with row numbers as ids."""
        left = Embeddings(np.arange(len(zl)).astype(np.str_), zl, {})
        right = left if zr is zl else Embeddings(np.arange(len(zr)).astype(np.str_), zr, {})
        return cls(left, right, pairs, zl, zr)

    def sides(self, direction: str) -> tuple[Rows, Rows]:
        """Queries and candidates of a direction, head outputs of the whole tables."""
        return (self.zl, self.zr) if direction == "left->right" else (self.zr, self.zl)

    def ids(self, direction: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids of queries and candidates of a direction, whole tables."""
        both = self.left.ids, self.right.ids
        return both if direction == "left->right" else both[::-1]

    def compose(self, context: csr.Ragged, category: np.ndarray, slot: np.ndarray) -> np.ndarray:
        """Sets of left items as queries for a missing one, (q, d) float32: see :func:`sensorium.heads.compose`.

        The same numbers, without applying the head again where the mean of its outputs is what it composes.
        """
        if self.head is None or not self.head.takes_sets:
            return csr.means(self.zl, context)
        from sensorium import heads

        return heads.compose(self.head, self.left.vectors, context, category, slot)
