"""Relations by class: rows of one split that carry the same label are related, without a pair for each of them.

With n left and m right rows in c classes there are about n m / c related pairs, too many to list for large tables. The
codes of the rows say the same in n + m numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium.errors import BadData
from sensorium.pairs import csr
from sensorium.pairs.components import components
from sensorium.types import is_missing

MOST = 100_000_000  # relevant candidates of all queries of a split, whose ranks are computed one by one


class Classes(NamedTuple):
    """Codes of the rows of both tables, left (n,) and right (m,) int64; equal ones are related within a split."""

    left: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, labels: Sequence[object], left: np.ndarray, right: np.ndarray, n: int, m: int) -> Classes:
        """Codes from the labels (p,) of pairs (left[i], right[i]) of n left and m right rows.

        Pairs without a label relate their own rows alone: each connected component of them is a class. A row in no
        pair has code -1. Raises BadData for a row whose pairs have different labels.
        """
        lost = np.array([is_missing(one) or str(one) == "" for one in labels], bool)
        words, codes = np.unique([str(one) for one in labels], return_inverse=True)
        codes[lost] = len(words) + components(n + m, left[lost], n + right[lost])[left[lost]]
        sides = [np.full(size, -1, np.int64) for size in (n, m)]
        for name, rows, known in (("left", left, sides[0]), ("right", right, sides[1])):
            known[rows] = codes
            if len(differ := np.flatnonzero(known[rows] != codes)):
                row = int(rows[differ[0]])
                some = sorted({str(one) for one, at in zip(labels, rows.tolist(), strict=True) if at == row})
                raise BadData(
                    f"{len(np.unique(rows[differ]))} {name} rows have pairs of different labels, such as row {row}: "
                    f"{', '.join(some[:3])}; expected one label a row"
                )
        return cls(*sides)

    @classmethod
    def of_rows(cls, left: np.ndarray, right: np.ndarray) -> Classes:
        """Codes of texts, the label of each row of both tables."""
        codes = np.unique(np.concatenate([left, right]), return_inverse=True)[1].astype(np.int64)
        return cls(codes[: len(left)], codes[len(left) :])

    def spanning(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As few pairs (p,) of these rows as name each of them once: the k-th of a class with the k-th, in turn.

        A class of a left and b right rows has max(a, b) pairs; one that a side lacks has none. The rest of the relation
        follows from the codes.
        """
        x, y = self.left[left], self.right[right]
        width = 1 + int(max(x.max(initial=-1), y.max(initial=-1)))
        ours, theirs = csr.group(x, left, width), csr.group(y, right, width)
        count = np.where((ours.counts > 0) & (theirs.counts > 0), np.maximum(ours.counts, theirs.counts), 0)
        place, each = csr.positions(count), np.repeat(np.arange(width), count)
        return tuple(side.values[side.offsets[each] + place % side.counts[each]] for side in (ours, theirs))

    def take(self, left: np.ndarray, right: np.ndarray) -> Classes:
        """Of these rows of both tables, in that order."""
        return Classes(self.left[left], self.right[right])

    def relevants(self, queries: np.ndarray, candidates: np.ndarray, direction: str, split: str | None) -> csr.Ragged:
        """Positions of each query's relevants among the candidates, both as rows of their tables; sorted, may be none.

        Raises BadData where these are too many to rank one by one.
        """
        of, among = (self.left, self.right) if direction == "left->right" else (self.right, self.left)
        code, at = np.unique(among[candidates], return_inverse=True)
        place = np.minimum(np.searchsorted(code, of[queries]), max(0, len(code) - 1))
        known = code[place] == of[queries] if len(code) else np.zeros(len(queries), bool)
        members = csr.group(at, np.arange(len(candidates)), len(code) + 1)  # the last row is empty
        wanted = np.where(known, place, len(code))
        if (total := int(members.counts[wanted].sum())) > MOST:
            raise BadData(
                f"the {split or 'whole'} split has {len(queries):,} queries with {total:,} relevant items in all; at "
                f"most {MOST:,} are ranked: hold less out, type: data.test=0.01 data.validation=0.01"
            )
        return members.take(wanted)
