"""Connected components of a graph given as edges, in NumPy alone."""

from __future__ import annotations

import numpy as np


def components(n: int, a: np.ndarray, b: np.ndarray, label: np.ndarray | None = None) -> np.ndarray:
    """The smallest vertex of each vertex's connected component, (n,) int64, for edges (a[i], b[i]).

    label: components known before, as a vertex of each vertex's own component that is its own label.
    Each round hooks the roots of two joined trees to the smaller one and halves every path (Shiloach &
    Vishkin 1982), so that the number of rounds grows with the logarithm of the longest path.
    """
    label = np.arange(n) if label is None else label
    while len(a):
        at_a, at_b = label[a], label[b]
        low = np.minimum(at_a, at_b)
        new = label.copy()
        for root in (at_a, at_b):
            np.minimum.at(new, root, low)
        while True:  # every vertex points to its root before the next round
            deeper = new[new]
            if np.array_equal(deeper, new):
                break
            new = deeper
        open_edges = new[a] != new[b]
        a, b = a[open_edges], b[open_edges]
        label = new
    return label
