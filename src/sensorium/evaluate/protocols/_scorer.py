"""Scores of outfits, of answers to a question, and of candidates: every one by what the head composes.

A score is the inner product of a composed query (:func:`sensorium.heads.compose`) and a candidate's output. For a head
that does not take sets the query is the mean of its outputs, so that the score is the mean inner product with the items
of the set, and an outfit's compatibility the mean over its pairs of items (Vasileva et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium import scores
from sensorium.evaluate.projected import Projected
from sensorium.pairs import csr
from sensorium.pairs.csr import Ragged
from sensorium.pairs.sets import Completions, ItemSets, Questions
from sensorium.types import Rows, blocks

_NUMBERS = 1 << 24  # float32 numbers of a block: 64 MB


@dataclass(frozen=True)
class Scorer:
    """The outputs of one table, and how a query is made of several of its items.

    category (n,): place of each item's category among those of the head, -1 where it is none of them.
    """

    of: Projected
    category: np.ndarray

    @classmethod
    def make(cls, of: Projected, words: np.ndarray) -> Scorer:
        """words (n,): category of each item, as text."""
        known = list(of.head.categories) if of.head is not None and of.head.takes_sets else []
        place = {word: i for i, word in enumerate(known)}
        distinct, code = np.unique(words, return_inverse=True)
        return cls(of, np.array([place.get(str(word), -1) for word in distinct], np.int64)[code.reshape(-1)])

    @property
    def z(self) -> Rows:
        """Outputs of the items as candidates, (n, d)."""
        return self.of.zl

    @property
    def sets(self) -> bool:
        """Whether the head composes sets in its own way."""
        return self.of.head is not None and self.of.head.takes_sets

    def compose(self, queries: Completions) -> np.ndarray:
        """Queries for the targets, (c, d): the category of each target is what is asked for."""
        return self.of.compose(queries.context, self.category, self.category[queries.target])

    def leave_one_out(self, sets: Ragged) -> np.ndarray:
        """Mean over a set's items of the score of the rest with the item, (o,) float32; two items at least each.

        For a head that does not take sets this is the mean inner product over its pairs of items, computed as
        (‖Σz‖² − Σ‖z‖²) / (s(s − 1)), which forms no pair.
        """
        out = np.empty(len(sets.counts), np.float32)  # as scores are: what is equal but for rounding ties
        for part in blocks(len(out), max(1, _NUMBERS // (self.z.shape[1] * int(sets.counts.max(initial=1))))):
            some = sets.take(np.arange(part.start, part.stop))
            if self.sets:
                tasks = _completions(some)
                score = scores.pair_scores(self.compose(tasks), self._z(tasks.target))
                out[part] = np.bincount(tasks.of, score, len(some.counts)) / some.counts
            else:
                total, z = csr.sums(self.z, some), self._z(some.values)
                own = np.add.reduceat(np.einsum("nd,nd->n", z, z, dtype=np.float64), some.offsets[:-1])
                both = np.einsum("od,od->o", total, total)
                out[part] = (both - own) / (some.counts * (some.counts - 1))
        return out

    def answers(self, questions: Questions) -> np.ndarray:
        """Score of every answer, (q, a) float32; each for a blank of its own category."""
        q, a = questions.answers.shape
        out = np.empty((q, a), np.float32)
        for part in blocks(
            q, max(1, _NUMBERS // (self.z.shape[1] * (a + int(questions.context.counts.max(initial=1)))))
        ):
            some = questions.take(np.arange(part.start, part.stop))
            wide = int(self.category.max(initial=0)) + 2
            kind = self.category[some.answers] + 1  # a question asks for each category of its answers once
            asked, which = np.unique(np.arange(len(some))[:, None] * wide + kind, return_inverse=True)
            query = self.of.compose(some.context.take(asked // wide), self.category, asked % wide - 1)
            score = scores.pair_scores(query[which.reshape(-1)], self._z(some.answers.ravel()))
            out[part] = score.reshape(-1, a)
        return out

    def pairs(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Score of pairs of rows (p,), the mean of both directions: (p,) float32."""
        if self.sets:
            return self.leave_one_out(Ragged(2 * np.arange(len(left) + 1), np.stack([left, right], axis=1).ravel()))
        return self._inner(left, right)

    def cosines(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Cosine of the outputs of pairs of rows (p,), (p,) float64."""
        length = np.sqrt(np.einsum("nd,nd->n", self.z, self.z, dtype=np.float64))
        return self._inner(left, right) / np.maximum(length[left] * length[right], 1e-30)

    def _inner(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        parts = blocks(len(left), max(1, _NUMBERS // self.z.shape[1]))
        each = [scores.pair_scores(self._z(left[part]), self._z(right[part])) for part in parts]
        return np.concatenate([np.zeros(0, np.float32), *each])

    def _z(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.z[rows], np.float32)


def _completions(sets: Ragged) -> Completions:
    o = len(sets.counts)
    nothing = np.zeros(o, np.int64)
    return ItemSets(sets, nothing, nothing, nothing, nothing).completions()
