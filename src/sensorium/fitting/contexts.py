"""Contexts as the left side of a fit: rows of items read by the batch, and the head that makes queries of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.fitting.batches import Side
from sensorium.fitting.raw_items import RawBatch
from sensorium.fitting.through import Through
from sensorium.heads import category_codes
from sensorium.numerics.moments import InputStats
from sensorium.pairs import csr
from sensorium.pairs.sets import Completions
from sensorium.types import Embeddings


@dataclass(frozen=True)
class Contexts(Embeddings):
    """c contexts over the items of one table; ``vectors`` are the items', which are never copied for all contexts.

    completions: the contexts' items and targets. category: (n,) codes of the items' categories. meta: of the targets.
    """

    completions: Completions | None = None
    category: np.ndarray | None = None

    @classmethod
    def of(cls, items: Embeddings, completions: Completions, ids: np.ndarray, head: Head) -> Contexts:
        """Contexts of a table. ids: (c,) of the sets. head: whose ``categories`` the codes count."""
        meta = {name: np.asarray(column)[completions.target] for name, column in items.meta.items()}
        kinds = codes(items, head)
        return cls(ids, items.vectors, items.fingerprint, meta, completions=completions, category=kinds)


def codes(items: Embeddings, head: Head) -> np.ndarray:
    """Codes (n,) of the items' column "category"; all -1 where there is none, or the head reads none."""
    if CATEGORY not in items.meta:
        return np.full(len(items), -1, np.int64)
    return category_codes(head, items.meta[CATEGORY])


CATEGORY = "category"  # the column that every data set of sets has


class ContextSide:
    """Inputs of :meth:`~sensorium.contracts.SetHead.compose` for some contexts, gathered from the items' side."""

    def __init__(self, contexts: Contexts, items: Side) -> None:
        self.contexts, self.items = contexts, items
        self.table = items.table  # None where items are read from disk, as of any side

    def take(
        self, rows: np.ndarray, turn: tuple[int, ...] | None = None, first: int = 0
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x (b, s, d), lengths (b,), category (b, s), slot (b,) of the contexts at these places.

        Raw items come one after the other, (m, …); turn, first: as :meth:`Side.take` has them.
        """
        completions, category = self.contexts.completions, self.contexts.category
        one = completions.context.take(rows)
        owner, member = np.repeat(np.arange(len(rows)), one.counts), csr.positions(one.counts)
        kinds = np.full((len(rows), int(one.counts.max(initial=1))), -1, np.int64)
        kinds[owner, member] = category[one.values]
        x = found = self.items.take(one.values, turn, first)
        if self.items.raw is None:
            x = found.new_zeros((*kinds.shape, found.shape[1]))
            x[torch.from_numpy(owner), torch.from_numpy(member)] = found
        others = (one.counts, kinds, category[completions.target[rows]])
        return x, *(torch.from_numpy(np.ascontiguousarray(a)).to(x.device) for a in others)


class Composer(nn.Module, Head):
    """A head as the tower of contexts: ``compose`` of a head of sets, else the mean of its outputs.

    It has no weights of its own; those of the head are trained through both towers.
    """

    takes_sets = True

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.heads = (head,)  # in a tuple, so that it is no submodule and its weights are counted once
        self.trainable = head.trainable

    @property
    def head(self) -> Any:
        """The head."""
        return self.heads[0]

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The head's."""
        return self.head.arguments

    @property
    def dim_in(self) -> int | None:
        """Width of an item's vector; None until built."""
        return self.head.dim_in

    @property
    def dim(self) -> int | None:
        """Width of the output."""
        return self.head.dim

    @property
    def needs_statistics(self) -> bool:
        """Whether ``build`` needs the statistics of the contexts' items."""
        return self.head.needs_statistics

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Build the head."""
        self.head.build(dim_in, stats, like)

    def forward(self, x: Tensor, lengths: Tensor, category: Tensor, slot: Tensor) -> Tensor:
        """Contexts as queries (b, dim); see :class:`~sensorium.contracts.SetHead`."""
        if self.head.takes_sets:
            return self.head.compose(x, lengths, category, slot)
        there = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        z = self.head(x[there])
        owner = torch.arange(len(x), device=x.device).repeat_interleave(lengths)
        return z.new_zeros(len(x), z.shape[1]).index_add(0, owner, z) / lengths[:, None].to(z.dtype)


class ThroughComposer(Composer):
    """The tower of contexts behind the encoder's network, which it shares with the tower of items."""

    def __init__(self, through: Through) -> None:
        super().__init__(through.head)
        self.through = (through,)  # in a tuple, as the head
        self.trainable = through.trainable

    def forward(self, items: RawBatch, lengths: Tensor, category: Tensor, slot: Tensor) -> Tensor:
        """The items of all contexts one after the other, (m, …), to queries (b, dim)."""
        found = self.through[0].features(items)
        there = torch.arange(category.shape[1], device=found.device) < lengths[:, None]
        x = found.new_zeros(*there.shape, found.shape[1])
        x[there] = found
        return super().forward(x, lengths, category, slot)

    def weights(self) -> dict[str, Tensor]:
        """The trained parameters of the network, by name; copies on the processor."""
        return self.through[0].weights()
