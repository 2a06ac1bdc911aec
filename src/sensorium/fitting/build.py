"""Give both heads their weights: widths from the data, input statistics from the training rows."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from sensorium.errors import BadRecipe
from sensorium.numerics.moments import InputStats
from sensorium.pairs import Pairs
from sensorium.types import Embeddings


def build(left: Embeddings, right: Embeddings, related: Pairs, left_head: Any, right_head: Any) -> None:
    """Build the heads that are not built yet; one that leaves its width open takes the other side's.

    related: the training pairs, whose rows the input statistics are of. Within one table both
    heads are the same object. Raises BadRecipe when the heads' outputs differ in width.
    """
    if left_head is right_head:
        _build(left_head, left, np.concatenate([related.left, related.right]), None)
        return
    sides = [(left_head, left, related.left), (right_head, right, related.right)]
    like = None
    for head, table, rows in sorted(sides, key=lambda side: _follows(side[0])):
        _build(head, table, rows, like)
        like = head.dim
    if left_head.dim != right_head.dim:
        raise BadRecipe(
            f"left.head gives vectors of {left_head.dim} numbers, right.head of {right_head.dim}; they must be equal: "
            f"type left.head.dim={right_head.dim} or right.head.dim={left_head.dim}"
        )


def _follows(head: Any) -> int:
    """0 for a head that knows its width, 1 for a settled one that may be asked to, 2 for one that takes any."""
    if hasattr(head, "dim_in") or head.arguments.get("dim", head.arguments.get("rank", 0)) is not None:
        return 0
    return 1 if head.settled else 2


def _build(head: Any, table: Embeddings, rows: np.ndarray, like: int | None) -> None:
    if table.offsets is not None and len(inspect.signature(head.forward).parameters) < 2:  # frames and their lengths
        raise BadRecipe(
            f"the items are sequences of frames, but the {type(head).__name__} head takes one vector an item; choose a "
            "head that takes frames (lstm, gru, tcn, statistics), or an encoder that pools"
        )
    if table.offsets is None and getattr(head, "needs_frames", False):
        raise BadRecipe(
            f"the items are one vector each, but the {type(head).__name__} head reads sequences of frames; choose "
            "another head (linear, mlp, layers), or an encoder that gives frames"
        )
    if not hasattr(head, "dim_in"):
        wanted = head.arguments.get("preprocess", "none") != "none" or "rank" in head.arguments
        stats = input_statistics(table, rows) if wanted else None
        try:
            head.build(table.dim, stats, like)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
                raise
            asked = ", ".join(f"{key}={value}" for key, value in head.arguments.items() if isinstance(value, int))
            raise BadRecipe(f"the {type(head).__name__} head with {asked} does not fit into memory") from error


def input_statistics(table: Embeddings, rows: np.ndarray) -> InputStats:
    """Statistics of some items of a table, each counted once: of their vectors, or of all their frames."""
    return InputStats.of(table.vectors, _vector_rows(table, np.unique(rows)))


def _vector_rows(table: Embeddings, items: np.ndarray) -> np.ndarray:
    """Rows of the table's vectors that belong to these items: themselves, or all their frames."""
    if table.offsets is None:
        return items
    return np.concatenate([np.arange(table.offsets[i], table.offsets[i + 1]) for i in items.tolist()])
