"""The positives of a batch of completions: what may not be a negative of a context."""

from __future__ import annotations

import numpy as np

from sensorium.pairs import csr
from sensorium.pairs.csr import Ragged
from sensorium.pairs.positives import Positives, _join, _ranges
from sensorium.pairs.sets import Completions, ItemSets


class Together:
    """For every item of a table, the items that stand in one set with it, itself among them (CSR)."""

    def __init__(self, sets: ItemSets, n: int) -> None:
        items = sets.items
        counts = items.counts
        first = np.repeat(items.values, np.repeat(counts, counts))
        other = items.values[csr.rows_of(items.offsets, np.repeat(np.arange(len(counts)), counts))]
        edges = csr.distinct(first * n + other)
        self.items = csr.group(edges // n, edges % n, n)

    def of(self, context: Ragged) -> tuple[np.ndarray, np.ndarray]:
        """Each context's items, and what stands in a set with any of them: (context, item), each once."""
        owner = np.repeat(np.arange(len(context.counts)), context.counts)
        start = self.items.offsets[context.values]
        which, at = _ranges(start, self.items.offsets[context.values + 1])
        owner, items = np.concatenate([owner, owner[which]]), np.concatenate([context.values, self.items.values[at]])
        width = 1 + int(items.max(initial=0))
        pairs = csr.distinct(owner * width + items)
        return pairs // width, pairs % width


class SetPositives:
    """Finds the :class:`~sensorium.pairs.positives.Positives` of a batch of completions.

    Positive of a context is its target, wherever the batch repeats it. The context's own items, and those that stand
    in a set with any of them, are neither positives nor negatives.
    """

    def __init__(self, completions: Completions, together: Together) -> None:
        self.completions, self.together = completions, together

    def of(self, left: np.ndarray, right: np.ndarray) -> Positives:
        """The positives within a batch: left (b,), places of completions; right (b,), rows of their targets."""
        b = len(left)
        order = np.argsort(right, kind="stable")
        at_right = right[order]
        own = _join(np.arange(b), self.completions.target[left], order, at_right)
        rows, items = self.together.of(self.completions.context.take(left))
        barred = _join(rows, items, order, at_right)
        left_over = np.setdiff1d(barred[0] * b + barred[1], own[0] * b + own[1], assume_unique=True)
        edges = None if len(own[0]) == b else own
        return Positives(b, edges=edges, same=(left_over // b, left_over % b), rows=(left, right))
