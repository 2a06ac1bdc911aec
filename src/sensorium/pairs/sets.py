"""Sets of items of one table that belong together, such as outfits; and questions about the one that is missing.

A set with one item left out is a *completion*: a context, and the target that completes it. Training examples,
retrieval queries and leave-one-out scores are all completions (:meth:`ItemSets.completions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Self

import numpy as np

from sensorium.errors import BadData
from sensorium.pairs import csr
from sensorium.pairs.csr import Ragged
from sensorium.pairs.pairs import Pairs, _split_words


class Completions(NamedTuple):
    """c contexts, and what completes each.

    context: rows of the items that are there. target (c,): row of the item left out. of (c,): place of its set.
    """

    context: Ragged
    target: np.ndarray
    of: np.ndarray

    def take(self, which: np.ndarray) -> Completions:
        """The completions at positions ``which``."""
        return Completions(self.context.take(which), self.target[which], self.of[which])


class _Split:
    """What sets and questions share: a split and a group for each."""

    split: np.ndarray
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.split)

    def take(self, which: np.ndarray) -> Self:
        """Those at positions ``which``."""
        taken = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.take(which) if isinstance(v, Ragged) else v[which] for k, v in taken.items()})


@dataclass(frozen=True)
class ItemSets(_Split):
    """o sets of rows of one table.

    items: the rows of each. label: (o,) int8, 1 where the items belong together, 0 where they were put together at
    random. group: (o,) codes, those of ``Pairs.group``: sets of one group never stand in two splits.
    split: (o,) "train", "validation", "test", or "" where not assigned yet. ids: (o,) text.
    """

    items: Ragged
    label: np.ndarray
    group: np.ndarray
    split: np.ndarray
    ids: np.ndarray

    @classmethod
    def of(
        cls,
        sets: Sequence[Sequence[int] | np.ndarray],
        label: np.ndarray | None = None,
        group: np.ndarray | None = None,
        split: np.ndarray | None = None,
        ids: np.ndarray | None = None,
    ) -> ItemSets:
        """Sets from lists of rows; label defaults to 1, group to a group of its own, ids to the position.

        Raises BadData on unequal lengths, a set without items or with one item twice, labels other than 0 and 1.
        """
        o = len(sets)
        items = ragged(sets)
        if (items.counts == 0).any():
            raise BadData(f"{np.count_nonzero(items.counts == 0)} of {o} sets have no items; leave them out")
        owner = np.repeat(np.arange(o), items.counts)
        if len(np.unique(np.stack([owner, items.values], 1), axis=0)) != len(owner):
            raise BadData("a set names one item twice; an item belongs to a set once")
        made = cls(
            items,
            np.ones(o, np.int8) if label is None else np.asarray(label, np.int8),
            np.arange(o) if group is None else np.asarray(group, np.int64),
            np.full(o, "", "<U10") if split is None else _split_words(split),
            np.arange(o).astype(np.str_) if ids is None else np.asarray(ids).astype(np.str_),
        )
        if not np.isin(made.label, (0, 1)).all():
            raise BadData("labels of sets must be 1 (belong together) or 0 (put together at random)")
        for name, column in (("label", label), ("group", group), ("split", split), ("ids", ids)):
            if column is not None and len(column) != o:
                raise BadData(f"sets: {len(column)} values in '{name}' for {o} sets")
        return made

    def where(self, split: str | None = None, label: int | None = None, least: int = 1) -> ItemSets:
        """The sets of one split and/or one label, of ``least`` items at least."""
        keep = self.items.counts >= least
        if split is not None:
            keep &= self.split == split
        if label is not None:
            keep &= self.label == label
        return self.take(np.flatnonzero(keep))

    def completions(self) -> Completions:
        """Every item of every set of two items or more as the target of the others, in order of the sets' items."""
        which = np.flatnonzero(self.items.counts > 1)
        items = self.items.take(which)
        owner = np.repeat(np.arange(len(which)), items.counts)  # of each target
        counts = items.counts[owner]
        place = csr.rows_of(items.offsets, owner)  # of each member of the target's set
        others = place != np.repeat(np.arange(len(owner)), counts)
        return Completions(Ragged(csr.offsets_of(counts - 1), items.values[place[others]]), items.values, which[owner])


@dataclass(frozen=True)
class Questions(_Split):
    """q fill-in-the-blank questions.

    context: rows of the items that are there. answers: (q, a) rows to choose from, of which the one in column
    ``correct`` (q,) is right. split: (q,). group: (q,) codes, the unit of the bootstrap.
    """

    context: Ragged
    answers: np.ndarray
    correct: np.ndarray
    split: np.ndarray
    group: np.ndarray

    def where(self, split: str) -> Questions:
        """The questions of one split."""
        return self.take(np.flatnonzero(self.split == split))


def ragged(lists: Sequence[Sequence[int] | np.ndarray]) -> Ragged:
    """Lists of rows, laid end to end."""
    values = np.concatenate([np.asarray(one, np.int64) for one in lists]) if len(lists) else np.zeros(0, np.int64)
    return Ragged(csr.offsets_of(np.array([len(one) for one in lists], np.int64)), values)


def sets_of(pairs: Pairs) -> ItemSets | None:
    """The sets of a relation; where it has none, its pairs within one table as sets of two. None for two tables."""
    if pairs.sets is not None or not pairs.same_table:
        return pairs.sets
    p = len(pairs)
    items = Ragged(2 * np.arange(p + 1), np.stack([pairs.left, pairs.right], 1).reshape(-1))
    return ItemSets(items, pairs.label, pairs.group, pairs.split, np.arange(p).astype(np.str_))
