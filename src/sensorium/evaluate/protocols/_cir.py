"""Complementary retrieval inside the category, protocol cir-3000-42: which pools, which queries, and their ranks.

As stated and implemented in github.com/Haseebasif7/cir-siglip (2026; its "Phase 12" benchmark on Polyvore Outfits):

* Pool of a category: all items of it that the split's outfits name; where these are more than 3,000, a sample of
  3,000 drawn from their ids, sorted as text. One ``random.Random(42)`` draws them all, the categories in order of
  their first appearance in the outfits.
* Query: an outfit without one of its items. Its candidates are the pool of that item's category, whatever the outfit
  holds. An item outside its pool is no target: such queries are dropped and counted. Putting it into the pool instead
  would undo the sample, as nearly every item is the target of some outfit.
* Rank of the target: one plus the other candidates that score at least as high.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sensorium import scores
from sensorium.pairs import Relevance, csr
from sensorium.pairs.csr import Ragged
from sensorium.pairs.sets import Completions, ItemSets
from sensorium.types import Rows, blocks

NAME = "cir-3000-42"
LARGEST, SEED = 3000, 42
KS = (10, 30, 50)
_NUMBERS = 1 << 25  # float32 numbers of the queries composed at once: 128 MB


@dataclass(frozen=True)
class Retrieval:
    """Pools and queries of one split.

    kinds: category codes in order of first appearance; pools: the rows of each. queries: contexts and targets.
    kind (q,): which pool each asks. group (q,): unit of the bootstrap, that of the outfit. dropped: items of outfits
    that are not in their pool. without: items of outfits that have no category.
    """

    kinds: np.ndarray
    pools: Ragged
    queries: Completions
    kind: np.ndarray
    group: np.ndarray
    dropped: int
    without: int

    @classmethod
    def of(cls, sets: ItemSets, category: np.ndarray, ids: np.ndarray, largest: int = LARGEST) -> Retrieval:
        """sets: the outfits of the split. category (n,): code of every row, -1 for none. ids (n,): text."""
        named = sets.where(least=2)
        rows = named.items.values[category[named.items.values] >= 0]
        codes, first = np.unique(category[rows], return_index=True)
        codes, generator, pools = codes[np.argsort(first)], random.Random(SEED), []
        rows = np.unique(rows)
        for code in codes:
            pool = rows[category[rows] == code]
            pool = pool[np.argsort(ids[pool])]
            if len(pool) > largest:
                pool = pool[np.sort(generator.sample(range(len(pool)), largest))]
            pools.append(pool)
        every = sets.completions()
        every_pool = np.concatenate([rows[:0], *pools])
        inside = np.isin(every.target, every_pool)
        queries, without = every.take(np.flatnonzero(inside)), int((category[every.target] < 0).sum())
        place = np.full(int(category.max(initial=0)) + 1, -1)
        place[codes] = np.arange(len(codes))
        pooled = Ragged(csr.offsets_of(np.array([len(pool) for pool in pools], np.int64)), every_pool)
        dropped = len(inside) - int(inside.sum()) - without
        return cls(codes, pooled, queries, place[category[queries.target]], sets.group[queries.of], dropped, without)

    def __len__(self) -> int:
        return len(self.kind)

    def candidates(self) -> np.ndarray:
        """Number of candidates of each query, (q,)."""
        return self.pools.counts[self.kind]

    def ranks(self, compose: Callable[[Completions], np.ndarray], z: Rows) -> np.ndarray:
        """Pessimistic rank of each target, (q,) int64. compose: completions → queries (·, d). z (n, d): candidates."""
        out = np.empty(len(self), np.int64)
        for kind in range(len(self.kinds)):
            pool = self.pools.take(np.array([kind])).values
            order = np.argsort(pool)
            for part in blocks(*self._sizes(kind, z)):
                mine = np.flatnonzero(self.kind == kind)[part]
                queries = self.queries.take(mine)
                at = order[np.searchsorted(pool, queries.target, sorter=order)]
                relevance = Relevance(np.arange(len(mine)), pool, np.arange(len(mine) + 1), at, mine,
                                      np.full(len(mine), -1))  # fmt: skip
                out[mine] = scores.ranks(compose(queries), z, relevance)
        return out

    def tied(self, z: Rows) -> int:
        """How many queries have a target whose vector another candidate of the pool has too: a tie for any query."""
        found = 0
        for kind in range(len(self.kinds)):
            pool = self.pools.take(np.array([kind])).values
            _, which, count = np.unique(
                np.asarray(z[pool], np.float32), axis=0, return_inverse=True, return_counts=True
            )
            found += int(np.isin(self.queries.target[self.kind == kind], pool[count[which.reshape(-1)] > 1]).sum())
        return found

    def _sizes(self, kind: int, z: Rows) -> tuple[int, int]:
        return int((self.kind == kind).sum()), max(1, _NUMBERS // z.shape[1])
