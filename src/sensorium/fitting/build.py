"""Builds both heads: widths from the data, input statistics from the training rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sensorium.contracts import Head
from sensorium.errors import BadRecipe
from sensorium.fitting.contexts import Contexts
from sensorium.fitting.features import seen
from sensorium.numerics.moments import InputStats
from sensorium.pairs import Pairs, csr
from sensorium.types import Embeddings

_TOO_LARGE = ("allocate memory", "Storage size")  # in torch's messages


def build(
    left: Embeddings,
    right: Embeddings,
    related: Pairs,
    left_head: Head,
    right_head: Head,
    statistics: Callable[[Embeddings, np.ndarray], InputStats | None] | None = None,
) -> None:
    """Build the heads that are not built yet; one that leaves its width open takes the other side's.

    related: the training pairs, whose rows the input statistics are of. Within one table both
    heads are the same object. statistics: of some rows of a table, by default :func:`input_statistics`.
    Raises BadRecipe when the heads' outputs differ in width.
    """
    statistics = statistics or input_statistics
    if left_head is right_head:
        _build(left_head, left, np.concatenate([related.left, related.right]), None, statistics)
        return
    sides = [(left_head, left, related.left), (right_head, right, related.right)]
    like = None
    for head, table, rows in sorted(sides, key=lambda side: _order(side[0])):
        _build(head, table, rows, like, statistics)
        like = head.dim
    if left_head.dim != right_head.dim:
        raise BadRecipe(
            f"left.head gives vectors of {left_head.dim} numbers, right.head of {right_head.dim}; they must be equal: "
            f"type left.head.dim={right_head.dim} or right.head.dim={left_head.dim}"
        )


def _order(head: Head) -> int:
    """0 for a head with a width of its own; of those that take the other side's, 1 if not trained, 2 if trained."""
    if head.dim is not None or not head.open_width:
        return 0
    return 2 if head.trainable else 1


def _build(
    head: Head,
    table: Embeddings,
    rows: np.ndarray,
    like: int | None,
    statistics: Callable[[Embeddings, np.ndarray], InputStats | None],
) -> None:
    if table.offsets is not None and not head.takes_sequences:
        raise BadRecipe(
            f"the items are sequences of frames, but the {type(head).__name__} head takes one vector an item; choose a "
            "head that takes frames (lstm, gru, tcn, statistics), or an encoder that pools"
        )
    if table.offsets is None and not head.takes_vectors:
        raise BadRecipe(
            f"the items are one vector each, but the {type(head).__name__} head reads sequences of frames; choose "
            "another head (linear, mlp, layers), or an encoder that gives frames"
        )
    if head.dim_in is None:
        stats = statistics(seen(table, head), rows) if head.needs_statistics else None
        try:
            head.build(table.dim, stats, like)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not any(text in str(error) for text in _TOO_LARGE):
                raise
            sizes = ", ".join(f"{key}={value}" for key, value in head.arguments.items() if isinstance(value, int))
            raise BadRecipe(f"the {type(head).__name__} head with {sizes} does not fit into memory") from error


def input_statistics(table: Embeddings, rows: np.ndarray) -> InputStats:
    """Statistics of some items of a table, or of contexts' items, each counted once: of their vectors or frames."""
    if isinstance(table, Contexts):
        rows = table.completions.context.take(rows).values
    items = csr.distinct(rows)
    return InputStats.of(table.vectors, items if table.offsets is None else csr.rows_of(table.offsets, items))
