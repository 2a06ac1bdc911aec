"""The monitored measure of data with sets: the item left out of a validation set, sought within its category."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sensorium import heads
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting.contexts import CATEGORY, codes
from sensorium.fitting.finetune import Through
from sensorium.fitting.options import COSINE, TrainOptions
from sensorium.fitting.validation import ALWAYS, QUERIES, Validation
from sensorium.pairs import Pairs, csr
from sensorium.pairs.set_positives import Together
from sensorium.pairs.sets import ItemSets, sets_of
from sensorium.scores import measures
from sensorium.types import Embeddings

WRONG = 3  # items beside the right one in a fill-in-the-blank question
BLANK = "fill_in_the_blank"


def monitor(left: Embeddings, right: Embeddings, left_head: Any, right_head: Any, pairs: Pairs, options: TrainOptions,
            device: torch.device) -> SetValidation | Validation:  # fmt: skip
    """What measures a fit: on sets where the data have them or the measure is of sets, else on pairs."""
    sets = sets_of(pairs) if pairs.sets is not None or options.monitor == BLANK else None
    if sets is not None and options.monitor == COSINE:
        raise BadRecipe("train.monitor=cosine is of pairs, the data have sets of items; type: train.monitor=MRR")
    if sets is not None:
        return SetValidation(right, right_head, sets, options)
    return Validation(left, right, left_head, right_head, pairs, options, device)


class SetValidation:
    """Ranks each target of the validation sets among the validation sets' items of its category.

    At most QUERIES completions, evenly spread, the same ones every time. Items that stand in a set with any item of
    the context are no candidates; a tie counts as a better candidate. Falsy without a validation set of two items.
    head: may be :class:`~sensorium.fitting.finetune.Through`, with pictures as the table's rows; their vectors are
    then computed anew for each measurement.
    """

    def __init__(self, items: Embeddings, head: Any, sets: ItemSets, options: TrainOptions) -> None:
        self.through = head if isinstance(head, Through) else None
        head = head if self.through is None else self.through.head
        self.items, self.head, self.monitor = items, head, options.monitor
        self.measures = tuple(dict.fromkeys((options.monitor, *ALWAYS, BLANK)))
        held_out = sets.where("validation", 1, least=2)
        every = held_out.completions()
        q = len(every.target)
        self.completions = every.take(
            np.linspace(0, q - 1, QUERIES).round().astype(np.int64) if q > QUERIES else np.arange(q)
        )
        self.candidates = csr.distinct(held_out.items.values)
        self.together = Together(held_out, len(items))
        words = np.asarray(items.meta[CATEGORY]) if CATEGORY in items.meta else np.zeros(len(items), np.int64)
        self.kind = np.unique(words, return_inverse=True)[1]
        self.category = codes(items, head)

    def __bool__(self) -> bool:
        return bool(len(self.completions.target))

    def measure(self) -> dict[str, float]:
        """Every measure that is defined; "validation" is the monitored one. Raises BadData where that is not."""
        rank, count = self.ranks()
        offsets = np.arange(len(rank) + 1)  # one target each
        every = {name: blanks(rank, count) if name == BLANK else measures.parse(name).summary(rank, offsets)
                 for name in self.measures}  # fmt: skip
        found = {name: value for name, value in every.items() if not np.isnan(value)}
        if self.monitor not in found:
            raise BadData(f"train.monitor={BLANK} needs {WRONG} other items of a category in the validation split, and "
                          "no category has them; hold out more, or type: train.monitor=MRR")  # fmt: skip
        return {"validation": found[self.monitor], **found}

    def ranks(self) -> tuple[np.ndarray, np.ndarray]:
        """Rank (q,) of each target, from 1 on, and the number of its candidates (q,), itself among them."""
        context, target, _ = self.completions
        slot, vectors = self.category[target], self.items.vectors
        if self.through is not None:
            vectors = self.through.vectors(vectors, np.unique(np.concatenate([self.candidates, context.values])))
        queries = heads.compose(self.head, vectors, context, self.category, slot)
        z = heads.apply(self.head, vectors, self.candidates)
        place = np.full(len(self.items), -1, np.int64)
        place[self.candidates] = np.arange(len(self.candidates))
        rank, count = np.empty((2, len(target)), np.int64)
        kind = self.kind[self.candidates]
        for one in np.unique(self.kind[target]).tolist():
            rows, columns = np.flatnonzero(self.kind[target] == one), np.flatnonzero(kind == one)
            score = queries[rows] @ z[columns].T
            own = (queries[rows] * z[place[target[rows]]]).sum(1)
            free = np.ones(score.shape, bool)
            at, items = self.together.of(context.take(rows))
            inside = np.full(len(z), -1, np.int64)
            inside[columns] = np.arange(len(columns))
            column = inside[place[items]]
            free[at[column >= 0], column[column >= 0]] = False
            better = free & (score >= own[:, None])
            rank[rows], count[rows] = 1 + better.sum(1), 1 + free.sum(1)
        return rank, count


def blanks(rank: np.ndarray, count: np.ndarray) -> float:
    """How often a target of this rank among ``count`` candidates is right among WRONG others drawn from them.

    The exact mean over all draws: with w worse candidates of n others, w (w - 1) (w - 2) / (n (n - 1) (n - 2)). Targets
    with fewer other candidates are left out; NaN where all are.
    """
    others, worse = count - 1, count - rank
    right = np.ones(len(rank))
    for i in range(WRONG):
        right *= np.maximum(worse - i, 0) / np.maximum(others - i, 1)
    return float(right[others >= WRONG].mean()) if (others >= WRONG).any() else float("nan")
