"""The positives of a batch: all true pairs among its rows, none of which may be used as a negative.

:class:`BatchPositives` is made once from the training pairs and finds the cheapest exact answer:
nothing to look up when every batch is one-to-one, equal keys where every connected component
is complete (captions of a clip, pictures of a symbol, utterances of a class) or the relation is one
of classes, and the relation itself, row by row, otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.pairs import Pairs, csr
from sensorium.pairs.pairs import components_of


class Positives:
    """Positives among the b left and b right rows of one batch; row i's own positive is i.

    diagonal_only: (i, i) are the only positives. Otherwise either keys (left (b,), right (b,)),
    where (i, j) is positive when the keys are equal, or edges (rows, columns), sorted by row.
    same: edges (rows, columns) where left i and right j are one and the same item of one table:
    neither positives nor negatives.
    rows: rows (b,) of the batch in the left and the right table, for objectives that store something
    per item (its category, classes or teacher); None where the batch holds mixtures of items.
    """

    def __init__(
        self,
        b: int,
        keys: tuple[np.ndarray, np.ndarray] | None = None,
        edges: tuple[np.ndarray, np.ndarray] | None = None,
        same: tuple[np.ndarray, np.ndarray] | None = None,
        rows: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self.b, self.keys, self.edges, self.rows = b, keys, edges, rows
        self.same = same if same is not None and len(same[0]) else None
        self.diagonal_only = keys is None and edges is None

    def __len__(self) -> int:
        return self.b

    def block(self, rows: slice, device: Any = None) -> Any:
        """Mask (len(rows), b) of positives, a torch bool tensor."""
        return self._mask(rows, self.edges, device) if self.keys is None else self._equal(rows, device)

    def same_block(self, rows: slice, device: Any = None) -> Any:
        """Mask (len(rows), b) of pairs that are one item of one table, or None when there are none."""
        return None if self.same is None else self._mask(rows, self.same, device)

    def counts(self, device: Any = None) -> tuple[Any, Any]:
        """Number of positives of every left row and of every right row, both (b,) int64."""
        import torch

        if self.diagonal_only:
            both = np.ones(self.b, np.int64), np.ones(self.b, np.int64)
        elif self.keys is not None:
            n = 1 + max(int(side.max()) for side in self.keys)
            left, right = (np.bincount(side, minlength=n) for side in self.keys)
            both = right[self.keys[0]], left[self.keys[1]]
        else:
            both = tuple(np.bincount(side, minlength=self.b) for side in self.edges)
        return tuple(torch.from_numpy(side).to(device) for side in both)

    def _equal(self, rows: slice, device: Any) -> Any:
        import torch

        left, right = (torch.from_numpy(side).to(device) for side in self.keys)
        return left[rows, None] == right[None, :]

    def _mask(self, rows: slice, edges: tuple[np.ndarray, np.ndarray] | None, device: Any) -> Any:
        import torch

        start, stop, _ = rows.indices(self.b)
        mask = np.zeros((stop - start, self.b), bool)
        if edges is None:
            mask[np.arange(stop - start), np.arange(start, stop)] = True
        else:
            first, last = np.searchsorted(edges[0], (start, stop))
            mask[edges[0][first:last] - start, edges[1][first:last]] = True
        return torch.from_numpy(mask).to(device)


class BatchPositives:
    """Finds the positives within any batch of the training pairs with label 1.

    ``of(left, right)`` takes the rows (b,) of a batch's pairs and returns its :class:`Positives`.
    """

    def __init__(self, pairs: Pairs) -> None:
        related = pairs.where(label=1)
        left, right = related.left, related.right
        self.same_table = pairs.same_table
        if pairs.classes is not None:  # every class is a component, and a complete one
            self.complete = True
            self.left_key, self.right_key = pairs.classes
            return
        self.width = 1 + int(max(left.max(initial=0), right.max(initial=0)))
        if not self.same_table and _distinct(left) and _distinct(right):  # one-to-one: each pair is a component
            self.complete = True
            self.left_key, self.right_key = np.full((2, self.width), -1)
            self.left_key[left] = self.right_key[right] = np.arange(len(left))
            return
        if self.same_table:  # a relation holds both ways
            left, right = np.concatenate([left, right]), np.concatenate([right, left])
        self.edges = csr.distinct(left * self.width + right)
        left, right = self.edges // self.width, self.edges % self.width
        self.starts = np.searchsorted(left, np.arange(self.width + 1))
        self.right = right
        self.left_key, self.right_key = _component_keys(left, right, self.width)
        # A component is complete when it has as many edges as left times right members.
        count = 1 + int(self.left_key.max(initial=0))
        members = [np.bincount(key[np.unique(side)], minlength=count) for key, side in
                   ((self.left_key, left), (self.right_key, right))]  # fmt: skip
        edges = np.bincount(self.left_key[left], minlength=count)
        self.complete = not self.same_table and bool((members[0] * members[1] == edges).all())

    def of(self, left: np.ndarray, right: np.ndarray) -> Positives:
        """The positives within a batch of pairs (left[i], right[i])."""
        b, batch = len(left), (left, right)
        if self.complete:
            key = self.left_key[left]
            keys = None if _distinct(key) else (key, self.right_key[right])
            return Positives(b, keys=keys, rows=batch)
        # All positives of the batch's left rows that are among its right rows.
        order = np.argsort(right, kind="stable")
        at_right = right[order]
        rows, positive = _ranges(self.starts[left], self.starts[left + 1])
        edges = _join(rows, self.right[positive], order, at_right)
        same = _join(np.arange(b), left, order, at_right) if self.same_table else None
        return Positives(b, edges=None if len(edges[0]) == b else edges, same=same, rows=batch)


def _distinct(key: np.ndarray) -> bool:
    ordered = np.sort(key)
    return not (ordered[1:] == ordered[:-1]).any()


def _ranges(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ranges [start_i, stop_i) laid end to end: which i each element is of, and the element."""
    length = stop - start
    return np.repeat(np.arange(len(start)), length), csr.ranges(start, length)


def _join(rows: np.ndarray, items: np.ndarray, order: np.ndarray, at_right: np.ndarray) -> tuple:
    """(row, column) for every batch column that holds the item sought, sorted by row."""
    which, column = _ranges(np.searchsorted(at_right, items), np.searchsorted(at_right, items, side="right"))
    rows, columns = rows[which], order[column]
    ordered = np.lexsort((columns, rows))
    return rows[ordered], columns[ordered]


def _component_keys(left: np.ndarray, right: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Connected component of every left and every right row, as small codes; -1 for rows without pairs."""
    keys = np.full(width, -1, np.int64), np.full(width, -1, np.int64)
    component = components_of(left, right, same_table=False)
    keys[0][left], keys[1][right] = component, component
    return keys
