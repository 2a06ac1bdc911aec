"""Scores of sets of items by a head: how well each fits the others, and queries for one that is missing.

All follow :func:`sensorium.heads.compose`: a candidate's score is its inner product with the query of the context.
For a head that takes no sets the query is the mean of its outputs, which an index holds: nothing is projected again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.contracts import Head
from sensorium.pairs.csr import Ragged, offsets_of
from sensorium.pairs.sets import ItemSets


@dataclass(frozen=True)
class Members:
    """n items. z (n, d): head outputs. category: n words, "" where unknown. raw (n, d_in): for heads that take sets."""

    z: np.ndarray
    category: Sequence[str]
    raw: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.z)

    def join(self, other: Members) -> Members:
        """These, then the others."""
        raw = None if self.raw is None or other.raw is None else np.concatenate([self.raw, other.raw])
        return Members(np.concatenate([self.z, other.z]), [*self.category, *other.category], raw)


def queries(head: Head, members: Members, context: Ragged, slot: Sequence[str | None]) -> np.ndarray:
    """Queries (q, d) of contexts, rows of the members; slot: category of what is missing, None where it is open."""
    if not head.takes_sets:
        total = np.add.reduceat(members.z[context.values].astype(np.float64), context.offsets[:-1], axis=0)
        return (total / context.counts[:, None]).astype(np.float32)
    from sensorium import heads

    assert members.raw is not None, "the members of a set head have raw vectors"
    return heads.compose(head, members.raw, context, codes(head, members.category), codes(head, slot))


def codes(head: Head, categories: Sequence[str | None]) -> np.ndarray:
    """The place of each category in those of a head that takes sets, -1 for none of them: (n,) int64."""
    known: Mapping[Any, int] = {name: place for place, name in enumerate(head.categories)}  # type: ignore[attr-defined]
    return np.array([known.get(one, -1) for one in categories], np.int64)


def fits(head: Head, members: Members, sets: ItemSets) -> list[np.ndarray]:
    """For each set, the score of every item by the others (its completion score): arrays (s,); s is 2 or more."""
    asked = sets.completions()
    slot = [members.category[row] for row in asked.target.tolist()]
    query = queries(head, members, asked.context, slot)
    score = np.einsum("qd,qd->q", query.astype(np.float64), members.z[asked.target].astype(np.float64))
    return np.split(score, sets.items.offsets[1:-1])


def compatibility(head: Head, members: Members, sets: ItemSets) -> np.ndarray:
    """Mean over the items of each set of their score by the others, (o,) float64.

    For a head that takes no sets that is the mean inner product over the pairs, computed without forming them.
    """
    if head.takes_sets:
        return np.array([one.mean() for one in fits(head, members, sets)])
    z, starts, size = members.z[sets.items.values].astype(np.float64), sets.items.offsets[:-1], sets.items.counts
    total, own = np.add.reduceat(z, starts, axis=0), np.add.reduceat((z**2).sum(1), starts)
    return ((total**2).sum(1) - own) / (size * (size - 1))


def with_each(head: Head, members: Members, candidates: np.ndarray, slot: Sequence[str | None]) -> np.ndarray:
    """The score of candidates (c, d) with each member alone, (c, m). slot: the category of each candidate."""
    alone = Ragged(offsets_of(np.ones(len(members), np.int64)), np.arange(len(members)))
    if not head.takes_sets:
        return candidates.astype(np.float64) @ members.z.astype(np.float64).T
    out = np.empty((len(candidates), len(members)))
    for kind in dict.fromkeys(slot):  # the query of a member depends on what is looked for
        at = [place for place, one in enumerate(slot) if one == kind]
        query = queries(head, members, alone, [kind] * len(members)).astype(np.float64)
        out[at] = candidates[at].astype(np.float64) @ query.T
    return out
