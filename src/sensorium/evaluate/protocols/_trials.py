"""What the protocol of outfits measures: the test split's outfits, questions and pairs, and the made-up ones beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.evaluate.protocols import _negatives
from sensorium.pairs import Pairs
from sensorium.pairs.csr import Ragged
from sensorium.pairs.sets import ItemSets, Questions


@dataclass(frozen=True)
class Labelled:
    """Sets of rows with labels (n,): 1 belong together, 0 do not. group (n,): unit of the bootstrap."""

    items: Ragged
    label: np.ndarray
    group: np.ndarray

    @classmethod
    def of(cls, true: Ragged, true_group: np.ndarray, made: Ragged, made_group: np.ndarray) -> Labelled:
        """Real ones before made-up ones."""
        offsets = np.concatenate([true.offsets, true.offsets[-1] + made.offsets[1:]])
        label = np.repeat([1, 0], [len(true_group), len(made_group)])
        return cls(Ragged(offsets, np.concatenate([true.values, made.values])), label,
                   np.concatenate([true_group, made_group]))  # fmt: skip

    @property
    def left(self) -> np.ndarray:
        """First items, (n,)."""
        return self.items.values[self.items.offsets[:-1]]

    @property
    def right(self) -> np.ndarray:
        """Second items, (n,)."""
        return self.items.values[self.items.offsets[:-1] + 1]


@dataclass(frozen=True)
class Trials:
    """All that is measured; what cannot be measured is None.

    real: outfits of two items or more. sets, questions, pairs: with the data's own negatives, or the hard ones where
    the data have none. notes: what there is, what is made up, what is left out.
    """

    real: ItemSets
    sets: Labelled | None
    hard_sets: Labelled | None
    questions: Questions | None
    hard_questions: Questions | None
    pairs: Labelled | None
    hard_pairs: Labelled | None
    notes: Mapping[str, Any]


def of(pairs: Pairs, category: np.ndarray) -> Trials:
    """The trials of the test split. category (n,): code of every row, -1 for none.

    Raises BadData where there is no outfit of two items, or none that can be measured.
    """
    real, made, single = _outfits(pairs)
    which = _negatives.matchable(real, category)
    matched = real.take(which)
    hard_sets = hard_questions = None
    if len(matched):
        hard_sets = Labelled.of(matched.items, matched.group, _negatives.hard_sets(matched, category), matched.group)
        hard_questions = _negatives.hard_questions(matched, category)
    sets = Labelled.of(real.items, real.group, made.items, made.group) if len(made) else hard_sets
    given = None if pairs.questions is None else pairs.questions.where("test")
    given = given if given is not None and len(given) else None
    questions = hard_questions if given is None else given
    linked, hard_linked = _linked(pairs, category)
    if sets is None and questions is None:
        need = _negatives.ANSWERS - 1
        raise BadData(f"evaluate.protocol=outfits: none of {len(real)} test outfits has {need} other items of "
                      "each category in the test split; hold out more: data.test=0.3")  # fmt: skip
    own = {"outfits": len(made), "questions": given is not None, "pairs": linked is not hard_linked}
    notes = {
        "outfits": len(real),
        "left_out_of_hard": len(real) - len(matched),
        "single_item_outfits": single,
        "made_up": ", ".join(name for name, there in own.items() if not there) or "nothing",
    }
    return Trials(real, sets, hard_sets, questions, hard_questions, linked, hard_linked, notes)


def _outfits(pairs: Pairs) -> tuple[ItemSets, ItemSets, int]:
    """Real and made-up outfits of the test split, of two items at least; and how many real ones have a single item.

    Where the data have no sets, a group of related pairs is an outfit.
    """
    if pairs.sets is None or not len(pairs.sets):
        related = pairs.where("test", 1)
        both = np.stack([np.tile(related.group, 2), np.concatenate([related.left, related.right])], axis=1)
        group, row = np.unique(both, axis=0).T
        codes, start = np.unique(group, return_index=True)
        real = ItemSets.of(np.split(row, start[1:]), group=codes, split=np.full(len(codes), "test"))
        return real, real.take(np.zeros(0, np.int64)), 0
    real = pairs.sets.where("test", 1)
    single = int((real.items.counts < 2).sum())
    real, made = real.where(least=2), pairs.sets.where("test", 0, least=2)
    if not len(real):
        raise BadData(f"evaluate.protocol=outfits: the test split has no outfit of two items or more ({single} of one, "
                      f"{len(made)} made-up ones); hold out more: data.test=0.3")  # fmt: skip
    return real, made, single


def _linked(pairs: Pairs, category: np.ndarray) -> tuple[Labelled | None, Labelled | None]:
    """Labelled pairs of the test split with the data's own negatives, and with those of the same category."""
    related, apart = pairs.where("test", 1), pairs.where("test", 0)
    if not len(related):
        return None, None
    two = [Ragged(2 * np.arange(len(one) + 1), np.stack([one.left, one.right], 1).ravel()) for one in (related, apart)]
    which, other = _negatives.hard_pairs(related.left, related.right, category)
    hard = None
    if len(which):
        some = related.take(which)
        wrong = Ragged(2 * np.arange(len(which) + 1), np.stack([some.left, other], 1).ravel())
        hard = Labelled.of(two[0].take(which), some.group, wrong, some.group)
    given = Labelled.of(two[0], related.group, two[1], apart.group) if len(apart) else hard
    return given, hard


def check(pairs: Pairs) -> None:
    """Raise BadData for sets and questions that nothing can be measured on, before anything is fitted."""
    questions = pairs.questions
    if questions is not None and len(questions) and questions.answers.shape[1] < 2:
        raise BadData(
            f"evaluate.protocol=outfits: {len(questions)} questions have one answer each, which is always right; "
            "expected two or more to choose from"
        )
